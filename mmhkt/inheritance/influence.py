# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, FrozenSet

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
        self._names[_storage(copy)] = frozenset([name])
        return copy

    def names(self, output: Any) -> FrozenSet[str]:
        """All names that any tensor of an output carries."""
        return self._decided.union(*(self._names.get(_storage(tensor), NONE)
                                     for tensor in _tensors(output)))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        names = self.names((args, kwargs))
        if isinstance(output, (bool, int, float)):
            self._decided = names
        for tensor in _tensors(output):
            self._names[_storage(tensor)] = names
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[i] if i < len(args) else kwargs.get(argument.name)
            for tensor in _tensors(written):
                self._names[_storage(tensor)] = names
        return output


def _tensors(node: Any) -> list:
    return [leaf for leaf in tree_leaves(node) if torch.is_tensor(leaf)]


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())
