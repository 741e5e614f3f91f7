# Copyright (c) mmhkt authors. All rights reserved.
"""Each family of the installed zoos as parent and as child, for a step.

    python tools/maintenance/zoo_survey.py docs/coverage.json \\
        [--zoo mmseg] [--only pidnet]

Families are told apart by folder, backbone and head; of each the smallest
configuration is taken. Each is tried in a process of its own, forked from one
that has imported everything. What was found is added to the file, which
``docs/coverage.md`` is written from.
"""
import argparse
import json
import os
import re
import signal
import sys
import traceback
import warnings
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import mmpretrain
import mmseg
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from mmhkt.models import ImageFormat, Inheritance, Parent, build_network
from mmhkt.models.image_format import image_channels
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config

ZOOS = dict(
    mmpretrain=dict(
        package=mmpretrain,
        distribution='mmpretrain',
        child='resnet/resnet18_8xb32_in1k.py',
        parent='resnet/resnet50_8xb32_in1k.py',
        sizes=((64, 64), (224, 224), (256, 256), (299, 299), (32, 32))),
    mmseg=dict(
        package=mmseg,
        distribution='mmsegmentation',
        child='pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        parent='pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
        sizes=((64, 64), (128, 128), (512, 512), (640, 640))))
# The default; one that compares logits, one stages, one pooled features.
METHODS = ('HKT', 'KD', 'FitNet', 'RKD')
# Of the smallest of a family's configurations.
SMALL = ('nano', 'pico', 'femto', 'atto', 'xxs', 'tiny', 'tiny', 'r18', 'r26',
         'b0', '-t_', '-t-', '_t_', 'small', '-s_', '-s-', 's0', 'a0', 'xs',
         'mit-b0', 'r34', 'r50', '400mf', '0.5', 'p12', 'stdc1', 'vit-t', 'l1',
         '11', 's12', 'base', '-b_', '-b-', '_b_', 'b16', 'p16')
LARGE = ('large', 'huge', 'giant', '384', '448', '512px', 'b7', 'l2', '101',
         '152', '-l', '-h', '-g', 'xlarge', '769', '896', '640')

# What takes 16 GB, or only images of a size that takes an hour, made smaller;
# and what mmpretrain trains with one of its two classifiers only.
CHANGED = {
    'eva/eva-g-p16_headless.py':
    dict(backbone=dict(arch='base')),
    'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py':
    dict(backbone=dict(img_size=(128, 128))),
    'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py':
    dict(backbone=dict(img_size=(128, 128))),
    'levit/levit-128_8xb256_in1k.py':
    dict(head=dict(distillation=False)),
    'efficientformer/efficientformer-l1_8xb128_in1k.py':
    dict(head=dict(distillation=False)),
}


def root_of(zoo: str) -> Path:
    return Path(ZOOS[zoo]['package'].__file__).parent / '.mim' / 'configs'


def families(zoo: str) -> dict:
    """(folder, kind of network) -> paths, the smallest first."""
    root = root_of(zoo)
    found: dict = {}
    for path in sorted(root.rglob('*.py')):
        name = path.relative_to(root)
        if name.parts[0].startswith('_') or 'deploy' in name.parts[:-1]:
            continue
        try:
            model = Config.fromfile(path).get('model')
        except Exception as error:
            kind = f'cannot be read ({type(error).__name__})'
            if not any(k[0] == name.parts[0] for k in found):
                found[name.parts[0], kind] = [str(name)]
            continue
        kind = model and kind_of(model)
        if kind:
            found.setdefault((name.parts[0], kind), []).append(str(name))
    readable = {key[0] for key in found if 'cannot be read' not in key[1]}
    return {
        key: sorted(names, key=_size)
        for key, names in found.items()
        if 'cannot be read' not in key[1] or key[0] not in readable
    }


