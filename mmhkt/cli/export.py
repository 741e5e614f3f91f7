# Copyright (c) mmhkt authors. All rights reserved.
"""Turn a checkpoint of a training run into the plain child.

Written are the weights with the child's config and the data set's metadata,
and beside that file the config as a `.py` file; or an ONNX file, for images
as the data preprocessor makes them, in batches of any size. Optimiser, log
history and what only training needs stay behind. Before anything is written,
the weights are loaded strictly into the network that this config builds.
"""
import argparse

from .arguments import Parser, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='A run with EMAHook needs no flag: mmengine writes the '
        "averaged weights as the\ncheckpoint's state_dict, so that they are "
        'what is exported.')
    parser.add_argument(
        'checkpoint', help='of a run with mmhkt, or with OpenMMLab alone')
    parser.add_argument(
        'out',
        help='file to write: child.pth, weights and config; or child.onnx, '
        'which is compared with the network and timed')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=setting('Count'),
        metavar=('H', 'W'),
        help='for .onnx: size of random images to trace and check with. '
        'Defaults to the first images of the test set')
    parser.add_argument(
        '--config',
        help="config of the run. Defaults to the checkpoint's own text of it")
    parser.add_argument(
        '--trusted',
        action='store_true',
        help='run code that the checkpoint may hold, pickled or in its '
        'config; only where you trust its author')
    return parser.parse_args(argv)


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.models.export_checkpoint')
