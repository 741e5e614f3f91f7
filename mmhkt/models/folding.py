# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Callable, Collection, Dict, Iterator, List

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mmhkt.inheritance.outputs import features
from mmhkt.inheritance.tape import INPUT

# How far what the network makes may move, relative to the largest value.
CLOSE = 1e-3


@torch.no_grad()
def fold_norms(
    network: nn.Module, run: Callable[[], Tensor],
    keep: Collection[str] = ()) -> List[str]:
    """Fold batch norms into the convolutions before them.

    In a frozen network both are linear, one after the other. Folded is what a
    dry run shows to be such a pair: the norm is always given what this
    convolution returned, and nothing but that, and has statistics of its own.
    The norm becomes an identity, so that paths stay.

    Args:
        network (nn.Module): In eval mode. Is changed.
        run (Callable): Runs it once, without arguments, and returns what it
            makes.
        keep (Collection[str]): Paths of modules whose output is read, which
            must not change; ``'@in'`` behind one means what it is given.
            Defaults to none.

    Returns:
        list[str]: Paths of the norms that were folded.

    Raises:
        ValueError: If the network then makes something else: the output of a
            convolution went somewhere unseen.
    """
    with _watched(network, keep) as given:
        before = _exactly(run)
    folded = []
    by_conv: Dict[nn.Module, List[str]] = {}
    for path, sources in given.items():
        if len(sources) == 1 and None not in sources:
            by_conv.setdefault(next(iter(sources)), []).append(path)
    names = {module: name for name, module in network.named_modules()}
    for conv, norms in by_conv.items():
        norm = network.get_submodule(norms[0])
        if (len(norms) > 1 or names[conv] in keep or norms[0] + INPUT in keep
                or norm.training or norm.running_mean is None
                or getattr(conv, 'parametrizations', None)):
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias,
                                                      norm.running_mean,
                                                      norm.running_var,
                                                      norm.eps, norm.weight,
                                                      norm.bias)
        conv.requires_grad_(False)
        parent, _, name = norms[0].rpartition('.')
        setattr(network.get_submodule(parent), name, nn.Identity())
        folded.append(norms[0])
    off = (_exactly(run) - before).abs().max() / before.abs().max()
    if not off < CLOSE:
        raise ValueError(
            'parent.fold_norms changes what the parent makes, by '
            f'{float(off):.1e} of the largest value: an output of a '
            'convolution is used beside its norm. Leave it out.')
    return folded


def _exactly(run: Callable[[], Tensor]) -> Tensor:
    """What it makes, without the ten bits of TF32, which a GPU takes for
    convolutions in float32: other weights are rounded differently."""
    cudnn = torch.backends.cudnn
    # From torch 2.9 on, where the older name is refused beside the newer.
    owner, name, exact = ((cudnn.conv, 'fp32_precision',
                           'ieee') if hasattr(cudnn, 'conv') else
                          (cudnn, 'allow_tf32', False))
    before = getattr(owner, name)
    setattr(owner, name, exact)
    try:
        return run()
    finally:
        setattr(owner, name, before)


@contextmanager
def _watched(network: nn.Module,
             keep: Collection[str]) -> Iterator[Dict[str, set]]:
    """Of each batch norm, what convolutions it was given the output of; None
    stands for anything else. A convolution whose output something else is
    given too, or what is kept returns, counts as that."""
    # Kept alive, so that no two have one address.
    outputs: Dict[int, tuple] = {}
    given: Dict[str, set] = {}
    uses: Dict[nn.Module, set] = {}

    def made(conv, _, output: Tensor) -> None:
        outputs[id(output)] = conv, output

    def taken(path: str) -> Callable:

        def note(module, args: tuple) -> None:
            for value in args:
                conv, _ = outputs.get(id(value), (None, None))
                uses.setdefault(conv, set()).add(path)
                if isinstance(module, _BatchNorm):
                    given.setdefault(path, set()).add(conv)

        return note

    def returned(module, _, output) -> None:
        for value in features(output):
            if id(value) in outputs:
                uses.setdefault(outputs[id(value)][0], set()).add(None)

    with ExitStack() as stack:
        for path, module in network.named_modules():
            if type(module) is nn.Conv2d:
                stack.callback(module.register_forward_hook(made).remove)
            if path in keep:
                stack.callback(module.register_forward_hook(returned).remove)
            stack.callback(
                module.register_forward_pre_hook(taken(path)).remove)
        yield given
    for path, sources in given.items():
        if any(conv and uses[conv] != {path} for conv in sources):
            sources.add(None)