def kind_of(model: dict) -> str:
    """Of a classifier or segmentor, '' of what is neither."""
    if model.type.endswith(('Classifier', 'EncoderDecoder')):
        head = model.get('decode_head') or model.get('head') or {}
        head = head[-1] if isinstance(head, (list, tuple)) else head
        parts = (model.get('backbone') or {}).get('type'), head.get('type')
        return ' + '.join(filter(None, parts)) or model.type
    return ''


def _size(name: str) -> tuple:
    stem = Path(name).stem
    rank = next((i for i, part in enumerate(SMALL) if part in stem), 99)
    # Of the classes that the partner has.
    other = 'cityscapes' not in stem
    return other, sum(part in stem for part in LARGE), rank, len(stem), stem


def survey(zoo: str, configs: list) -> dict:
    """What a family can do: role -> sites, methods or why not."""
    cfg, config, channels = smallest(zoo, configs)
    changed = CHANGED.get(config, {})
    result = dict(config=config +
                  ''.join(f' ({part}.{key}={value!r})'
                          for part, settings in changed.items()
                          for key, value in settings.items()))
    for role, other in (('parent', 'child'), ('child', 'parent')):
        # Grey images are repeated for a parent of three channels, but not the
        # other way round.
        pair = (partner(zoo, other, channels),
                cfg) if role == 'parent' else (cfg, partner(zoo, other))
        tried = []
        for size in ZOOS[zoo]['sizes']:
            tried.append(attempt(*pair, size))
            if 'works' in tried[-1]:
                break
        # Some networks insist on a size, or on one that is large enough; of
        # one that does at none, what is not about its size.
        result[role] = min(
            reversed(tried),
            key=lambda found: _failure(
                found.get('refused', {}).get('HKT', '')))
    return result


def smallest(zoo: str, configs: list) -> tuple:
    """Of a family's configurations the first that can be built, and its
    channels; where none can, the first of all: of a parent whose head cannot
    be built features may still be had."""
    first = None
    for config in configs:
        cfg = load_config(root_of(zoo) / config)
        cfg.setdefault('default_scope', zoo)
        without_files(cfg.model)
        cfg.merge_from_dict(dict(model=CHANGED.get(config, {})))
        first = first or (cfg, config, 3)
        try:
            network = build_network(cfg)
        except Exception:
            continue
        return cfg, config, image_channels(network)
    return first


def without_files(node) -> None:
    """Take what a config begins with: here all weights are random."""
    if isinstance(node, dict):
        if (node.get('init_cfg') or {}) and 'Pretrained' in str(
                node['init_cfg']):
            node['init_cfg'] = None
        for value in node.values():
            without_files(value)


def _failure(reason: str) -> int:
    return 2 if 'cannot take images' in reason else bool(reason)


@lru_cache(None)
def partner(zoo: str, role: str, channels: int = 3) -> torch.nn.Module:
    """The network that a family is tried with."""
    cfg = load_config(root_of(zoo) / ZOOS[zoo][role])
    if channels != 3:
        cfg.model.backbone.in_channels = channels
        for name in ('mean', 'std'):
            cfg.data_preprocessor[name] = cfg.data_preprocessor[
                name][:channels]
    return build_network(cfg)


def attempt(child, parent, size: tuple) -> dict:
    """Pair and train for a step, with HKT and one method of each kind; if not
    with all at once, with each alone."""
    found: dict = {}
    try:
        if isinstance(child, Config):
            child = build_network(child)
        parent = Parent(parent, random_weights=True)
        parent.connect(child, ImageFormat.of(child))
    except Exception as error:
        return dict(refused={'all': one_line(error)})
    images = torch.randn(2, image_channels(child), *size)
    alone = [[name] for name in METHODS]
    for names in ([*METHODS], *alone):
        torch.manual_seed(0)
        try:
            joined = Inheritance(
                child, parent,
                build_methods([dict(type=f'mmhkt.{name}') for name in names]),
                images[:1])
            losses = step(joined, images)
        except Exception as error:
            if len(names) == 1:
                found.setdefault('refused', {})[names[0]] = one_line(error)
                if os.environ.get('MMHKT_SURVEY_TRACE'):
                    traceback.print_exc()
            continue
        found.setdefault('works', []).extend(names)
        if names[0] == 'HKT':
            found.update(
                sites=len(joined.methods[0].sites),
                stages=[
                    None if e.trunk.plain else len(e.trunk.stages)
                    for e in joined.extractions()
                ],
                logits='hkt.logits.loss' in losses)
        if len(names) > 1:
            break
    return dict(found, size=size)


