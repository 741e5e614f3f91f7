# Copyright (c) mmhkt authors. All rights reserved.
"""Show what a finished child got from its parent, without training anything.

How alike the stages of child and parent are (CKA, variance explained), and
what the child does otherwise than a child alone: by class or speed, images won
and lost; of classifiers calibration and where they look too. On the
validation images of the config.
"""
import argparse

from .arguments import Parser, add_cfg_options, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config',
        help='config of a run that has a parent, or the folder of a '
        'comparison, all of whose children are shown')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='of the child that inherited; not with a folder')
    parser.add_argument(
        '--alone', metavar='CKPT', help='of the same child, trained alone')
    parser.add_argument(
        '--seed',
        type=setting('Seed'),
        help='of the children of a comparison; default: the first one')
    parser.add_argument(
        '--images',
        type=setting('Count'),
        help='how many, drawn at random, of volumes whole ones; default: all '
        'of the set')
    parser.add_argument(
        '--samples',
        type=setting('Number'),
        default=3,
        help='how many images won, and how many lost, to show where the '
        'networks look in; needs --alone; default: 3')
    parser.add_argument(
        '--out',
        default='inheritance',
        help='folder for inheritance.html and .json; default: inheritance')
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.images is not None and args.images < 8:
        parser.error('--images must be 8 or more')
    return args


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.analysis.command')
