# Copyright (c) mmhkt authors. All rights reserved.
"""Settings that make the parent cheaper, against the parent as it is."""
import pytest
import torch
from helpers import CONFIGS, digits_config, prepared
from torch import nn

from mmhkt.inheritance.outputs import features
from mmhkt.models import Parent
from mmhkt.runner.preflight import preflight
from mmhkt.utils import private_randomness
from mmhkt.utils.settings import SettingError

PARENT = 'alone/resnet20_digits.py'
METHODS = ['mmhkt.HKT', 'mmhkt.GatedHKT', 'mmhkt.ReviewKD']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A parent whose norms have seen something."""
    torch.manual_seed(0)
    network = Parent(str(CONFIGS / PARENT), random_weights=True).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp('parent') / 'parent.pth'
    torch.save(network.state_dict(), path)
    return dict(config=str(CONFIGS / PARENT), checkpoint=str(path))


def gradients(tmp_path, parent, method, steps=1, **options):
    """Losses of some steps and the child's last gradient."""
    cfg = digits_config(tmp_path, method, parent, **options)
    with private_randomness(0):
        model = prepared(cfg)
        images = torch.rand(16, 3, 8, 8)
        samples = model.task.samples(torch.arange(16) % 10)
        losses = []
        with model.tapped():
            for _ in range(steps):
                model.zero_grad()
                loss, _ = model.parse_losses(model.loss(images, samples))
                loss.backward()
                losses.append(loss.item())
    grads = [p.grad for p in model.child.parameters() if p.grad is not None]
    return model, losses, torch.cat([g.flatten() for g in grads])


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('settings, close', [
    (dict(fold_norms=True), 1e-3),
    (dict(memory_format='channels_last'), 1e-3),
    (dict(dtype='bfloat16'), 0.1),
    (dict(cache_dtype='bfloat16'), 0.05),
    (dict(dtype='bfloat16', memory_format='channels_last',
          fold_norms=True), 0.1),
], ids=str)  # yapf: disable
def test_the_child_learns_the_same(tmp_path, trained, method, settings, close):
    _, losses, gradient = gradients(tmp_path, trained, method)
    model, found, cheap = gradients(tmp_path, {**trained, **settings}, method)
    assert found == pytest.approx(losses, rel=close)
    assert (cheap - gradient).norm() < close * gradient.norm()
    network = model.parent.network
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    if 'dtype' in settings:
        assert {m.weight.dtype for m in convs} == {torch.bfloat16}
    if 'memory_format' in settings:
        assert convs[-1].weight.is_contiguous(
            memory_format=torch.channels_last)
    if 'fold_norms' in settings:
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not norms
    assert {p.dtype for p in model.child.parameters()} == {torch.float32}


def test_rounded_features_are_the_same_from_the_cache(tmp_path, trained):
    settings = dict(cache_dtype='bfloat16', cache=str(tmp_path / 'features'))
    one, first, _ = gradients(tmp_path, {**trained, **settings}, METHODS[0])
    files = list((tmp_path / 'features').rglob('*.pt'))
    assert files
    for file in files:
        for output, _ in torch.load(file, weights_only=True):
            assert {f.dtype for f in features(output)} == {torch.bfloat16}
    _, again, _ = gradients(tmp_path, {**trained, **settings}, METHODS[0])
    assert first == again
    # Others would be kept elsewhere.
    gradients(tmp_path, {**trained, 'cache': settings['cache']}, METHODS[0])
    assert len(list((tmp_path / 'features').rglob('*.pt'))) == 2 * len(files)


@pytest.mark.slow
def test_compiled_it_is_not_compiled_again(tmp_path, trained):
    torch._dynamo.reset()
    counter = torch._dynamo.utils.counters
    counter.clear()
    parent = {**trained, 'compile': dict(backend='eager')}
    model, losses, _ = gradients(tmp_path, parent, METHODS[0], steps=4)
    assert counter['stats']['unique_graphs'] > 0
    assert counter['stats']['unique_graphs'] <= 6
    _, eager, _ = gradients(tmp_path, trained, METHODS[0], steps=4)
    assert losses == pytest.approx(eager, rel=1e-5)


def test_a_child_in_channels_last(tmp_path, trained):
    cfg = dict(memory_format='channels_last')
    _, losses, gradient = gradients(tmp_path, trained, METHODS[0])
    model, found, other = gradients(tmp_path, trained, METHODS[0], **cfg)
    assert found == pytest.approx(losses, rel=1e-4)
    assert (other - gradient).norm() < 1e-3 * gradient.norm()
    weight = model.child.backbone.layer3[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    'parent, top', [(dict(dtype='half'), {}), (dict(memory_format='nhwc'), {}),
                    (dict(fold_norms='yes'), {}),
                    ({}, dict(memory_format='nhwc'))],
    ids=str)
def test_wrong_settings(tmp_path, trained, parent, top):
    cfg = digits_config(tmp_path, parent={**trained, **parent}, **top)
    name, = {**parent, **top}
    with pytest.raises(SettingError, match=name):
        preflight(cfg)
