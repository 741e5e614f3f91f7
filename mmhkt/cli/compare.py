# Copyright (c) mmhkt authors. All rights reserved.
"""Train methods x seeds, fair by construction, and compare what they reach.

Takes a config with ``comparison = dict(methods=[...], seeds=[...])``, or
several training configs. Every run is one of ``mmhkt train``. Whatever
interrupts this: start it again, and it goes on.
"""
import argparse

from .arguments import KeyValues, Parser, add_cfg_options, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='a config with `comparison`, or several training configs')
    parser.add_argument(
        '--work-dir',
        help='where everything goes; default: work_dirs/ and the name of the '
        'config')
    parser.add_argument(
        '--seeds',
        type=setting('Seed'),
        nargs='+',
        help="in place of the config's")
    parser.add_argument(
        '--methods',
        nargs='+',
        metavar='NAME',
        help='only these; the reference always stays')
    parser.add_argument(
        '--jobs',
        type=setting('Count'),
        help='how many runs at once; default: one a GPU of --gpus, else 1')
    parser.add_argument(
        '--gpus', nargs='+', default=[], help='numbers of the GPUs to use')
    parser.add_argument(
        '--slurm',
        nargs='*',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='train every run as a job: partition=gpu gpus_per_node=1 '
        'timeout_min=240 cpus_per_task=8 mem_gb=32 ..., as submitit and '
        'sbatch call them; cluster=local has the jobs run here')
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='show what would be run, and where it stands')
    parser.add_argument(
        '--report-only',
        action='store_true',
        help='run nothing; report what there is')
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.jobs is None:
        args.jobs = len(args.gpus) or 1
    return args


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.comparison.command')
