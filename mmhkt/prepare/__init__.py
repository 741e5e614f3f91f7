# Copyright (c) mmhkt authors. All rights reserved.
"""Makes the data files and fetches the weights that the configs name."""
import re
from typing import NamedTuple


class PrepareError(ValueError):
    """Data that are absent, incomplete or not what they should be."""


class Recipe(NamedTuple):
    """How something is made.

    Attributes:
        module (str): That of this package whose ``prepare`` makes it and
            whose ``is_there`` looks whether that was done.
        target (str): What it makes in the folder of data.
        text (str): What it is.
        others (str): What it makes beside that there, as a regular
            expression. Defaults to ``''``, nothing.
    """
    module: str
    target: str
    text: str
    others: str = ''

    def makes(self, text: str) -> bool:
        """Whether a text names something of ``data/`` that it makes."""
        names = '|'.join(filter(None, [re.escape(self.target), self.others]))
        return re.search(rf'\bdata/(?:{names})(?![\w-])', text) is not None


RECIPES = {
    'cifar10':
    Recipe('cifar10', 'cifar10.npz', 'CIFAR-10 (170 MB)'),
    'fashion-mnist':
    Recipe('fashion_mnist', 'fashion_mnist.npz', 'Fashion-MNIST (31 MB)'),
    'camvid':
    Recipe('camvid', 'camvid', "CamVid, SegNet's split, 240x180"),
    'sintel':
    Recipe('flow', 'Sintel', 'MPI Sintel (5.3 GB)'),
    'chairs':
    Recipe('flow', 'FlyingChairs', 'FlyingChairs (31 GB)'),
    'kitti':
    Recipe('flow', 'KittiFlow', 'KITTI 2015 (1.7 GB)'),
    'cifar10-weights':
    Recipe('weights', 'checkpoints/resnet56-4bfd9763.th',
           'ResNet-20, 32, 44 and 56 for CIFAR-10',
           r'checkpoints/resnet(20|32|44)-\w{8}\.th'),
}

__all__ = ['PrepareError', 'RECIPES', 'Recipe']
