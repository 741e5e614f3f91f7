# Copyright (c) mmhkt authors. All rights reserved.
"""Features in what a module returned: a tensor, or tuples, lists and dicts of
such in each other, in the order in which they stand there."""
from collections.abc import Mapping
from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten


def features(output: Any) -> List[Tensor]:
    """All features in what a module returned: tensors of numbers that are no
    indices."""
    return list(filter(is_feature, tree_flatten(output)[0]))


def is_feature(item: Any) -> bool:
    """Whether this is a tensor that can be inherited."""
    return isinstance(item, Tensor) and torch.is_floating_point(item)


def pick(output: Any, index: Optional[int] = None) -> Tensor:
    """The feature in what a module returned.

    Args:
        output: As :func:`features` takes it.
        index (int, optional): Which of the features. Defaults to None, the
            :func:`main` one.
    """
    return features(output)[main(output) if index is None else index]


def put(output: Any, feature: Tensor, index: Optional[int] = None) -> Any:
    """``output`` with the tensor that :func:`pick` finds replaced."""
    index = main(output) if index is None else index
    leaves, structure = tree_flatten(output)
    places = [i for i, leaf in enumerate(leaves) if is_feature(leaf)]
    leaves[places[index]] = feature
    return tree_unflatten(leaves, structure)


def main(output: Any) -> int:
    """The number of the feature that is meant where none is said.

    What a dict or a named tuple calls ``logits``; else of a tuple or list in
    the last item, the deepest stage in OpenMMLab's convention; of what lies
    in that, or of a dict, the first (class and distillation token; hidden
    states).
    """
    called = names(output)
    if 'logits' in called:
        return called.index('logits')
    if not isinstance(output, (tuple, list)):
        return 0
    counts = [len(features(item)) for item in output]
    last = max((i for i, count in enumerate(counts) if count), default=0)
    return sum(counts[:last])


def names(output: Any) -> List[str]:
    """What each of the features is called where dicts and named tuples name
    them, by its keys and numbers with dots between; else by its number."""
    found: List[Tuple[str, ...]] = []
    _walk(output, (), found)
    return ['.'.join(path) or '0' for path in found]


def _walk(node: Any, path: tuple, found: list) -> None:
    if is_feature(node):
        found.append(path)
    elif isinstance(node, Mapping):
        for key, item in node.items():
            _walk(item, (*path, str(key)), found)
    elif isinstance(node, (tuple, list)):
        keys = getattr(node, '_fields', range(len(node)))
        for key, item in zip(keys, node):
            _walk(item, (*path, str(key)), found)


def given(args: tuple, kwargs: dict) -> List[Tensor]:
    """The feature that a module is given first, if any."""
    for argument in (*args, *kwargs.values()):
        if features(argument):
            return [pick(argument)]
    return []


def copied(output: Any) -> Any:
    """What a module returned, its tensors with memory of their own."""
    return tree_map(
        lambda one: one.clone() if isinstance(one, Tensor) else one, output)
