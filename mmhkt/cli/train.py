# Copyright (c) mmhkt authors. All rights reserved.
"""Train a model: a child with its parent, or any OpenMMLab config."""
import os

from .arguments import Parser, add_common_arguments
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(description='Train a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from this checkpoint, or from the latest one in the work '
        'directory if none is given')
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate from the batch size it was tuned for to '
        'the actual one')
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='turn off persistent_workers in every dataloader')
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


@in_one_line
def main(argv=None):
    args = parse_args(argv)
    from mmhkt.utils.config import (leave_process_group, load_config,
                                    merge_train_args, quieten)

    quieten()
    cfg = load_config(args.config, args.cfg_options)
    merge_train_args(cfg, args)
    # Not before `quieten`: it imports the libraries that talk.
    from mmhkt.runner.train import train
    train(cfg)
    leave_process_group()
