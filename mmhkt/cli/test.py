# Copyright (c) mmhkt authors. All rights reserved.
"""Test a checkpoint of a child, or of any OpenMMLab config."""
import os
import os.path as osp

from .arguments import Parser, add_common_arguments, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(description='Test (and evaluate) a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('--work-dir', help='where logs and metrics go')
    parser.add_argument('--out', help='file to write the results to (.pkl)')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what to write to --out. Defaults to the predictions')
    parser.add_argument(
        '--amp', action='store_true', help='test in mixed precision')
    parser.add_argument('--show-dir', help='where drawn predictions go')
    parser.add_argument(
        '--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--interval',
        type=setting('Count'),
        default=1,
        help='draw every so many samples')
    parser.add_argument(
        '--wait-time',
        type=setting('NotNegative'),
        default=2,
        help='seconds that each window stays')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="augment at test time, with the config's tta_pipeline and "
        'tta_model if it has them, else the mean score of the image and its '
        'mirror image')
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    if args.out is None and args.out_item is not None:
        parser.error('--out-item needs --out, the file to write to')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


@in_one_line
def main(argv=None):
    args = parse_args(argv)
    import mmengine
    from mmengine.evaluator import DumpResults

    from mmhkt.utils.config import (build_runner, leave_process_group,
                                    load_config, merge_test_args, quieten)

    quieten()
    cfg = load_config(args.config, args.cfg_options)
    merge_test_args(cfg, args)
    if not (osp.isfile(args.checkpoint) or '://' in args.checkpoint):
        raise FileNotFoundError(f'checkpoint {args.checkpoint} does not exist')
    runner = build_runner(cfg)
    if args.out and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(args.out))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)
    leave_process_group()
