# Copyright (c) mmhkt authors. All rights reserved.
"""What inheritance costs a training step.

Times, alternating in one run and on the same batches: loading a batch, a step
of the child alone, the parent's forward without gradients, and a step of the
config's method; or, if the config has a ``comparison``, a step of each of its
methods. Where the config makes the parent cheaper, its plain forward too;
where it has a cache, a step with the parent's features kept. Prints medians,
the middle half of all rounds, images a second, and what they come to in
relation to each other.
"""
import argparse

from .arguments import Parser, add_cfg_options, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', help='path of a config with a method or a comparison')
    parser.add_argument(
        '--iters',
        type=setting('Count'),
        default=20,
        help='timed rounds (default 20)')
    parser.add_argument(
        '--warmup',
        type=setting('Number'),
        default=3,
        help='untimed rounds (default 3)')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--against',
        metavar='CONFIG',
        help='a second config, whose step is timed in turn with the first')
    parser.add_argument(
        '--published',
        action='store_true',
        help="add a straightforward loop of the paper's HKT: two forwards of "
        'the child and two of the parent, with gradients')
    parser.add_argument(
        '--profile',
        metavar='FILE',
        help='write a trace of three steps, for chrome://tracing or Perfetto')
    parser.add_argument('--json', help='write the figures to this file too')
    add_cfg_options(parser)
    return parser.parse_args(argv)


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.runner.step_times')
