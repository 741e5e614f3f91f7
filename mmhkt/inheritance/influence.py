# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Callable, Dict, FrozenSet, Iterator

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NONE: FrozenSet[str] = frozenset()


class Influence(TorchDispatchMode):
    """Follows what a tensor's values depend on through every operation.

    A tensor is marked with a name; what is computed from it, by whatever
    operation, then carries that name. Nothing is decided by comparing
    values. Not seen is what leaves torch as an array or a list.
    """

    def __init__(self):
        super().__init__()
        # By storage, since a view is written to with what it is a view of.
        # The reference also keeps a later storage from getting its address.
        self._names: Dict[StorageWeakRef, FrozenSet[str]] = {}
        # What the host has looked at decides, as it may, all that follows.
        self._decided = NONE

    def mark(self, tensor: Tensor, name: str) -> Tensor:
        """A copy of a tensor that carries this name and no other."""
        copy = tensor.clone()
        self._names[storage_of(copy)] = frozenset([name])
        return copy

    def names(self, output: Any) -> FrozenSet[str]:
        """All names that any tensor of an output carries."""
        return self._decided.union(*(self._names.get(storage_of(tensor), NONE)
                                     for tensor in _tensors(output)))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        names = self.names((args, kwargs))
        if isinstance(output, (bool, int, float)):
            self._decided = names
        for tensor in _tensors(output):
            self._names[storage_of(tensor)] = names
        for tensor in _written(func, args, kwargs):
            self._names[storage_of(tensor)] = names
        return output


class Writes(TorchDispatchMode):
    """Tells of every tensor that an operation writes to.

    Args:
        tell (Callable): Is given the tensor.
    """

    def __init__(self, tell: Callable[[Tensor], None]):
        super().__init__()
        self.tell = tell

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in _written(func, args, kwargs):
            self.tell(tensor)
        return func(*args, **kwargs)


def _written(func: Any, args: tuple, kwargs: dict) -> Iterator[Tensor]:
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(args[i] if i <
                                len(args) else kwargs.get(argument.name))


def _tensors(node: Any) -> list:
    return [leaf for leaf in tree_leaves(node) if torch.is_tensor(leaf)]


def storage_of(tensor: Tensor) -> StorageWeakRef:
    """Of which a tensor, or what it is a view of, is; weak."""
    return StorageWeakRef(tensor.untyped_storage())
