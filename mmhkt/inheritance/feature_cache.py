# Copyright (c) mmhkt authors. All rights reserved.
import hashlib
import logging
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmhkt.utils.checkpoint import check_whole
from mmhkt.utils.files import replaced
from mmhkt.utils.hashing import bytes_of

# Outputs of a module, one a run of it, each with whether a later operation has
# left it as it was.
Outputs = List[Tuple[Any, bool]]


class FeatureCache:
    """Keeps a frozen network's features on disk, by the images it was given.

    Methods that are compared under one seed see the same batches with the
    same augmentations, so that the parent, often the larger part of a step,
    would compute the same features for each of them. A file is kept for every
    batch and module; its name is made of the network, the images, their type
    and the precision, so that what is read is what would be computed. Runs
    that go on at once may share a folder.

    The folder grows with the batches that were ever seen; it may be removed
    at any time. Nothing that happens to it ends a training: a file that is
    damaged is computed anew, and where nothing can be written nothing more is
    kept, each with a warning.

    Args:
        folder (str | Path): Where to keep them.
        network (str): What tells the network from every other one.

    Raises:
        ValueError: If there is a file in the folder's place.
    """

    def __init__(self, folder: Union[str, Path], network: str):
        self.folder = Path(folder, network[:16])
        self._writable = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f'parent.cache, "{folder}", must be a folder, '
                             'but there is a file.') from None
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writable = False
        print_log(
            f'The parent\'s features are no longer kept in "{self.folder}", '
            f'and computed from now on: {error}.',
            logger='current',
            level=logging.WARNING)

    def key(self, images: Tensor) -> str:
        """The name of what the network makes of some images now."""
        kind = images.device.type
        amp = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(
            kind)
        about = kind, images.dtype, tuple(images.shape), amp, torch.__version__
        digest = hashlib.sha256(str(about).encode())
        digest.update(bytes_of(images))
        return digest.hexdigest()

    def load(self, key: str, names: Iterable[str],
             device: torch.device) -> Optional[Dict[str, Outputs]]:
        """What was kept.

        Args:
            key (str): See :meth:`key`.
            names (Iterable[str]): Of the modules.
            device (torch.device): Where the features are wanted.

        Returns:
            dict[str, list] | None: None unless all of them are there.
        """
        files = {name: self._file(key, name) for name in names}
        if not all(file.exists() for file in files.values()):
            return None
        found = {}
        for name, file in files.items():
            try:
                check_whole(file)
                found[name] = torch.load(
                    file, map_location=device, weights_only=True)
            except Exception as error:  # whatever torch makes of it
                print_log(
                    f'Features in "{file}" are damaged ({error}); they are '
                    'computed anew.',
                    logger='current',
                    level=logging.WARNING)
                with suppress(OSError):
                    file.unlink()
                return None
        return found

    def save(self, key: str, outputs: Dict[str, Outputs]) -> None:
        """Keep what is not kept yet, if there is room.

        Raises:
            ValueError: If a module returns something other than tensors.
        """
        try:
            if self._writable:
                self._save(key, outputs)
        except OSError as error:
            self._give_up(error)
        except RuntimeError as error:
            # How torch says that it could not write.
            if 'PytorchStreamWriter' not in str(error):
                raise
            self._give_up(error)

    def _save(self, key: str, outputs: Dict[str, Outputs]) -> None:
        for name, of_module in outputs.items():
            file = self._file(key, name)
            if file.exists():
                continue
            kept = [(_own(output, name), same) for output, same in of_module]
            file.parent.mkdir(parents=True, exist_ok=True)
            # Another run may write the same file.
            with replaced(file, unique=True, durable=False) as partial:
                torch.save(kept, partial)

    def _file(self, key: str, name: str) -> Path:
        return Path(self.folder, key[:2], f'{key[2:40]}.{name or "whole"}.pt')


def _own(output: Any, name: str) -> Any:
    """An output with no more storage than its tensors need."""
    if output is None:
        return None
    if isinstance(output, Tensor):
        return output.clone()
    if type(output) in (tuple, list):
        return type(output)([_own(item, name) for item in output])
    if type(output) is dict:
        return {key: _own(item, name) for key, item in output.items()}
    raise ValueError(
        f'The parent\'s "{name}" returns a {type(output).__name__}, which '
        'cannot be kept on disk; leave parent.cache out.')
