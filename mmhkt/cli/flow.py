# Copyright (c) mmhkt authors. All rights reserved.
"""Show the optical flow of two images, or of a video.

Writes each frame with its flow to the next one below or beside it: hue is
the direction, saturation the speed.
"""
import argparse
from pathlib import Path

from .arguments import Parser, add_cfg_options, hand_over, setting
from .one_line import in_one_line

CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='two images of one size, or one video')
    parser.add_argument('--config', required=True, help='path of the config')
    parser.add_argument(
        '--checkpoint',
        help="path of the weights; without it those that the config's "
        'model.weights names')
    parser.add_argument(
        '--out',
        type=Path,
        help='for images the picture to write, default flow.png; for a video '
        f'a file that ends with {", ".join(CODECS)}, or a folder for '
        'pictures, default flow.mp4')
    parser.add_argument(
        '--scale',
        type=setting('Positive'),
        help='the speed of full saturation in pixels a frame; default: the '
        'largest, for a video the largest up to then')
    parser.add_argument(
        '--warm-start',
        action='store_true',
        help='begin each pair of a video with the flow of the one before, '
        'carried forward')
    add_cfg_options(parser, 'as in test')
    args = parser.parse_args(argv)
    if len(args.inputs) > 2:
        parser.error('give two images or one video')
    is_pair = len(args.inputs) == 2
    if is_pair and args.warm_start:
        parser.error('--warm-start is for videos')
    if args.out is None:
        args.out = Path('flow.png' if is_pair else 'flow.mp4')
    allowed = PICTURES if is_pair else ('', *CODECS)
    if args.out.suffix.lower() not in allowed:
        parser.error(f'--out {args.out}: the name must end with '
                     f'{", ".join(filter(None, allowed))}' +
                     ('' if is_pair else ', or with none for a folder'))
    return args


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.visualization.flow_demo')
