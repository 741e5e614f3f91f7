# Copyright (c) mmhkt authors. All rights reserved.
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from torch import Tensor, nn

from mmhkt.evaluation import ImageSums
from mmhkt.evaluation.image_sums import image_scores
from mmhkt.inheritance import Dissection, Extraction, Layout
from mmhkt.inheritance.layout import as_map
from mmhkt.models import Parent
from .order import Order, as_they_come
from .representation import ExplainedVariance, MinibatchCKA

PARENT = 'parent'
# Of each side of a map at most so many positions are taken; between neighbours
# there is little that is new.
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
        positions (ndarray | None): Where in the data set they are, (N, ),
            ascending; None: from 0 on.
        held_out (str): What was held out as a whole where the variance
            explained was judged, in words.
    """
    stages: List[Tuple[str, str]]
    cka: Dict[str, np.ndarray] = field(default_factory=dict)
    explained: Dict[str, np.ndarray] = field(default_factory=dict)
    scores: Dict[str, np.ndarray] = field(default_factory=dict)
    labels: Optional[np.ndarray] = None
    sums: Dict[str, Dict[str, ImageSums]] = field(default_factory=dict)
    images: int = 0
    positions: Optional[np.ndarray] = None
    held_out: str = ''


@torch.no_grad()
def observe(children: Dict[str, nn.Module],
            parent: Parent,
            loader,
            stages: Sequence[Tuple[str, str]],
            tell: Callable[[int], None] = lambda done: None,
            judge: Optional[Callable[[], Evaluator]] = None,
            order: Optional[Order] = None,
            score_parent: bool = True) -> Observation:
    """Show images to children and their parent, and compare what they make.

    Nothing is trained, and nothing but sums is kept of features.

    Args:
        children (dict[str, nn.Module]): Of one architecture, in eval mode;
            the first one's preprocessor is everybody's.
        parent (Parent): Connected to such a child.
        loader (DataLoader): Of labelled images, in a random order, see
            :func:`shuffled`.
        stages (Sequence): Pairs (child's module, parent's module).
        tell (callable): Gets the number of images after each batch.
        judge (callable, optional): Makes what scores a network's predictions.
            Defaults to None: they are not scored, but for the probabilities
            of classes.
        order (Order, optional): That of the loader. What is found is in the
            order of the data set. Defaults to None, as they come.
        score_parent (bool): Whether the parent's predictions are of the same
            classes. Defaults to True.
    """
    order = as_they_come(loader) if order is None else order
    networks = {**children, PARENT: parent.network}
    scored = [name for name in networks if name != PARENT or score_parent]
    found = Observation([tuple(pair) for pair in stages],
                        held_out=order.held_out)
    cka = {name: MinibatchCKA(len(stages), len(stages)) for name in children}
    maps: Dict[str, list] = {}
    scores: Dict[str, list] = {name: [] for name in scored}
    judges = {} if judge is None else {name: judge() for name in scored}
    labels: List[int] = []
    preprocess = next(iter(children.values())).data_preprocessor
    readers: Dict[str, _Reader] = {}
    for batch in loader:
        data = preprocess(batch, False)
        for name, network in networks.items():
            inputs, samples = data['inputs'], data['data_samples']
            if name == PARENT:
                inputs = parent.images(inputs)
                samples = [_of_any_classes(s) for s in samples]
            if name not in readers:
                role = int(name == PARENT)
                readers[name] = _Reader(network, inputs[:1],
                                        [pair[role] for pair in stages],
                                        ('child', 'parent')[role])
            samples = readers[name].predict(inputs, samples)
            if name in judges:
                judges[name].process(samples, batch)
            if name in scores:
                scores[name] += [
                    sample.pred_score.cpu().numpy() for sample in samples
                    if 'pred_score' in sample
                ]
        first = found.images
        found.images += len(data['data_samples'])
        folds = torch.from_numpy(order.folds[first:found.images])
        # Of a pair the first frame: the second would be almost the same again,
        # and a batch no longer random.
        sampled = {
            name: [x[:len(folds)] for x in reader.sampled()]
            for name, reader in readers.items()
        }
        for name in children:
            cka[name].update(sampled[name], sampled[PARENT])
            pairs = [
                _aligned(q, z) for q, z in zip(readers[name].features,
                                               readers[PARENT].features)
            ]
            if name not in maps:
                maps[name] = [
                    ExplainedVariance(q.shape[-1], z.shape[-1])
                    for q, z in pairs
                ]
            for one, (q, z) in zip(maps[name], pairs):
                # Both frames of a pair, a batch of them after the other.
                one.update(q, z, folds.repeat(len(q) // len(folds)))
        labels += [
            int(s.gt_label) for s in data['data_samples']
            if 'gt_label' in s and s.gt_label.numel() == 1
        ]
        tell(found.images)
    for name in children:
        found.cka[name] = cka[name].compute().numpy()
        found.explained[name] = np.array([one.compute() for one in maps[name]],
                                         dtype=float)
    back = np.argsort(order.positions[:found.images])
    found.positions = order.positions[back]
    for name, evaluator in judges.items():
        for metric in evaluator.metrics:
            if len(metric.results) == found.images:
                metric.results = [metric.results[i] for i in back]
        judged = image_scores(evaluator.metrics, found.images, step=0)
        found.sums[name] = {} if judged is None else judged.sums
    if len(labels) == found.images:
        found.labels = np.array(labels)[back]
        found.scores = {
            name: np.stack(rows)[back]
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


class _Reader:
    """Reads a network's features at some sites in its last pass: maps
    channels first, tokens as the maps that they lie on."""

    def __init__(self, network: nn.Module, image: Tensor, sites: Sequence[str],
                 role: str):
        self._network = network
        self._sites = sites
        dissection = Dissection(network, image, role)
        self._extraction = Extraction(network, dissection, None, None)
        self._extraction.want(sites)
        self._extraction.copy_overwritten(sites)
        self._grids: List[Optional[Tuple[int, int]]] = []
        self.features: List[Tensor] = []

    def predict(self, images: Tensor, samples: list) -> list:
        """What the network predicts."""
        reading = self._extraction
        with reading.tapped(), reading.record():
            predicted = self._network(images, samples, mode='predict')
        self.features = [
            _on_grid(reading.feature(site), images.shape[-2:])
            for site in self._sites
        ]
        reading.forget()
        # Images of other sizes are sampled on the first one's grid.
        self._grids = self._grids or [
            tuple(min(POSITIONS, size)
                  for size in x.shape[2:]) if x.dim() == 4 else None
            for x in self.features
        ]
        return predicted

    def sampled(self) -> List[Tensor]:
        """The features, as large in each pass: maps at so many positions,
        the mean of tokens that lie on no grid."""
        return [
            _sampled(_channels_last(x), *grid)
            if grid else x.mean(1) if x.dim() == 3 else x
            for x, grid in zip(self.features, self._grids)
        ]


def _on_grid(feature: Tensor, image_size: Tuple[int, int]) -> Tensor:
    if feature.dim() != 3:
        return feature
    try:
        return as_map(feature, Layout.of(feature.shape, image_size))
    except ValueError:
        return feature


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
