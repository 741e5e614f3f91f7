# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from torch import Tensor, nn

from mmhkt.evaluation import ImageSums
from mmhkt.evaluation.image_sums import image_scores
from mmhkt.models import Parent
from .representation import ExplainedVariance, MinibatchCKA

PARENT = 'parent'
# Of each side of a map at most so many positions are taken for the least
# squares; between neighbours there is little that is new.
POSITIONS = 8


@dataclass
class Observation:
    """What two or more networks made of the same images.

    Args:
        stages (list): Pairs (child's module, parent's module).
        cka (dict[str, ndarray]): Child -> (its stages, the parent's stages),
            see :class:`MinibatchCKA`.
        explained (dict[str, ndarray]): Child -> (stages, ): the share of the
            parent's variance that the child's stage explains, see
            :class:`ExplainedVariance`.
        scores (dict[str, ndarray]): Network -> probabilities (N, classes);
            empty where the task is not classification.
        labels (ndarray | None): True classes (N, ).
        sums (dict[str, dict[str, ImageSums]]): Network -> score -> what each
            image contributed; empty where nothing judged.
        images (int): N, pairs of them in flow.
    """
    stages: List[Tuple[str, str]]
    cka: Dict[str, np.ndarray] = field(default_factory=dict)
    explained: Dict[str, np.ndarray] = field(default_factory=dict)
    scores: Dict[str, np.ndarray] = field(default_factory=dict)
    labels: Optional[np.ndarray] = None
    sums: Dict[str, Dict[str, ImageSums]] = field(default_factory=dict)
    images: int = 0


@torch.no_grad()
def observe(children: Dict[str, nn.Module],
            parent: Parent,
            loader,
            stages: Sequence[Tuple[str, str]],
            images: Optional[int] = None,
            tell: Callable[[int], None] = lambda done: None,
            judge: Optional[Callable[[], Evaluator]] = None) -> Observation:
    """Show images to children and their parent, and compare what they make.

    Nothing is trained, and nothing but sums is kept of features.

    Args:
        children (dict[str, nn.Module]): Of one architecture, in eval mode;
            the first one's preprocessor is everybody's.
        parent (Parent): Connected to such a child.
        loader (DataLoader): Of labelled images.
        stages (Sequence): Pairs (child's module, parent's module).
        images (int, optional): Stop after so many. Defaults to None, all.
        tell (callable): Gets the number of images after each batch.
        judge (callable, optional): Makes what scores a network's predictions.
            Defaults to None: they are not scored, but for the probabilities
            of classes.
    """
    networks = {**children, PARENT: parent.network}
    names = dict.fromkeys(children, [c for c, _ in stages])
    names[PARENT] = [p for _, p in stages]
    found = Observation([tuple(pair) for pair in stages])
    cka = {name: MinibatchCKA(len(stages), len(stages)) for name in children}
    maps: Dict[str, list] = {}
    scores: Dict[str, list] = {name: [] for name in networks}
    judges = {} if judge is None else {name: judge() for name in networks}
    labels: List[int] = []
    preprocess = next(iter(children.values())).data_preprocessor
    with ExitStack() as stack:
        seen = {
            name: stack.enter_context(_Seen(network, names[name]))
            for name, network in networks.items()
        }
        for batch in loader:
            data = preprocess(batch, False)
            for name, network in networks.items():
                inputs, samples = data['inputs'], data['data_samples']
                if name == PARENT:
                    inputs = parent.images(inputs)
                    samples = [_of_any_classes(s) for s in samples]
                samples = network(inputs, samples, mode='predict')
                if name in judges:
                    judges[name].process(samples, batch)
                scores[name] += [
                    sample.pred_score.cpu().numpy() for sample in samples
                    if 'pred_score' in sample
                ]
            features = {name: s.take() for name, s in seen.items()}
            first = found.images
            found.images += len(data['data_samples'])
            held_out = torch.arange(first, found.images) % 2 == 1
            for name in children:
                cka[name].update(features[name], features[PARENT])
                pairs = [
                    _aligned(q, z)
                    for q, z in zip(features[name], features[PARENT])
                ]
                if name not in maps:
                    maps[name] = [
                        ExplainedVariance(q.shape[-1], z.shape[-1])
                        for q, z in pairs
                    ]
                for one, (q, z) in zip(maps[name], pairs):
                    # Both frames of a pair, a batch of them after the other.
                    one.update(q, z, held_out.repeat(len(q) // len(held_out)))
            labels += [
                int(s.gt_label) for s in data['data_samples']
                if 'gt_label' in s and s.gt_label.numel() == 1
            ]
            tell(found.images)
            if images is not None and found.images >= images:
                break
    for name in children:
        found.cka[name] = cka[name].compute().numpy()
        found.explained[name] = np.array([one.compute() for one in maps[name]],
                                         dtype=float)
    for name, evaluator in judges.items():
        judged = image_scores(evaluator.metrics, found.images, step=0)
        found.sums[name] = {} if judged is None else judged.sums
    if len(labels) == found.images:
        found.labels = np.array(labels)
        found.scores = {
            name: np.stack(rows)
            for name, rows in scores.items() if len(rows) == found.images
        }
    return found


def _of_any_classes(sample):
    """A sample that a network of other classes can predict: mmpretrain's say
    how many classes the data set has."""
    if 'num_classes' in sample:
        sample = sample.clone()
        sample.pop('num_classes')
    return sample


class _Seen:
    """The features of a network's modules in its last pass."""

    def __init__(self, network: nn.Module, names: Sequence[str]):
        modules = dict(network.named_modules())
        self._modules = [modules[name] for name in names]
        self._features: List[Optional[Tensor]] = [None] * len(names)

    def __enter__(self) -> '_Seen':
        self._handles = [
            module.register_forward_hook(self._keep(i))
            for i, module in enumerate(self._modules)
        ]
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, i: int) -> Callable:

        def keep(module, args, output) -> None:
            if isinstance(output, (tuple, list)):
                output = output[-1]
            self._features[i] = output.detach()

        return keep

    def take(self) -> List[Tensor]:
        return list(self._features)


def _aligned(q: Tensor, z: Tensor) -> Tuple[Tensor, Tensor]:
    """Both at the same positions: (N, channels) or (N, P, channels)."""
    q, z = (_channels_last(x) for x in (q, z))
    if q.dim() == z.dim() == 4:
        rows, columns = (
            min(POSITIONS, q.shape[i], z.shape[i]) for i in (1, 2))
        q, z = (_sampled(x, rows, columns) for x in (q, z))
    if q.shape[:-1] != z.shape[:-1]:
        # A map and a vector, say, or tokens of another number.
        q, z = (x.flatten(1, -2).mean(1) if x.dim() > 2 else x for x in (q, z))
    return q, z


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def _sampled(x: Tensor, rows: int, columns: int) -> Tensor:
    """Positions spread evenly over a map: (N, rows * columns, channels)."""
    at = [(2 * torch.arange(n) + 1) * size // (2 * n)
          for n, size in ((rows, x.shape[1]), (columns, x.shape[2]))]
    return x[:, at[0]][:, :, at[1]].flatten(1, 2)
