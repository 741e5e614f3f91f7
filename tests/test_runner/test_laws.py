# Copyright (c) mmhkt authors. All rights reserved.
"""The seven laws of the design, on whole small runs."""
import copy
import hashlib

import pytest
import torch
from helpers import digits_config, prepared, read, run, same
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmhkt.models import Inheritance, Parent
from mmhkt.registry import RUNNERS

METHODS = ('mmhkt.Alone', 'mmhkt.HKT', 'mmhkt.GatedHKT', 'mmhkt.LePoKet')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One finished run of each method from the same seed."""
    folder = tmp_path_factory.mktemp('runs')
    return {
        method: (folder / method, run(digits_config(folder / method, method)))
        for method in METHODS
    }


def test_checkpoint_is_the_plain_child(runs):
    files = {
        m: read(folder / 'epoch_2.pth')
        for m, (folder, _) in runs.items()
    }
    alone = files['mmhkt.Alone']
    for method, file in files.items():
        assert list(file['state_dict']) == list(alone['state_dict'])
        assert set(file) == set(alone)
        plain = MODELS.build(runs[method][1].cfg.model)
        plain.load_state_dict(file['state_dict'], strict=True)
        # The optimiser's part is the child's too, by number and content.
        assert [g['params'] for g in file['optimizer']['param_groups']
                ] == [g['params'] for g in alone['optimizer']['param_groups']]
        assert set(file['optimizer']['state']) == set(
            alone['optimizer']['state'])
        # HKT computes no native loss that it could log.
        missing = {'train/native.loss', 'train/native.accuracy'
                   } if method == 'mmhkt.HKT' else set()
        assert set(file['message_hub']['log_scalars']) | missing == set(
            alone['message_hub']['log_scalars'])
    assert set(files['mmhkt.HKT']['transfer']['state_dict']) == {
        f'0.mixtures.{i}.regression.{name}'
        for i in range(3)
        for name in ('square', 'cross', 'power', 'rows')
    }
    hkt = files['mmhkt.GatedHKT']['transfer']
    assert set(hkt['state_dict']) == {
        '0.mixtures.0.transfer.project.weight',
        '0.mixtures.0.back.project.weight'
    }
    assert len(hkt['optimizer']['state']) == 2
    assert 'train/gatedhkt.inherited.loss' in hkt['message_hub']['log_scalars']


def test_parent_is_nowhere_in_the_file(runs):
    folder, runner = runs['mmhkt.HKT']
    parent = {
        p.shape
        for p in
        runner.inheritance.parent.network.backbone.layer3.parameters()
        if p.dim() == 4
    }

    def tensors(node):
        if torch.is_tensor(node):
            yield node
        elif isinstance(node, dict):
            for value in node.values():
                yield from tensors(value)

    assert not parent & {
        t.shape
        for t in tensors(read(folder / 'epoch_2.pth'))
    }


def test_evaluation_is_bit_equal_to_the_plain_child(runs):
    for _, runner in runs.values():
        plain = MODELS.build(
            dict(
                data_preprocessor=runner.cfg.data_preprocessor,
                **runner.cfg.model)).eval()
        plain.load_state_dict(runner.model.state_dict(), strict=True)
        runner.model.eval()
        for batch in runner.val_dataloader:
            ours = runner.model.val_step(copy.deepcopy(batch))
            theirs = plain.val_step(copy.deepcopy(batch))
            for a, b in zip(ours, theirs):
                assert torch.equal(a.pred_score, b.pred_score)
        assert not any('forward' in m.__dict__ for m in runner.model.modules())
        assert not any(m._forward_hooks for m in runner.model.modules())


@pytest.mark.parametrize(
    'method, children, parents',
    [
        ('mmhkt.Alone', 8, 0),
        ('mmhkt.HKT', 8, 8),
        ('mmhkt.GatedHKT', 8, 8),
        # Weaned after 70 %, and without hints, it needs no parent.
        ('mmhkt.LePoKet', 8, 6),
        (dict(type='mmhkt.GatedHKT', weights=dict(native=0)), 8, 8),
        (dict(
            type='mmhkt.LePoKet',
            weights=dict(native=0),
            attention=dict(gate_gradient=True)), 8, 6),
        ([dict(type='mmhkt.GatedHKT'),
          dict(type='mmhkt.LePoKet')], 8, 8),
    ])
def test_forwards_and_backwards_are_counted(tmp_path, monkeypatch, method,
                                            children, parents):
    cfg = digits_config(tmp_path, method)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = RUNNERS.build(cfg)
    runner.connect()
    counts = dict(child=0, parent=0, backward=0)

    def count(name):

        def hook(*_):
            counts[name] += 1

        return hook

    child = runner.model
    child.backbone.conv1.register_forward_hook(count('child'))
    if parents:
        parent = runner.inheritance.parent.network
        parent.backbone.conv1.register_forward_hook(count('parent'))
    backward = torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor, 'backward', lambda *a, **k: (count('backward')
                                                   (), backward(*a, **k)))
    runner.train()
    assert runner.iter == 8
    assert counts == dict(child=children, parent=parents, backward=8)


def test_parent_never_changes(tmp_path):
    runner = RUNNERS.build(digits_config(tmp_path))
    runner.connect()
    parent: Parent = runner.inheritance.parent
    before = copy.deepcopy(parent.state_dict())
    runner.train()
    assert same(before, parent.state_dict())
    assert not parent.training and not parent.network.backbone.bn1.training
    assert not any(p.requires_grad for p in parent.parameters())
    names = {id(p) for p in runner.model.parameters()}
    assert not names & {id(p) for p in parent.parameters()}


def test_same_start_and_same_batches_whatever_the_method(
        tmp_path, monkeypatch):
    seen = {}

    def record(name):
        train_step = BaseModel.train_step

        def step(self, data, optim_wrapper):
            runs = seen.setdefault(name, [])
            if not runs:
                runs.append(copy.deepcopy(self.child.state_dict()))
            digest = hashlib.sha256()
            for image in data['inputs']:
                digest.update(image.numpy().tobytes())
            runs.append(digest.hexdigest())
            # What a method may draw must not reach anything else.
            torch.rand(len(name))
            return train_step(self, data, optim_wrapper)

        monkeypatch.setattr(Inheritance, 'train_step', step)

    for i, (method, workers) in enumerate([('mmhkt.Alone', 0),
                                           ('mmhkt.LePoKet', 0),
                                           ('mmhkt.HKT', 2)]):
        record(method)
        run(
            digits_config(tmp_path / str(i), method,
                          **{'train_dataloader.num_workers': workers}))
    first, *rest = seen.values()
    assert len(set(first[1:])) == 8  # augmented anew in every epoch
    for other in rest:
        assert same(first[0], other[0])
        assert first[1:] == other[1:]


def test_another_seed_is_another_start(tmp_path):
    weights = []
    for seed in (0, 1):
        runner = RUNNERS.build(
            digits_config(tmp_path, **{'randomness.seed': seed}))
        runner.connect()
        runner._init_model_weights()
        weights.append(copy.deepcopy(runner.model.state_dict()))
    assert not same(*weights)


def test_a_weight_of_zero_costs_nothing(tmp_path):
    model = prepared(
        digits_config(tmp_path,
                      dict(type='mmhkt.GatedHKT',
                           weights=dict(parent_head=0))))
    names = [name for name, _ in model.methods.named_parameters()]
    assert names == ['0.mixtures.0.transfer.project.weight']
