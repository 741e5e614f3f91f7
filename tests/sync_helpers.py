# Copyright (c) mmhkt authors. All rights reserved.
"""A GPU's rule on a CPU: what would make the host wait raises."""
from contextlib import ExitStack, contextmanager
from typing import Iterable, Iterator

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# The host has to know a value, or how large the result is.
WAITING = frozenset("""
    _local_scalar_dense item is_nonzero equal allclose
    nonzero masked_select bincount
    _unique _unique2 unique_dim unique_consecutive
""".split())
# Solvers that look whether they have succeeded; solve_ex, cholesky_ex and
# inv_ex do not.
LOOKING = frozenset("""
    _linalg_check_errors linalg_lstsq _linalg_eigh linalg_eig _linalg_svd
""".split())
INDEXING = ('index', 'index_put', '_index_put_impl')
# Methods that bring a tensor to the host whatever its device is.
COPYING = (torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist,
           torch.Tensor.__array__)


class HostWaits(AssertionError):
    """On a GPU the host would wait here for the device."""


@contextmanager
def no_sync(but: Iterable[str] = ()) -> Iterator[None]:
    """Fail with :class:`HostWaits` where a GPU would stop the host.

    Seen are reads of a value (``item``, ``bool``, ``float``, ``tolist``,
    ``cpu``, ``numpy``), results whose size depends on values (``nonzero``,
    ``unique``, boolean masks as an index) and solvers that check for errors,
    in the forward and the backward pass.

    Not seen on a CPU are ``to('cpu')`` of a tensor that is there already,
    and copies to the device from memory that is not pinned. Optimisers that
    count their steps on the host (Adam) read that count, which costs nothing
    on a GPU: leave them out of the block.

    Args:
        but (Iterable[str]): Names of operations that may wait.
    """
    with ExitStack() as stack:
        stack.enter_context(_Methods())
        stack.enter_context(_Operations(frozenset(but)))
        yield


class _Operations(TorchDispatchMode):

    def __init__(self, but: frozenset):
        super().__init__()
        self.but = but

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name not in self.but:
            if name in WAITING | LOOKING or _unsized(name, kwargs):
                raise HostWaits(f'{operation} waits for the device.')
            if name.rstrip('_') in INDEXING and any(map(_is_mask, args[1])):
                raise HostWaits(f'{operation} counts what its mask selects; '
                                'use torch.where.')
        return operation(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in COPYING:
            raise HostWaits(f'{function.__name__} waits for the device.')
        return function(*args, **(kwargs or {}))


def _unsized(name: str, kwargs) -> bool:
    return (name == 'repeat_interleave'
            and (kwargs or {}).get('output_size') is None)


def _is_mask(index) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)
