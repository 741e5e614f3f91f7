# Copyright (c) mmhkt authors. All rights reserved.
"""Make a data file, or fetch the weights, that the configs name."""
import argparse
import sys
from importlib import import_module
from pathlib import Path

from mmhkt.prepare import RECIPES, PrepareError
from .arguments import Parser
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='what can be made:\n' +
        '\n'.join(f'  {name:16} {recipe.text}'
                  for name, recipe in RECIPES.items()) +
        '\n  lits             LiTS as slices: `mmhkt prepare lits --help`'
        '\n\nWhat is there already is looked at, not made again; weights that '
        'are missing\nor damaged are. Everything is checked before it is used.'
    )
    parser.add_argument(
        'name', choices=RECIPES, metavar='NAME', help='what to make')
    parser.add_argument(
        '--source',
        type=Path,
        help='file or folder that holds the originals already; default: they '
        'are downloaded')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('data'),
        help='folder to write to (default: data, where the configs look)')
    return parser.parse_args(argv)


@in_one_line
def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ['lits']:  # has arguments of its own
        sys.argv[0] += ' lits'
        return import_module('mmhkt.cli.prepare_lits').main(argv[1:])
    args = parse_args(argv)
    path = args.out / RECIPES[args.name].target
    recipe = import_module(f'mmhkt.prepare.{RECIPES[args.name].module}')
    try:
        there = recipe.is_there(path)
    except PrepareError as error:
        raise PrepareError('what is there already is not whole, or another: '
                           f'{error}; move {path} away to have it made '
                           'anew') from None
    if there:
        print(f'{path} is there already')
        return
    recipe.prepare(args.source, path)
    print(f'written: {path}')
