# Copyright (c) mmhkt authors. All rights reserved.
import hashlib
from collections import defaultdict
from typing import Any, Iterator

import torch
from mmengine.model import is_model_wrapper
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

# What is hashed of a batch's images and of its labels, in values: enough to
# tell two batches apart, in about a millisecond.
SAMPLE = 65536


def hash_of_weights(model: nn.Module) -> str:
    """SHA-256 of names, types, shapes and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in unwrapped(model).state_dict().items():
        if not isinstance(value, Tensor):  # a module's extra state
            digest.update(f'{name} {value!r}'.encode())
            continue
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(bytes_of(value))
    return digest.hexdigest()


def hash_of_settings(model: nn.Module) -> str:
    """SHA-256 of what a model is made of, beside its weights: its modules,
    their plain attributes, and buffers that are not saved."""
    digest = hashlib.sha256(str(model).encode())
    for path, module in model.named_modules():
        settings = {
            name: value
            for name, value in sorted(vars(module).items())
            if _is_plain(value) and name != 'training'
        }
        digest.update(f'{path} {type(module)} {settings}'.encode())
        for name in sorted(module._non_persistent_buffers_set):
            if isinstance(module._buffers.get(name), Tensor):
                digest.update(bytes_of(module._buffers[name]))
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def hash_of_batch(batch: Any, before: str = '') -> str:
    """SHA-256 of a batch and of what was before it.

    Of large tensors evenly spread values are taken, :data:`SAMPLE` of the
    images and as many of the labels.

    Args:
        batch: As a dataloader gives it: any nest of dicts, lists, data
            samples, tensors, arrays and numbers.
        before (str): The hash before. Defaults to ''.
    """
    digest = hashlib.sha256(before.encode())
    parts = batch.values() if isinstance(
        batch, dict) else (batch if isinstance(batch,
                                               (list, tuple)) else [batch])
    for part in parts:
        tensors = list(_tensors(part))
        digest.update(str([(t.dtype, *t.shape) for t in tensors]).encode())
        most = max(1, SAMPLE // max(1, len(tensors)))
        # Joined, since a hundred labels one by one would take longer than
        # all the images.
        by_type = defaultdict(list)
        for tensor in tensors:
            stride = max(1, -(-tensor.numel() // most))
            values = tensor.detach().reshape(-1)[::stride]
            by_type[tensor.dtype].append(values.cpu())
        for values in by_type.values():
            digest.update(bytes_of(torch.cat(values)))
    return digest.hexdigest()


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, (dict, BaseDataElement)):
        # A data sample keeps its fields in a set, whose order differs from
        # process to process.
        for _, value in sorted(node.items()):
            yield from _tensors(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _tensors(value)
    elif isinstance(node, Tensor):
        yield node
    elif isinstance(node, (bool, int, float)) or hasattr(node, '__array__'):
        yield torch.as_tensor(node)


def bytes_of(tensor: Tensor):
    """A tensor's values, for a digest."""
    # As bytes, because NumPy does not know all of torch's types.
    flat = tensor.detach().cpu().reshape(-1).contiguous()
    return flat.view(torch.uint8).numpy()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside a wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model
