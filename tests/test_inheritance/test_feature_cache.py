# Copyright (c) mmhkt authors. All rights reserved.
import json
import shutil

import pytest
import torch
from helpers import CONFIGS, digits_config, run
from torch import nn

from mmhkt.inheritance import FeatureCache
from mmhkt.inheritance.feature_cache import _sums
from mmhkt.inheritance.feature_rows import FeatureRows
from mmhkt.methods import FlowImitation
from mmhkt.models import ImageFormat, Inheritance, Parent, build_network
from mmhkt.registry import RUNNERS
from mmhkt.utils.config import load_config

METHODS = ('KD', 'FitNet', 'HKT', 'LePoKet', 'ReviewKD')
BATCH = torch.rand(4, 3, 8, 8)


def cache(folder, network='one'):
    return FeatureCache(folder, network)


class Counted:
    """What computes features; counts the images that it was given."""

    def __init__(self, **modules):
        self.modules = modules or dict(stage=lambda x: x * 2)
        self.given = []

    def __call__(self, images):
        self.given.append(len(images))
        return {
            name: [(module(images), True)]
            for name, module in self.modules.items()
        }


def features(folder, compute, images=BATCH, names=('stage', )):
    return cache(folder).features(images, names, compute)


def test_gives_back_what_it_was_given(tmp_path):
    maps = torch.randn(4, 3), torch.randn(4, 2, 5, 5).bfloat16()

    def compute(images):
        some = [m[:len(images)] for m in maps]
        last = some[1].contiguous(memory_format=torch.channels_last)
        return {
            'stage': [(some[0], True),
                      ((some[0], None, [last], {
                          'of': some[1],
                          'size': 5
                      }), False)]
        }

    features(tmp_path, compute)
    (first, unchanged), (second, changed) = features(tmp_path,
                                                     Counted())['stage']
    assert torch.equal(first, maps[0]) and unchanged and not changed
    assert torch.equal(second[0], maps[0]) and second[1] is None
    assert torch.equal(second[2][0], maps[1])
    assert second[2][0].dtype == torch.bfloat16
    assert second[2][0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(second[3]['of'], maps[1]) and second[3]['size'] == 5


def test_only_images_that_were_not_seen_are_computed(tmp_path):
    compute = Counted()
    one = cache(tmp_path)
    one.features(BATCH[:2], ['stage'], compute)
    assert compute.given == [1, 2]  # the first is a look at one alone
    (output, _), = one.features(BATCH.flip(0), ['stage'], compute)['stage']
    assert compute.given == [1, 2, 2]
    assert torch.equal(output, BATCH.flip(0) * 2)
    assert (one.asked, one.found) == (6, 2)


def test_an_image_twice_in_a_batch_is_kept_once(tmp_path):
    images = BATCH[[0, 1, 0]]
    features(tmp_path, Counted(), images)
    rows, = tmp_path.rglob('*.rows')
    assert rows.stat().st_size == 2 * BATCH[0].numel() * 4
    (output, _), = features(tmp_path, Counted(), images)['stage']
    assert torch.equal(output, images * 2)


def test_two_runs_at_once_read_each_others(tmp_path):
    one, other = cache(tmp_path), cache(tmp_path)
    compute = Counted()
    other.features(BATCH, ['stage'], compute)
    one.features(BATCH, ['stage'], compute)
    assert compute.given == [1, 4]


def test_two_runs_that_begin_at_once_lay_rows_out_alike(tmp_path):
    """Whoever is first says how: one has its features channels last."""

    def last(images):
        return (images * 2).contiguous(memory_format=torch.channels_last)

    def plain(images):
        return images * 2

    one, other = cache(tmp_path), cache(tmp_path)

    class Meanwhile(Counted):

        def __call__(self, images):
            if len(images) > 1:  # after the other has looked for an example
                one.features(BATCH[:2], ['stage'], Counted(stage=last))
            return super().__call__(images)

    other.features(BATCH, ['stage'], Meanwhile(stage=plain))
    for images in (BATCH, BATCH.flip(0)):
        found = features(tmp_path, Counted(), images)['stage'][0][0]
        torch.testing.assert_close(found, images * 2, rtol=0, atol=0)
    assert not list(tmp_path.rglob('*.example'))


def test_modules_of_equal_weights_are_other_networks(tmp_path):
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def folder(activation):
        module = nn.Sequential(first, activation, nn.AdaptiveAvgPool2d(1),
                               nn.Flatten(), last)
        parent = Parent(module=module, cache=str(tmp_path))
        return parent.feature_cache().folder

    assert folder(nn.ReLU()) == folder(nn.ReLU()) != folder(nn.GELU())


def test_windows_of_an_image_are_kept_together(tmp_path):

    def windows(images):  # as Swin's, (images x windows, ...)
        return images.unflatten(3, (2, 4)).movedim(3, 1).flatten(0, 1)

    features(tmp_path, Counted(stage=windows))
    (output, _), = features(tmp_path, Counted(), BATCH.flip(0))['stage']
    assert torch.equal(output, windows(BATCH.flip(0)))


@pytest.mark.parametrize('module, why', [
    (lambda x: {x[0, 0, 0, 0]}, 'is a set'),
    (lambda x: x.sum(), 'is not made image by image'),
    (lambda x: x.sum((0, 2, 3)), 'is not made image by image'),
    (lambda x: x.movedim(0, 1), 'is not made image by image'),
    (lambda x: x.flip(0), 'is not made image by image'),
    (lambda x: x.unflatten(3, (2, 4)).movedim(3, 0).flatten(0, 1),
     'is not made image by image'),
])
def test_refuses_what_cannot_be_kept(module, why, tmp_path):
    with pytest.raises(ValueError, match=f'"stage" returns {why}.*leave'):
        features(tmp_path, Counted(stage=module))


def test_only_what_is_there_whole_is_known(tmp_path):
    features(tmp_path, Counted(a=torch.sin), names='a')
    compute = Counted(a=torch.sin, b=torch.cos)
    features(tmp_path, compute, names='ab')
    assert compute.given == [1, 4]
    compute = Counted(a=torch.sin)
    cache(tmp_path, 'other').features(BATCH, 'a', compute)
    assert compute.given == [1, 4]
    assert not list(tmp_path.rglob('*.partial'))


@pytest.mark.parametrize('change', [
    lambda x: x + 1e-6,
    lambda x: x.double(),
    lambda x: x.reshape(4, 3, 4, 16),
    lambda x: x.flip(3),
])
def test_other_images_other_features(change, tmp_path):
    features(tmp_path, Counted())
    compute = Counted()
    features(tmp_path, compute, change(BATCH))
    assert compute.given == [1, 4]


def test_precision_belongs_to_the_image(tmp_path):
    features(tmp_path, Counted())
    compute = Counted()
    with torch.autocast('cpu', torch.bfloat16):
        features(tmp_path, compute)
    assert compute.given == [1, 4]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_hash_of_a_device_tells_images_apart(dtype, monkeypatch):
    """What a GPU computes, computed here: no two of 2,000 images that differ
    in one pixel, or in its last bit, have one hash."""
    images = torch.zeros(2000, 3, 8, 8)
    pixels = images.view(2000, -1)
    pixels[range(192), range(192)] = 1.
    pixels[range(192, 384), range(192)] = 1. + 2**-7
    pixels[384:] = torch.randint(0, 2, pixels[384:].shape)
    images = images.to(dtype)
    monkeypatch.setattr('mmhkt.inheritance.feature_cache.CHUNK', 10**5)
    sums = _sums(images.flatten(1))
    assert len(set(sums)) == 2000 and {len(s) for s in sums} == {16}
    assert _sums(images.flip(0).flatten(1)) == sums[::-1]


def counted(model):
    """Counts what the parent computes: runs of its first convolution."""
    calls = []
    conv = next(m for m in model.parent.network.modules()
                if isinstance(m, nn.Conv2d))
    conv.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('amp', [False, True])
def test_losses_are_bit_equal_without_the_parents_forward(
        method, amp, tmp_path):

    def losses(**settings):
        cfg = digits_config(tmp_path, f'mmhkt.{method}')
        cfg.parent.update(settings)
        runner = RUNNERS.build(cfg)
        runner.connect()
        model = runner.inheritance.train()
        calls = counted(model)
        batch = next(iter(runner.train_dataloader))
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            data = model.data_preprocessor(batch, training=True)
            with model.tapped():
                return model(**data, mode='loss'), len(calls)

    plain, plain_calls = losses()
    first, first_calls = losses(cache=str(tmp_path / 'cache'))
    again, again_calls = losses(cache=str(tmp_path / 'cache'))
    # A first look is at one image alone.
    assert (plain_calls, first_calls, again_calls) == (1, 2, 0)
    assert list(plain) == list(first) == list(again)
    for name, value in plain.items():
        assert torch.equal(value, first[name]), name
        assert torch.equal(value, again[name]), name


def test_runs_that_share_features_end_with_the_same_weights(tmp_path):

    def trained(name, **settings):
        cfg = digits_config(tmp_path / name, 'mmhkt.HKT')
        cfg.parent.update(settings)
        cfg.custom_hooks = [dict(type='mmhkt.RecordHook')]
        run(cfg)
        weights = torch.load(
            tmp_path / name / 'child.pth', weights_only=True)['state_dict']
        return weights, json.loads(
            (tmp_path / name / 'record.json').read_text())['validations']

    runs = [
        trained('plain'),
        trained('first', cache=str(tmp_path / 'cache')),
        trained('second', cache=str(tmp_path / 'cache')),
    ]
    assert len(list((tmp_path / 'cache').rglob('*.rows'))) >= 3
    for weights, scores in runs[1:]:
        assert scores == runs[0][1]
        assert all(torch.equal(weights[k], v) for k, v in runs[0][0].items())


def test_another_parent_is_another_network(tmp_path):
    cfg = digits_config(tmp_path)
    parents = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        parent = Parent.from_cfg({**cfg.parent, 'cache': str(tmp_path)})
        parent.network.init_weights()
        parents.append(parent.feature_cache().folder)
    assert parents[0] == parents[1] != parents[2]


# ----------------------------------------------------------------- faults


@pytest.mark.parametrize('ending', ['rows', 'notes', 'pt'])
@pytest.mark.parametrize('damage', [
    lambda content: content[:len(content) // 2],
    lambda content: b'',
    lambda content: content[:-9] + bytes(c ^ 1 for c in content[-9:]),
])
def test_what_is_damaged_is_computed_anew(tmp_path, ending, damage):
    features(tmp_path, Counted())
    file, = tmp_path.rglob(f'*.{ending}')
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        (output, _), = features(tmp_path, Counted())['stage']
        assert torch.equal(output, BATCH * 2)
    compute = Counted()
    features(tmp_path, compute)
    assert not compute.given  # it is whole again


def test_rows_that_are_gone_are_computed_anew(tmp_path):
    one = cache(tmp_path)
    one.features(BATCH, ['stage'], Counted())
    shutil.rmtree(one.folder)
    compute = Counted()
    features(tmp_path, compute)
    assert compute.given == [1, 4]


def test_a_full_disk_does_not_end_a_training(tmp_path, monkeypatch):
    one, calls = cache(tmp_path), []

    def full(*_):
        calls.append(1)
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(FeatureRows, 'write', full)
    for _ in range(3):
        (output, _), = one.features(BATCH, ['stage'], Counted())['stage']
        assert torch.equal(output, BATCH * 2)
    assert len(calls) == 1  # and is not tried again


def test_a_disk_that_was_full_for_a_moment_leaves_no_half_row(tmp_path):
    one = cache(tmp_path)
    one.features(BATCH[:2], ['stage'], Counted())
    rows, = tmp_path.rglob('*.rows')
    with rows.open('ab') as file:
        file.write(b'half a row')
    one.features(BATCH[2:], ['stage'], Counted())
    compute = Counted()
    (output, _), = features(tmp_path, compute)['stage']
    assert not compute.given and torch.equal(output, BATCH * 2)


def test_what_cannot_be_written_is_read_only(tmp_path, monkeypatch):
    features(tmp_path, Counted(), BATCH[:2])

    def refused(*_, **__):
        raise PermissionError(13, 'Read-only file system')

    monkeypatch.setattr('mmhkt.inheritance.feature_cache.TemporaryFile',
                        refused)
    compute = Counted()
    (output, _), = features(tmp_path, compute)['stage']
    assert torch.equal(output, BATCH * 2) and compute.given == [1, 2]
    rows, = tmp_path.rglob('*.rows')
    assert rows.stat().st_size == 2 * BATCH[0].numel() * 4


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='must be a folder'):
        cache(tmp_path / 'file')


def test_features_of_another_number_of_updates_are_others(tmp_path):
    parent = Parent(
        str(CONFIGS / 'alone/raft-reduced-large_synthetic.py'),
        random_weights=True,
        cache=str(tmp_path))
    folders = []
    for updates in (2, 3):
        cfg = load_config(CONFIGS / 'alone/raft-reduced-small_synthetic.py')
        cfg.model.iters_train = updates
        child = build_network(cfg)
        parent.connect(child, ImageFormat.of(child, cfg))
        Inheritance(child, parent, [FlowImitation()], torch.rand(1, 6, 64, 64))
        assert parent.network.iters_train == updates
        folders.append(parent.feature_cache().folder)
    assert folders[0] != folders[1]


def test_one_image_shows_as_well_what_is_not_made_image_by_image(tmp_path):
    """Both frames of all pairs one after another, as RAFT's encoder makes
    them: of one pair alone they lie as if they were rows of it."""
    siamese = Counted(stage=lambda x: torch.cat([x, 2 * x]).mean((2, 3)))
    with pytest.raises(ValueError, match='not made image by image'):
        features(tmp_path, siamese, BATCH[:1])
    plain = Counted()
    found = features(tmp_path / 'plain', plain, BATCH[:1])
    assert torch.equal(found['stage'][0][0], BATCH[:1] * 2)


class Scaled(nn.Module):

    def __init__(self, factor, shift):
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 1)
        self.factor = factor
        self.register_buffer('shift', torch.tensor(shift), persistent=False)

    def forward(self, x):
        return self.stage(x * self.factor + self.shift)


def test_settings_of_a_module_make_it_another_network(tmp_path):
    torch.manual_seed(0)
    first = Scaled(1., 0.)
    names = set()
    for factor, shift in ((1., 0.), (2., 0.), (1., 1.), (1., 0.)):
        network = Scaled(factor, shift)
        network.load_state_dict(first.state_dict())
        parent = Parent(network, cache=str(tmp_path))
        names.add(parent.feature_cache().folder)
    assert len(names) == 3
