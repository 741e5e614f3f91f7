# Copyright (c) mmhkt authors. All rights reserved.
"""Cut the volumes of LiTS into windowed axial slices.

The source holds volume-N.nii and segmentation-N.nii (or .nii.gz), in any
subfolders. What is written, for mmhkt.LiTSDataset:

    images/N/0000.png  the window as grey values 0 to 255
    masks/N/0000.png   0 background, 1 liver, 2 tumour
    volumes/N.json     one entry of the manifest; marks a volume as done
                       with these settings and these files
    manifest.json      settings, and of each volume split, size, spacing,
                       pixels of liver and tumour per slice, checksums;
                       written last, and not there while slices are changed

All slices are kept, in order from the feet to the head; mmhkt.LiTSDataset
chooses. Volumes are turned by their affine so that rows run from front to back
and columns from the patient's right to the left. Volumes 28 to 47 of LiTS have
the identity in its place: their orientation and spacing are not known.

Each volume counts as one patient. What is already done is not done again. A
volume that cannot be used is reported and left out; the exit status is then 1.
Further volumes divide all patients anew: where one that the manifest has would
move to another split, nothing is written without --resplit.
"""
import argparse
import os
from pathlib import Path

from .arguments import Parser, hand_over, setting
from .one_line import in_one_line


def parse_args(argv=None):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder of the volumes')
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument(
        '--window',
        nargs=2,
        type=setting('Finite'),
        default=(-200., 250.),
        metavar=('LOW', 'HIGH'),
        help='HU that become black and white. Defaults to -200 250')
    parser.add_argument(
        '--spacing',
        type=setting('Positive'),
        metavar='MM',
        help='resample slices to pixels of this size. Defaults to leaving '
        'them as they are')
    parser.add_argument(
        '--ignore-mask-affine',
        action='store_true',
        help='take masks to lie where their volumes do, voxel by voxel, '
        'whatever their affine says')
    parser.add_argument(
        '--val',
        type=setting('BelowOne'),
        default=0.15,
        help='share of the patients for validation. Defaults to 0.15')
    parser.add_argument(
        '--test',
        type=setting('BelowOne'),
        default=0.15,
        help='share of the patients for testing. Defaults to 0.15')
    parser.add_argument(
        '--seed',
        type=setting('Seed'),
        default=0,
        help='of the split. Defaults to 0')
    parser.add_argument(
        '--resplit',
        action='store_true',
        help='let patients of an earlier manifest move to another split; what '
        'was trained before may have seen those that are held out now')
    parser.add_argument(
        '--workers',
        type=setting('Count'),
        default=os.cpu_count(),
        help='processes; each needs up to 3 GB. Defaults to one a core')
    args = parser.parse_args(argv)
    if not args.window[0] < args.window[1]:
        parser.error('--window wants the lower value first')
    if args.val + args.test >= 1:
        parser.error('--val and --test want shares that leave some patients '
                     'to train with')
    return args


@in_one_line
def main(argv=None):
    return hand_over(parse_args(argv), 'mmhkt.prepare.lits')
