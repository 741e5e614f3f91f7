# Copyright (c) mmhkt authors. All rights reserved.
import math
from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce
from torch import Tensor, nn

from mmhkt.inheritance import KnownGradient, Site
from mmhkt.registry import METHODS
from mmhkt.utils.settings import BelowOne, Count, Positive
from .cc import Embeddings
from .distiller import PooledDistiller
from .dkd import single_labels
from .step import Step


@METHODS.register_module()
class CRD(PooledDistiller):
    r"""Contrastive representation distillation.

    From `Contrastive Representation Distillation
    <https://arxiv.org/abs/1910.10699>`_ (ICLR 2020): child's and parent's
    features are embedded on a sphere (linear, learned); noise-contrastive
    estimation tells the embedding of the same image by the other network
    from those of images of other classes, which are drawn from a memory of
    all training images, in both directions. Defaults are the paper's.

    The memory holds two vectors for each training image (51 MB for 50,000);
    it is saved with what only training needs. Negatives are drawn with
    replacement. In distributed runs all processes keep the same memory. A
    batch that is not finite is not remembered.

    Args:
        dim (int): Of the embeddings. Defaults to 128.
        negatives (int): For each image. Defaults to 16384.
        temperature (float): Defaults to 0.07.
        momentum (float): How much of a vector in the memory stays at each
            visit. Defaults to 0.5.
        sites, weights, schedule, sees: See :class:`mmhkt.methods.Method`.
            Sites default to ``'head'``.

    Raises:
        ValueError: If the training images do not have one label each, or no
            numbers of their own.
    """

    default_weights = dict(native=1.0, distillation=0.8)

    def __init__(self,
                 dim: Count = 128,
                 negatives: Count = 16384,
                 temperature: Positive = 0.07,
                 momentum: BelowOne = 0.5,
                 **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.labels: Optional[Tensor] = None

    def survey(self, dataset: Any) -> None:
        try:
            labels = torch.as_tensor(dataset.get_gt_labels())
        except (AttributeError, KeyError, ValueError, TypeError) as error:
            raise ValueError(
                'CRD needs a training set that numbers its images and knows '
                'one label for each (get_gt_labels); '
                f'{type(dataset).__name__} does not: {error}.') from error
        if len(labels.unique()) < 2:
            raise ValueError('CRD contrasts images of several classes, but '
                             'the training set has one.')
        self.labels = labels

    def adapter(self, site: Site) -> nn.Module:
        return Contrast(site, self.dim, self.labels, self.temperature,
                        self.momentum)

    def adapt(self, q: Tensor, z: Tensor, i: int, step: Step):
        return self.adapters[i](q, z)

    def distillation(self, q: Tensor, z: Tensor, i: int, step: Step) -> Tensor:
        """Loss of embeddings (B, dim)."""
        # Also refuses images whose labels are mixed.
        single_labels(step.data_samples)
        # From pinned memory, so that the host does not wait for a GPU.
        images = torch.tensor(
            [sample.sample_idx for sample in step.data_samples],
            pin_memory=q.is_cuda).to(
                q.device, non_blocking=True)
        return self.adapters[i].contrast(q, z, images, self.negatives)


class Contrast(Embeddings):
    """Embeddings, memory and loss.

    Args:
        site (Site): Where.
        dim (int): Of the embeddings.
        labels (Tensor, optional): Of all training images, (N, ). None where
            the training set is not there; the module can then be described
            but not run.
        temperature (float): Of the scores.
        momentum (float): Of the memory.
    """

    # How many times more images than are drawn there have to be, for drawing
    # them to cost less than a product with all.
    MANY = 8

    def __init__(self, site: Site, dim: int, labels: Optional[Tensor],
                 temperature: float, momentum: float):
        super().__init__(site, dim)
        self.temperature = temperature
        self.momentum = momentum
        images = 0 if labels is None else len(labels)
        for name in ('child_memory', 'parent_memory'):
            self.register_buffer(name, (2 * torch.rand(images, dim) - 1) /
                                 math.sqrt(dim / 3))
        # Of the scores of the first batch; 0 until then.
        self.register_buffer('normalisers', torch.zeros(2))
        if labels is not None:
            self._sort(labels)

    def _sort(self, labels: Tensor) -> None:
        # Images of one class in a row, so that those of all others can be
        # drawn without looking at each.
        _, ranks, counts = labels.unique(
            return_inverse=True, return_counts=True)
        ends = counts.cumsum(0)
        for name, value in dict(
                order=ranks.argsort(stable=True),
                begin=(ends - counts)[ranks],
                count=counts[ranks]).items():
            self.register_buffer(name, value, persistent=False)

    def contrast(self, q: Tensor, z: Tensor, images: Tensor,
                 negatives: int) -> Tensor:
        """The loss.

        Args:
            q (Tensor): The child's embeddings (B, dim), of any norm.
            z (Tensor): The parent's embeddings (B, dim).
            images (Tensor): Number of each image in the training set, (B, ).
            negatives (int): How many for each image.
        """
        q, z = F.normalize(q, dim=1), F.normalize(z, dim=1)
        chosen = torch.cat(
            [images[:, None],
             self._of_other_classes(images, negatives)],
            dim=1)
        sides = (q, self.parent_memory), (z, self.child_memory)
        if len(self.order) < self.MANY * chosen.shape[1]:
            # The memory changes below, before the backward pass needs it.
            scores = [(vectors @ memory.clone().T).gather(1, chosen)
                      for vectors, memory in sides]
            loss = self._loss(scores, len(self.order))
        else:
            loss = self._loss_of_few(sides, chosen)
        self._remember(q, z, images)
        return loss

    def _loss_of_few(self, sides: Tuple[tuple, ...], chosen: Tensor) -> Tensor:
        """The loss without a product with all of the memory.

        Its gradient is computed at once, since the memory changes before the
        backward pass would need it, and a copy would cost as much again.
        """
        with torch.no_grad():
            scores = [_scores(v, memory, chosen) for v, memory in sides]
        with torch.enable_grad():
            leaves = [score.requires_grad_() for score in scores]
            loss = self._loss(leaves, len(self.order))
            of_scores = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            of_vectors = [
                _gradient(g, memory, chosen)
                for g, (_, memory) in zip(of_scores, sides)
            ]
        return KnownGradient.apply(loss.detach(), *of_vectors,
                                   *(vectors for vectors, _ in sides))

    def _of_other_classes(self, images: Tensor, count: int) -> Tensor:
        begin, own = self.begin[images, None], self.count[images, None]
        others = len(self.order) - own
        drawn = torch.rand((len(images), count), device=images.device)
        drawn = (drawn * others).long().clamp(max=others - 1)
        return self.order[drawn + own * (drawn >= begin)]

    def _loss(self, scores: List[Tensor], images: int) -> Tensor:
        ratios = [(score / self.temperature).exp() for score in scores]
        normalisers = self._normalise(ratios, images)
        negatives = scores[0].shape[1] - 1
        noise, eps = negatives / images, 1e-7
        loss = 0
        for ratio, normaliser in zip(ratios, normalisers):
            p = ratio / normaliser
            positive = (p[:, 0] / (p[:, 0] + noise + eps)).log()
            negative = (noise / (p[:, 1:] + noise + eps)).log()
            loss = loss - (positive.sum() + negative.sum()) / len(p)
        return loss

    @torch.no_grad()
    def _normalise(self, ratios: List[Tensor], images: int) -> Tensor:
        # Which batch is the first finite one is decided on the device: the
        # host would have to wait for it.
        means = torch.stack([ratio.mean() for ratio in ratios])
        all_reduce(means, 'mean')
        normalisers = torch.where(self.normalisers > 0, self.normalisers,
                                  means * images)
        finite = normalisers.isfinite().all()
        self.normalisers.copy_(
            torch.where(finite, normalisers, self.normalisers))
        return normalisers

    @torch.no_grad()
    def _remember(self, *visited: Tensor) -> None:
        q, z, images = (torch.cat(all_gather(v.contiguous())) for v in visited)
        finite = q.isfinite().all() & z.isfinite().all()
        for memory, vectors in ((self.child_memory, q), (self.parent_memory,
                                                         z)):
            kept = memory[images]
            mixed = (
                self.momentum * kept +
                (1 - self.momentum) * mean_of_each(images, vectors.to(memory)))
            memory[images] = torch.where(finite, F.normalize(mixed, dim=1),
                                         kept)


# How many values are drawn from a memory at once.
AT_ONCE = 2**24


def _rows(memory: Tensor, chosen: Tensor) -> int:
    return max(1, AT_ONCE // (chosen.shape[1] * memory.shape[1]))


def _scores(vectors: Tensor, memory: Tensor, chosen: Tensor) -> Tensor:
    """Products of each vector (B, dim) with those of the memory that were
    chosen for it (B, N); (B, N)."""
    size = _rows(memory, chosen)
    return torch.cat([
        (memory[numbers] @ some.unsqueeze(2).to(memory)).squeeze(2)
        for some, numbers in zip(vectors.split(size), chosen.split(size))
    ])


def _gradient(of_scores: Tensor, memory: Tensor, chosen: Tensor) -> Tensor:
    """Of :func:`_scores`, with respect to the vectors."""
    size = _rows(memory, chosen)
    return torch.cat([
        (some.unsqueeze(1) @ memory[numbers]).squeeze(1)
        for some, numbers in zip(of_scores.split(size), chosen.split(size))
    ])


def mean_of_each(images: Tensor, vectors: Tensor) -> Tensor:
    """Give an image that is there several times one vector, their mean.

    Which of several vectors a memory keeps is left open on a GPU, and so it
    might differ between processes.

    Args:
        images (Tensor): Number of each image (B, ).
        vectors (Tensor): Their vectors (B, dim).

    Returns:
        Tensor: (B, dim), equal to the bit where the image is.
    """
    same = images[:, None] == images
    # In float64 no order of the sum shows after rounding, and no matrix
    # product is taken in less than float32.
    sums = same.double() @ vectors.double()
    means = (sums / same.sum(1, keepdim=True)).to(vectors.dtype)
    return means[same.byte().argmax(1)]
