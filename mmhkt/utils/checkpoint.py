# Copyright (c) mmhkt authors. All rights reserved.
import hashlib
import os
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from torch import Tensor, nn

from .names import nearest

# As mmengine's load_checkpoint has it: (pattern, replacement) pairs.
ReviseKeys = Sequence[Tuple[str, str]]
ADDRESSES = ('http://', 'https://')
STRIP_MODULE = ((r'^module\.', ''), )


def read_checkpoint(
        source: Union[str, Path],
        trusted: bool = False,
        map_location: Union[str, torch.device, Callable] = 'cpu') -> dict:
    """Read a checkpoint without running what may be hidden in it.

    Args:
        source (str | Path): A file, or an ``http(s)://`` address (kept in
            torch's hub folder).
        trusted (bool): Read it by pickle, which runs any code that the
            file's author put in. Defaults to False: tensors, plain values
            and NumPy arrays only.
        map_location: As in :func:`torch.load`. Defaults to ``'cpu'``.

    Returns:
        dict: What the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        Unreadable: If it is truncated, damaged or no checkpoint.
        ValueError: If it needs pickle.
    """
    source = str(source)
    options = dict(map_location=map_location, weights_only=not trusted)
    fetched = _kept_at(source) if source.startswith(ADDRESSES) else None
    try:
        with _harmless_allowed():
            if fetched:
                checkpoint = torch.hub.load_state_dict_from_url(
                    source, file_name=fetched.name, **options)
                if fetched.exists():
                    check_whole(fetched)
            else:
                path = existing(source)
                check_whole(path)
                checkpoint = torch.load(path, **options)
    except FileNotFoundError:
        raise
    except Exception as error:
        blocked = re.search(
            r"(?i)unsupported global:? (?:GLOBAL )?(\S+)|got <class '(\S+)'>",
            str(error))
        if isinstance(error, UnpicklingError) and blocked:
            raise ValueError(
                f'The checkpoint "{source}" holds more than weights '
                f'({blocked[1] or blocked[2]}) and could only be read by '
                'pickle, which runs any code that its author put in. If you '
                'trust the author, set trusted=True beside its path.'
            ) from error
        why = (f' ({error})' if isinstance(error, Unreadable) else
               f' ({type(error).__name__})')
        if fetched and fetched.exists():
            # Of a connection that broke off torch keeps what it has got.
            fetched.unlink()
            why += ('; what was fetched is removed, so that the next try '
                    'fetches it anew')
        raise Unreadable(
            f'The checkpoint "{source}" cannot be read: it is truncated, '
            f'damaged or no PyTorch checkpoint{why}.') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'The checkpoint "{source}" holds a {type(checkpoint).__name__}, '
            'not a dict of weights.')
    return checkpoint


class Unreadable(ValueError):
    """A checkpoint that is not whole."""


def _kept_at(address: str) -> Path:
    """Where torch's hub keeps what it has fetched."""
    # Addresses that end alike are not the same file.
    about = hashlib.sha256(address.encode()).hexdigest()[:12]
    return Path(torch.hub.get_dir(), 'checkpoints',
                f'{about}-{Path(urlparse(address).path).name}')


def check_whole(path: Path) -> None:
    """Make sure that a file holds the bytes that torch wrote.

    torch notes a checksum of each tensor, but does not look at it.

    Raises:
        Unreadable: If not.
    """
    with open(path, 'rb') as file:
        if file.read(2) != b'PK':  # of another format, which has none
            return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError,
            RuntimeError, OverflowError) as error:
        raise Unreadable(f'it is truncated or damaged: {error}') from None
    if bad is not None:
        raise Unreadable(f'"{bad}" is not what was written')


def weights_of(checkpoint: dict,
               revise_keys: ReviseKeys = STRIP_MODULE) -> Dict[str, Tensor]:
    """The weights in a checkpoint, renamed.

    Args:
        checkpoint (dict): With the weights under ``'state_dict'``, or itself
            the weights.
        revise_keys (Sequence[tuple[str, str]]): Pairs of a regular expression
            and its replacement, applied one after another to every key.
            Defaults to cutting off ``'module.'``.
    """
    state_dict = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state_dict, Mapping):
        raise ValueError('What the checkpoint has as state_dict is a '
                         f'{type(state_dict).__name__}, not a dict of '
                         'weights.')
    revised = OrderedDict()
    for key, value in state_dict.items():
        key = str(key)
        for pattern, replacement in revise_keys:
            key = re.sub(pattern, replacement, key)
        revised[key] = value
    return revised


