# Copyright (c) mmhkt authors. All rights reserved.
"""A transformer and a convolutional network bring up each other.

    python tools/maintenance/across_families.py data/fashion_mnist.npz

trains both alone, for a while, on as many images or on more
(``--parent-train``), and then each as the parent of a small one of the other
family, with HKT and, from the same weights on the same batches, alone. Printed
are accuracies and, site by site, the error of the hints at the beginning and
at the end of the time that they are given. Settings of HKT are tried by, say,
``--hkt '{"weights": {"inherited": 0}}'``, and chosen on training images that
no network learns from (``--held-out``, from which one on).
"""
import argparse
import copy
import json
from statistics import mean, stdev
from typing import Optional

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn

import mmhkt


def arrays(path: str,
           train: int,
           test: int,
           held_out: Optional[int] = None) -> tuple:
    """Images (N, C, H, W), 0 mean and unit variance, and labels."""
    file = np.load(path)
    found = []
    scored = ('test', 0) if held_out is None else ('train', held_out)
    for (split, first), count in ((('train', 0), train), (scored, test)):
        chosen = slice(first, first + count)
        images = torch.from_numpy(file[f'{split}_images'][chosen]).float()
        images = images[:,
                        None] if images.dim() == 3 else images.movedim(-1, 1)
        found += [
            images,
            torch.from_numpy(file[f'{split}_labels'][chosen]).long().flatten()
        ]
    mean, std = found[0].mean(), found[0].std()
    for i in (0, 2):
        found[i] = (found[i] - mean) / std
    return tuple(found)


def transformer(images: torch.Tensor, dim: int, depth: int) -> nn.Module:
    """A ViT of timm's with patches of a seventh of the image."""
    channels, size = images.shape[1:3]
    return timm.models.VisionTransformer(
        img_size=size,
        patch_size=max(1, size // 7),
        in_chans=channels,
        num_classes=10,
        embed_dim=dim,
        depth=depth,
        num_heads=4)


def convolutional(images: torch.Tensor, widths: tuple) -> nn.Module:
    """Three stages, of strides 1, 2 and 4."""

    class Block(nn.Sequential):

        def __init__(self, before, after, stride):
            super().__init__(
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False),
                nn.BatchNorm2d(after), nn.ReLU())

    before = (images.shape[1], *widths)
    stages = [
        nn.Sequential(Block(before[i], width, 1 if i == 0 else 2))
        for i, width in enumerate(widths)
    ]
    return nn.Sequential(
        nn.Sequential(*stages), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(widths[-1], 10))


def accuracy(network: nn.Module, images, labels) -> float:
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(x).argmax(1) for x in images.split(256)])
    network.train()
    return 100 * (found == labels).float().mean().item()


def batches(images, labels, epochs: int, size: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(size)[:len(images) // size]:
            yield images[chosen], labels[chosen]


def train(child,
          parent,
          data,
          epochs: int,
          size: int = 64,
          rate: float = 3e-3,
          seed: int = 0,
          hkt: Optional[dict] = None) -> dict:
    """Train, alone without a parent; losses and hint errors, step by step."""
    images, labels, *test = data
    steps = epochs * (len(images) // size)
    found: dict = dict(loss=[], errors={})
    if parent is None:
        loss, parameters = None, child.parameters()
    else:
        loss = mmhkt.inherit(
            child,
            parent,
            images[:1],
            steps=steps,
            method=dict(type='mmhkt.HKT', **(hkt or {})))
        if seed == 0:
            print(loss.pairing())
        parameters = loss.parameters()
        loss.__enter__()
    optimizer = torch.optim.AdamW(parameters, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    child.train()
    for x, y in batches(images, labels, epochs, size, seed):
        optimizer.zero_grad()
        if loss is None:
            total = F.cross_entropy(child(x), y)
        else:
            total = loss(x, y)
            statistics = loss.inheritance.methods[0].statistics()
            for name, value in statistics.items():
                if name.startswith('error.') and (
                        loss.inheritance.methods[0].weight('hint') > 0):
                    found['errors'].setdefault(name[6:],
                                               []).append(float(value))
        total.backward()
        optimizer.step()
        schedule.step()
        found['loss'].append(total.item())
    if loss is not None:
        loss.__exit__()
    found['accuracy'] = accuracy(child, *test)
    return found


def ends(values: list) -> tuple:
    """Mean of the first and of the last tenth."""
    part = max(1, len(values) // 10)
    return mean(values[:part]), mean(values[-part:])


def both_ways(data: tuple,
              epochs: int,
              big=(64, 4, (16, 32, 64)),
              small=(32, 3, (8, 12, 16)),
              seeds: int = 1,
              seen: Optional[int] = None,
              hkt: Optional[dict] = None) -> dict:
    """Each family as the parent of the other, of all images, its child of the
    first ones: what is found of the first seed, and the gains of all."""
    images = data[0]
    few = (images[:seen], data[1][:seen], *data[2:])
    torch.manual_seed(0)
    parents = dict(
        transformer=transformer(images, *big[:2]),
        convolutional=convolutional(images, big[2]))
    result = {}
    for name, parent in parents.items():
        found = train(parent, None, data, epochs)
        print(f'{name}, the parent: {found["accuracy"]:.2f} %', flush=True)
        gains = []
        for seed in range(seeds):
            torch.manual_seed(seed + 1)
            child = (
                convolutional(images, small[2])
                if name == 'transformer' else transformer(images, *small[:2]))
            alone = train(copy.deepcopy(child), None, few, epochs, seed=seed)
            found = train(child, parent, few, epochs, seed=seed, hkt=hkt)
            result.setdefault(name, found)
            gains.append(found['accuracy'] - alone['accuracy'])
            print(
                'its child of the other family, seed {}: {:.2f} %, alone '
                '{:.2f} %'.format(seed, found['accuracy'], alone['accuracy']),
                flush=True)
        result[name]['gains'] = gains
        if seeds > 1:
            print(f'gain: {mean(gains):+.2f} ± {stdev(gains):.2f}')
        print('loss: {:.3f} to {:.3f}'.format(*ends(result[name]['loss'])))
        for site, errors in result[name]['errors'].items():
            print(
                '  hint at {}: {:.3f} to {:.3f}'.format(site, *ends(errors)),
                flush=True)
    return result


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('file')
    parser.add_argument('--train', type=int, default=2000)
    parser.add_argument('--test', type=int, default=1000)
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--parent-train', type=int)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--held-out', type=int)
    parser.add_argument('--hkt', type=json.loads)
    args = parser.parse_args()
    torch.set_num_threads(1)
    parent_train = args.parent_train or args.train
    if parent_train < args.train:
        parser.error(f'--parent-train {parent_train} is below --train '
                     f'{args.train}: the child learns from the first of these')
    if args.held_out is not None and args.held_out < parent_train:
        parser.error(f'--held-out {args.held_out} is one of the '
                     f'{parent_train} images that the parent learns from')
    both_ways(
        arrays(args.file, parent_train, args.test, args.held_out),
        args.epochs,
        seeds=args.seeds,
        seen=args.train,
        hkt=args.hkt)
