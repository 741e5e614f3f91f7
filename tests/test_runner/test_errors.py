# Copyright (c) mmhkt authors. All rights reserved.
"""Bad input stops before the first iteration and says what is wrong."""
import re
from functools import partial

import numpy as np
import pytest
import torch
from helpers import CONFIGS, arrays, digits_config, run
from mmengine.config import Config
from mmengine.registry import MODELS

from mmhkt.models import Inheritance
from mmhkt.utils.config import load_config

PARENT = str(CONFIGS / 'alone/resnet20_digits.py')


class Harmful:
    """What needs pickle to be read."""


def weights():
    cfg = load_config(PARENT)
    return MODELS.build(cfg.model).state_dict()


def saved(folder, change):
    path = folder / 'parent.pth'
    checkpoint = change(weights())
    torch.save(checkpoint, path)
    return dict(config=PARENT, checkpoint=str(path))


def missing_key(state_dict):
    state_dict.pop('backbone.conv1.weight')
    return dict(state_dict=state_dict)


def foreign_keys(state_dict):
    return dict(state_dict={f'net.{k}': v for k, v in state_dict.items()})


def truncated(folder):
    parent = saved(folder, lambda s: dict(state_dict=s))
    path = parent['checkpoint']
    content = open(path, 'rb').read()
    open(path, 'wb').write(content[:len(content) // 2])
    return parent


def two_classes(folder):
    cfg = load_config(PARENT)
    cfg.model.head.num_classes = 2
    return dict(config=cfg._cfg_dict.to_dict(), random_weights=True)


def site(child='neck', parent='neck'):
    return dict(type='mmhkt.HKT', sites=[dict(child=child, parent=parent)])


HKT = dict(type='mmhkt.HKT')
CASES = {
    'no such child site':
    (site(child='backbone.layr3'), None,
     'The child has no module "backbone.layr3"; nearest: backbone.layer3'),
    'no such parent site': (site(parent='nek'), None,
                            'The parent has no module "nek"; nearest: neck'),
    'a site that does not run': (site(child='data_preprocessor'), None,
                                 '"data_preprocessor" does not run'),
    'no such index': (site(child='backbone.layer3.-7'), None,
                      'no module "backbone.layer3.-7"'),
    'no such output': (site(child='neck[3]'), None, 'returns 1 feature(s)'),
    'vector into map':
    (site(child='backbone.layer3'), None,
     '"backbone.layer3" and the parent\'s "neck" cannot be aligned'),
    'site of another form': (dict(type='mmhkt.HKT',
                                  sites=[dict(chid='neck')]), None,
                             'a site has no setting "chid"; nearest: child'),
    'unknown preset': (dict(type='mmhkt.HKT',
                            sites='stagse'), None, 'nearest: stages'),
    'missing keys':
    (HKT, partial(saved, change=missing_key),
     'does not fit the network. Weights 1 missing: backbone.conv1.weight'),
    'foreign keys': (HKT, partial(saved, change=foreign_keys),
                     '"net.backbone.conv1.weight" is foreign; nearest: '
                     'backbone.conv1.weight; see revise_keys'),
    'needs pickle':
    (HKT, partial(saved, change=lambda s: dict(state_dict=s, more=Harmful())),
     'could only be read by pickle'),
    'truncated': (HKT, truncated, 'is truncated, damaged or no PyTorch'),
    'no such file':
    (HKT, lambda folder: dict(config=PARENT, checkpoint='nowhere/p.pth'),
     'There is no checkpoint "nowhere/p.pth"'),
    'another class count': (dict(type='mmhkt.GatedHKT'), two_classes,
                            'The parent has 2 classes, the child 10'),
    'unknown method': (dict(type='mmhkt.HTK'), None,
                       'There is no method "mmhkt.HTK"; nearest: '
                       'mmhkt.HKT'),
    'unknown setting of a method':
    (dict(type='mmhkt.HKT', weight=dict()), None,
     'mmhkt.HKT has no setting "weight"; nearest: weights'),
    'unknown mode':
    (dict(type='mmhkt.HKT', attention=dict(mode='gates')), None,
     'GeneticAttention: mode "gates" is unknown; nearest: gate'),
    'unknown loss term':
    (dict(type='mmhkt.HKT', weights=dict(inherit=1)), None,
     'HKT has no loss term "inherit"; nearest: inherited'),
    'nothing inherited':
    (dict(type='mmhkt.HKT', weights=dict(inherited=0, hint=0,
                                         logits=0)), None, 'inherits nothing'),
    'unknown knob': (dict(type='mmhkt.HKT', schedule=[dict(knob='intensty')]),
                     None, '"intensty" is unknown; nearest: intensity'),
    'no parent': (HKT, lambda folder: {}, 'No parent is given'),
    'no checkpoint': (HKT, lambda folder: dict(config=PARENT),
                      'The parent has no checkpoint'),
    'unknown setting of the parent':
    (HKT, lambda folder: dict(config=PARENT, chekpoint='a.pth'),
     'parent has no setting "chekpoint"; nearest: checkpoint'),
    'no method': ({}, None, 'No method is given'),
}


@pytest.mark.parametrize('case', CASES)
def test_stops_before_the_first_iteration(case, tmp_path, monkeypatch):
    method, parent, message = CASES[case]
    cfg = digits_config(tmp_path / 'run', method)
    if parent is not None:
        cfg.parent = Config(dict(parent=parent(tmp_path))).parent
    monkeypatch.setattr(Inheritance, 'train_step',
                        lambda *_: pytest.fail('an iteration was run'))
    with pytest.raises((ValueError, TypeError, FileNotFoundError),
                       match=re.escape(message)):
        run(cfg)


def test_pickle_can_be_allowed(tmp_path):
    parent = saved(tmp_path, lambda s: dict(state_dict=s, more=Harmful()))
    run(digits_config(tmp_path / 'run', parent=dict(trusted=True, **parent)))


def test_class_counts_may_differ_without_the_parents_head(tmp_path):
    run(
        digits_config(
            tmp_path,
            dict(type='mmhkt.GatedHKT', weights=dict(parent_head=0)),
            parent=two_classes(tmp_path)))


def test_npz_with_wrong_keys(tmp_path):
    arrays(tmp_path / 'good.npz', size=8)
    content = dict(np.load(tmp_path / 'good.npz'))
    content['train_image'] = content.pop('train_images')
    np.savez(tmp_path / 'bad.npz', **content)
    cfg = digits_config(tmp_path / 'run')
    cfg.train_dataloader.dataset.update(
        type='mmhkt.ArrayDataset', data_file=str(tmp_path / 'bad.npz'))
    with pytest.raises(KeyError, match='train_images.*train_image'):
        run(cfg)


def test_testing_with_a_checkpoint_that_does_not_fit(tmp_path):
    from mmhkt.registry import RUNNERS
    parent = saved(tmp_path, lambda s: dict(state_dict=s))
    cfg = digits_config(tmp_path / 'run', load_from=parent['checkpoint'])
    with pytest.raises(ValueError, match='does not fit the network'):
        RUNNERS.build(cfg).test()