def load_strictly(network: nn.Module, weights: Dict[str, Tensor],
                  what: str) -> None:
    """Load weights of which every key and shape must fit.

    Args:
        network (nn.Module): What they are loaded into.
        weights (dict[str, Tensor]): See :func:`weights_of`.
        what (str): What the error calls them.

    Raises:
        ValueError: If not; lists what is missing, foreign or of another
            shape. If they are not finite.
    """
    own = network.state_dict()
    for key in own:
        if key in weights and not torch.is_tensor(weights[key]):
            raise ValueError(f'{what} does not fit the network: "{key}" is a '
                             f'{type(weights[key]).__name__}, no tensor.')
    # Older files have no counter of batches; torch itself adds it.
    missing = [
        key for key in own
        if key not in weights and not key.endswith('num_batches_tracked')
    ]
    foreign = [key for key in weights if key not in own]
    reshaped = [
        f'{key} {tuple(weights[key].shape)} instead of '
        f'{tuple(own[key].shape)}' for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if missing or foreign or reshaped:
        problems = [
            f'{len(keys)} {name}: {", ".join(keys[:4])}' +
            (', ...' if len(keys) > 4 else '')
            for name, keys in (('missing', missing), ('foreign', foreign),
                               ('of another shape', reshaped)) if keys
        ]
        hint = ''
        if missing and foreign:
            hint = (f' ("{foreign[0]}" is foreign; '
                    f'{nearest(foreign[0], missing, most=1)}; see '
                    'revise_keys)')
        raise ValueError(f'{what} does not fit the network. '
                         f'Weights {"; ".join(problems)}{hint}.')
    check_finite(network, weights, what)
    network.load_state_dict(weights, strict=True)


def check_finite(network: nn.Module, weights: Dict[str, Tensor],
                 what: str) -> None:
    """Refuse weights that no network can be run with.

    Raises:
        ValueError: If some are not finite; names them.
    """
    bad = not_finite(network, weights)
    if bad:
        raise ValueError(
            f'{what} is of a training that diverged: {len(bad)} of its '
            f'{len(weights)} weights are not finite, {", ".join(bad[:4])}' +
            (', ...' if bad[4:] else '.'))


def not_finite(network: nn.Module, weights: Dict[str, Tensor]) -> List[str]:
    """The names of weights that are not finite.

    A buffer may hold infinities, as masks of attention do, but no NaN.

    Args:
        network (nn.Module): Whose weights they are.
        weights (dict[str, Tensor]): What is looked at.
    """
    learned = dict(network.named_parameters())
    floating = {
        name: value
        for name, value in weights.items()
        if torch.is_tensor(value) and value.is_floating_point()
    }
    flags = [
        value.isfinite().all() if name in learned else ~value.isnan().any()
        for name, value in floating.items()
    ]
    if not flags:
        return []
    fine = torch.stack([flag.cpu() for flag in flags]).tolist()
    return [name for name, good in zip(floating, fine) if not good]


def existing(source: str) -> Optional[Path]:
    """The file that a checkpoint is in, None of an address.

    Raises:
        FileNotFoundError: If there is none; names the nearest that are there.
    """
    if source.startswith(ADDRESSES):
        return None
    path = Path(source).expanduser()
    if path.is_file():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f'There is no checkpoint "{source}": the folder '
            f'"{folder}" does not exist (working folder: {os.getcwd()}).')
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    raise FileNotFoundError(f'There is no checkpoint "{source}"; in that '
                            f'folder, {nearest(path.name, names)}.')


def _harmless_allowed():
    """Allow what OpenMMLab's checkpoints hold beside tensors: NumPy arrays
    and scalars, in the log history and the data set's description."""
    core = np._core if hasattr(np, '_core') else np.core
    # All but objects.
    dtypes: List[Any] = [
        type(np.dtype(kind)) for kind in '?bBhHiIlLqQefdgFDGSUMm'
    ]
    harmless = [
        HistoryBuffer, np.ndarray, np.dtype, core.multiarray._reconstruct,
        core.multiarray.scalar, slice, *dict.fromkeys(dtypes)
    ]
    if digit_version(torch.__version__) >= digit_version('2.6'):
        # A history is stored with its methods, by `getattr`.
        harmless.append((_history_method, 'builtins.getattr'))
        return torch.serialization.safe_globals(harmless)
    # Older torch cannot put another function in the place of a name.
    torch.serialization.add_safe_globals([*harmless, getattr])
    return nullcontext()


def _history_method(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer and not isinstance(owner, HistoryBuffer):
        raise UnpicklingError(f'Unsupported global: getattr({owner!r})')
    return getattr(owner, name)
