# Copyright (c) mmhkt authors. All rights reserved.
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from captum.attr import IntegratedGradients
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmhkt.models import Parent
from mmhkt.models.image_format import normalisation_of
from .observe import PARENT


def attributions(networks: Sequence[Callable[[Tensor], Tensor]],
                 images: Tensor,
                 classes: Sequence[int],
                 steps: int = 32) -> np.ndarray:
    """Where networks look: how much each pixel adds to the logit of a class.

    Integrated gradients (Sundararajan et al., 2017,
    https://arxiv.org/abs/1703.01365) from the mean image on, by captum: of
    convolutional and transformer networks alike. What they sum up to over an
    image is the difference of its logit to that of the mean image.

    Args:
        networks (Sequence[callable]): From normalised images to logits.
        images (Tensor): (N, 3, H, W), normalised, so that the mean is 0.
        classes (Sequence[int]): Whose logit, one an image.
        steps (int): Of the integral. Defaults to 32.

    Returns:
        ndarray: (networks, N, H, W), summed over the colours.
    """
    target = torch.as_tensor(classes, device=images.device)
    return np.stack([
        IntegratedGradients(network).attribute(
            images, target=target, n_steps=steps,
            internal_batch_size=64).sum(1).detach().cpu().numpy()
        for network in networks
    ])


def where_they_look(children: Dict[str, nn.Module], parent: Optional[Parent],
                    dataset, samples: Sequence[int]) -> List[dict]:
    """What parent and children look at in a few images.

    Args:
        children (dict[str, nn.Module]): Classifiers, in eval mode.
        parent (Parent, optional): Connected to such a child; None where its
            classes are others.
        dataset: Whose samples have one label each.
        samples (Sequence[int]): Positions in it.

    Returns:
        list[dict]: One a sample: ``sample``, ``label``, ``image`` (H, W, 3)
        from 0 to 1, ``maps`` from network to (H, W), how much each pixel adds
        to the logit of the true class, and ``predicted``, from network to
        class.
    """
    preprocess = next(iter(children.values())).data_preprocessor
    mean, std = (
        x.float()[:, None, None] for x in normalisation_of(preprocess))
    networks = {name: _logits(child) for name, child in children.items()}
    if parent is not None:
        networks = {PARENT: lambda x: parent(x, mode='tensor'), **networks}
    shown = []
    for position in samples:
        data = preprocess(pseudo_collate([dataset[position]]), False)
        images = data['inputs']
        label = int(data['data_samples'][0].gt_label)
        maps = attributions(list(networks.values()), images, [label])
        with torch.no_grad():
            predicted = {
                name: int(network(images).argmax())
                for name, network in networks.items()
            }
        image = (images[0].cpu() * std + mean) / 255
        shown.append(
            dict(
                sample=int(position),
                label=label,
                image=image.clamp(0, 1).permute(1, 2, 0).numpy(),
                maps=dict(zip(networks, maps[:, 0])),
                predicted=predicted))
    return shown


def _logits(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: network(images, mode='tensor')
