# Copyright (c) mmhkt authors. All rights reserved.
"""Every distiller between two networks that are not there."""
from types import SimpleNamespace

import torch
from mmpretrain.structures import DataSample

import mmhkt.methods  # noqa: F401  fills the registry
from mmhkt.inheritance import Classes, Layout, Site
from mmhkt.methods import Distiller, LogitDistiller, PooledDistiller
from mmhkt.registry import METHODS

ALL = [
    name for name, method in METHODS.module_dict.items()
    if issubclass(method, Distiller) and method.__module__.startswith('mmhkt')
]
# Of child and parent without the images; the last ones are pooled.
MAPS = [((4, 8, 8), (6, 8, 8)), ((5, 6, 6), (7, 3, 3)), ((5, ), (6, ))]
LABELS = torch.arange(12) % 5


def shapes_of(method):
    """Shapes of child and parent at the sites that suit a method."""
    if issubclass(method, LogitDistiller):
        return [((5, ), (5, ))]
    if issubclass(method, PooledDistiller):
        return [((4, 3, 3), (6, 2, 2))]
    return MAPS[:-1] if method.compares_positions else MAPS


def distiller(name, **kwargs):
    """A registered distiller, connected to its sites."""
    torch.manual_seed(0)
    method = METHODS.get(name)
    sites = [
        Site(f'c{i}', f'p{i}',
             *(Layout.of((1, *shape), (24, 24)) for shape in shapes))
        for i, shapes in enumerate(shapes_of(method))
    ]
    method = method(**kwargs)
    method.survey(SimpleNamespace(get_gt_labels=LABELS.numpy))
    network = SimpleNamespace(
        want=lambda sites: None, conflict=None, classes=Classes())
    method.connect(sites, network, network)
    return method.train()


def step_of(method, images, seed=0, scale=1.):
    """A step with features of noise for a connected distiller.

    Args:
        method (Distiller): The distiller.
        images (Sequence[int]): Their numbers in the training set, the same
            features for the same number.
        seed (int): Of the noise. Defaults to 0.
        scale (float): Of the noise. Defaults to 1.

    Returns:
        SimpleNamespace: The step; ``q`` and ``z`` are its features, by site.
    """
    generator = torch.Generator().manual_seed(seed)
    images = list(images)
    pairs = [[
        scale * torch.randn((len(LABELS), *shape), generator=generator)[images]
        for shape in shapes
    ] for shapes in shapes_of(type(method))]
    q, z = ({
        f'{side}{i}': pair[k]
        for i, pair in enumerate(pairs)
    } for k, side in enumerate('cp'))
    for feature in q.values():
        feature.requires_grad_()
    samples = [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(int(LABELS[i]))
        for i in images
    ]
    return SimpleNamespace(
        q=q,
        z=z,
        data_samples=samples,
        child_feature=lambda site, *_, **__: q[site],
        parent_feature=lambda site, *_, **__: z[site])


def loss_of(method, step):
    """The sum of a method's losses."""
    losses = method(step)
    assert losses
    return sum(losses.values())