def step(joined: Inheritance, images: torch.Tensor) -> dict:
    """Losses by name; every weight that can learn has a finite gradient."""
    task = joined.task
    joined.train()
    if task.name == 'segmentation':
        labels = torch.randint(2, (len(images), *images.shape[-2:]))
        samples = task.samples(labels)
        for sample, label in zip(samples, labels):
            # What PIDNet's own pipeline adds.
            sample.gt_edge_map = PixelData(data=label[None])
    else:
        labels = torch.randint(2, (len(images), ))
        samples = task.samples(labels)
    with joined.tapped():
        try:
            losses = joined.loss(images, samples)
        except Exception:
            if task.name != 'classification':
                raise
            # Several labels an image, or mixed ones.
            shape = joined.extractions()[0].dissection.shape(
                joined.extractions()[0].logits_site)
            losses = joined.loss(images,
                                 task.samples(torch.eye(shape[1])[labels]))
        total, logged = joined.parse_losses(losses)
        total.backward()
    assert total.isfinite(), f'the loss is {total.item()}'
    found = [p.grad for p in joined.child.parameters() if p.grad is not None]
    assert found, 'no weight of the child has a gradient'
    assert all(g.isfinite().all() for g in found), 'a gradient is not finite'
    return logged


def one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    if isinstance(error, (ValueError, TypeError)) and len(text) < 400:
        return text
    return f'{type(error).__name__}: {text}'[:400]


def in_a_process(zoo: str, configs: list, seconds: int) -> dict:
    """The survey of a family, in a fork of this process."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # of its own time
        try:
            result = survey(zoo, configs)
        except Exception as error:
            result = dict(error=one_line(error))
        with os.fdopen(write, 'w') as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not text:
        why = f'more than {seconds} s' if os.WIFSIGNALED(
            status) and os.WTERMSIG(status) == signal.SIGPROF else (
                f'the process ended with {status}')
        return dict(error=why)
    return json.loads(text)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('file')
    parser.add_argument(
        '--zoo', choices=list(ZOOS), nargs='+', default=list(ZOOS))
    parser.add_argument('--only', help='regular expression of config paths')
    parser.add_argument('--seconds', type=int, default=600)
    parser.add_argument(
        '--again',
        action='store_true',
        help='also try those that are in the file')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    path = Path(args.file)
    table = json.loads(path.read_text()) if path.exists() else {}
    for zoo in args.zoo:
        rows = table.setdefault(zoo, {})
        rows['version'] = version(f'onedl-{ZOOS[zoo]["distribution"]}')
        found = families(zoo)
        rows['families'] = len(found)
        for role in ('child', 'parent'):
            partner(zoo, role)  # before all forks
        for (folder, kind), configs in found.items():
            if args.only and not re.search(args.only, configs[0]):
                continue
            if not args.again and f'{folder}: {kind}' in rows:
                continue
            result = in_a_process(zoo, configs, args.seconds)
            rows[f'{folder}: {kind}'] = {'config': configs[0], **result}
            path.write_text(json.dumps(table, indent=1) + '\n')
            print(
                rows[f'{folder}: {kind}']['config'],
                {
                    role: (of.get('sites'), of.get('works'), of.get('refused'))
                    for role, of in result.items() if isinstance(of, dict)
                } or result,
                flush=True)


if __name__ == '__main__':
    sys.exit(main())
