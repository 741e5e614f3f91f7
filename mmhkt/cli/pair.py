# Copyright (c) mmhkt authors. All rights reserved.
"""Print which layer of the child inherits from which of the parent.

The table is the one that training begins with: sites, shapes, adapters, what
is learned in training only. Nothing is trained.
"""

from .arguments import Parser, add_cfg_options, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(description=__doc__.partition('\n')[0])
    parser.add_argument('config', help='path of a config with a method')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=setting('Count'),
        metavar=('H', 'W'),
        help='size of a random image to look at the networks with. Defaults '
        'to the first image of the training set, which has to be there then')
    parser.add_argument(
        '--random-parent',
        action='store_true',
        help='give the parent random weights: the table can then be seen '
        'before there is a checkpoint')
    parser.add_argument(
        '--list',
        action='store_true',
        help='print instead what can be typed as sites: the modules of both '
        'networks that return a feature, and its shape')
    add_cfg_options(parser)
    return parser.parse_args(argv)


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.runner.pairing')
