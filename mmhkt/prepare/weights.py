# Copyright (c) mmhkt authors. All rights reserved.
"""ResNets for CIFAR-10 from github.com/akamaster/pytorch_resnet_cifar10
(BSD-2-Clause), the parents of our comparisons."""
import shutil
from pathlib import Path
from typing import Optional

from mmhkt.utils.files import replaced
from .common import check_bytes, download, find, is_whole

URL = ('https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/'
       'pretrained_models/')
FILES = {
    'resnet20-12fca82f.th':
    '12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8',
    'resnet32-d509ac18.th':
    'd509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850',
    'resnet44-014dd654.th':
    '014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4',
    'resnet56-4bfd9763.th':
    '4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367',
}


def is_there(path: Path) -> bool:
    """Whether all four are there, whole; any that is not is made anew."""
    return all(
        is_whole(path.parent / name, digest) for name, digest in FILES.items())


def prepare(source: Optional[Path], path: Path) -> None:
    """Put all four beside each other.

    Args:
        source (Path, optional): A folder that has them. None downloads them.
        path (Path): The file of ResNet-56, written last.

    Raises:
        PrepareError: If one is absent or not the published one.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in FILES.items():
        if is_whole(folder / name, digest):
            continue
        if source is None:
            download(URL + name, folder, digest)
            continue
        found = find(source, [name])
        check_bytes(found.read_bytes(), digest, found)
        with replaced(folder / name) as partial:
            shutil.copy(found, partial)
