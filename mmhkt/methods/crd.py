# Copyright (c) mmhkt authors. All rights reserved.
import math
from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce
from torch import Tensor, nn

from mmhkt.inheritance import Site
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

    The memory holds two vectors for each training image, in float16 (26 MB for
    50,000, 656 MB for ImageNet); it is saved with what only training needs.
    Negatives are drawn with replacement, once for all images of a batch. In
    distributed runs all processes keep the same memory. A batch that is not
    finite is not remembered.

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

    def __init__(self, site: Site, dim: int, labels: Optional[Tensor],
                 temperature: float, momentum: float):
        super().__init__(site, dim)
        self.temperature = temperature
        self.momentum = momentum
        images = 0 if labels is None else len(labels)
        for name in ('child_memory', 'parent_memory'):
            memory = (2 * torch.rand(images, dim) - 1) / math.sqrt(dim / 3)
            # Half as much to hold and to save, three digits of each value.
            self.register_buffer(name, memory.half())
        # Of the scores of the first batch; 0 until then.
        self.register_buffer('normalisers', torch.zeros(2))
        if labels is not None:
            self._sort(labels)

    def _sort(self, labels: Tensor) -> None:
        _, classes, counts = labels.unique(
            return_inverse=True, return_counts=True)
        self.register_buffer('classes', classes.int(), persistent=False)
        # A class of more than half of the images, which would leave few.
        self.major = int(counts.argmax())
        if 2 * counts[self.major] <= len(labels):
            self.major = -1
        else:
            counts[self.major] = 0
        self.register_buffer(
            'rest', (classes != self.major).nonzero()[:, 0], persistent=False)
        self.largest_share = int(counts.max()) / len(labels)

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
        drawn, chosen = self._draw(images, negatives)
        scores = []
        for vectors, memory in ((q, self.parent_memory), (z,
                                                          self.child_memory)):
            # Copies: the memory changes before the backward pass.
            same, others = memory[images].to(q), memory[drawn].to(q)
            scores.append(((vectors * same).sum(1) / self.temperature,
                           vectors @ (others.T / self.temperature)))
        loss = self._loss(scores, chosen, negatives)
        self._remember(q, z, images)
        return loss

    def _draw(self, images: Tensor, count: int) -> Tuple[Tensor, Tensor]:
        """Draw from the memory once for the whole batch.

        Each image has the first that are of other classes, so that they are
        drawn evenly from all images of those. The images of a class of more
        than half of all have others of their own.

        Returns:
            tuple: Numbers of K images, (K, ), and which of them are the
            ``count`` of each image of the batch, (B, K).
        """
        share, device = self.largest_share, images.device
        # Six standard deviations more than are needed on average.
        enough = count + 6 * math.sqrt(count * share) + 18 * (share > 0)
        drawn = torch.randint(
            len(self.classes), (math.ceil(enough / (1 - share)), ),
            device=device)
        own = self.classes[images, None]
        chosen = (self.classes[drawn] != own) & (own != self.major)
        chosen &= chosen.cumsum(1, dtype=torch.int32) <= count
        if self.major < 0:
            return drawn, chosen
        more = torch.randint(len(self.rest), (count, ), device=device)
        return (torch.cat([drawn, self.rest[more]]),
                torch.cat([chosen, (own == self.major).expand(-1, count)], 1))

    def _loss(self, scores: List[Tuple[Tensor, Tensor]], chosen: Tensor,
              negatives: int) -> Tensor:
        """Of scores (B, ) of the same image and (B, K) of what was drawn.

        With p = exp(score) / normaliser and n = negatives / images, it is the
        logarithm of p / (p + n) and of n / (p + n), as sigmoids.
        """
        normalisers = self._normalise(scores, chosen, negatives)
        noise, eps = negatives / len(self.classes), 1e-7
        loss = 0
        for (same, others), normaliser in zip(scores, normalisers):
            level = (normaliser * (noise + eps)).log()
            positive = F.logsigmoid(same - level)
            others = (others - level).masked_fill(~chosen, -math.inf)
            negative = (
                F.softplus(others).sum(1) +
                negatives * math.log1p(eps / noise))
            loss = loss + (negative - positive).mean()
        return loss

    @torch.no_grad()
    def _normalise(self, scores: List[Tuple[Tensor, Tensor]], chosen: Tensor,
                   negatives: int) -> Tensor:
        # Which batch is the first finite one is decided on the device: the
        # host would have to wait for an accelerator.
        known = self.normalisers > 0
        sums = [
            same.exp().sum() + (others.exp() * chosen).sum()
            for same, others in scores
        ]
        means = torch.stack(sums) / (len(chosen) * (negatives + 1))
        all_reduce(means, 'mean')
        normalisers = torch.where(known, self.normalisers,
                                  means * len(self.classes))
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
                (1 - self.momentum) * mean_of_each(images, vectors))
            memory[images] = torch.where(finite,
                                         F.normalize(mixed, dim=1).to(memory),
                                         kept)


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
