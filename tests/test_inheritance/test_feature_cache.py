# Copyright (c) mmhkt authors. All rights reserved.
import json

import pytest
import torch
from helpers import digits_config, run
from torch import nn

from mmhkt.inheritance import FeatureCache
from mmhkt.models import Parent
from mmhkt.registry import RUNNERS

METHODS = ('KD', 'FitNet', 'HKT', 'LePoKet', 'ReviewKD')
BATCH = torch.rand(4, 3, 8, 8)


def cache(folder, network='one'):
    return FeatureCache(folder, network)


def kept(outputs, folder, device=torch.device('cpu')):
    """What comes back of the outputs of one module."""
    key = cache(folder).key(BATCH)
    cache(folder).save(key, {'stage': outputs})
    return cache(folder).load(key, ['stage'], device)['stage']


def test_gives_back_what_it_was_given(tmp_path):
    maps = [torch.randn(2, 3), torch.randn(2, 3).bfloat16()]
    outputs = kept([(maps[0], True), ((maps[0], None, maps[1]), False)],
                   tmp_path)
    (first, unchanged), (second, changed) = outputs
    assert torch.equal(first, maps[0]) and unchanged and not changed
    assert torch.equal(second[0], maps[0]) and second[1] is None
    assert torch.equal(second[2], maps[1]) and second[2].dtype == maps[1].dtype


def test_a_part_of_a_large_tensor_takes_the_room_of_the_part(tmp_path):
    kept([(torch.zeros(10**6)[:4], True)], tmp_path)
    assert sum(f.stat().st_size for f in tmp_path.rglob('*.pt')) < 10**4


def test_refuses_what_is_no_feature(tmp_path):
    with pytest.raises(ValueError, match='"stage" returns a set.*leave'):
        kept([({torch.zeros(1)}, True)], tmp_path)


def test_only_what_is_there_whole_is_known(tmp_path):
    one = cache(tmp_path)
    key = one.key(BATCH)
    one.save(key, {'a': [(BATCH, True)]})
    assert one.load(key, ['a', 'b'], BATCH.device) is None
    assert cache(tmp_path, 'other').load(key, ['a'], BATCH.device) is None
    assert not list(tmp_path.rglob('*.partial'))


@pytest.mark.parametrize('change', [
    lambda x: x + 1e-6,
    lambda x: x.double(),
    lambda x: x.reshape(4, 3, 4, 16),
    lambda x: x.flip(0),
])
def test_other_images_other_key(change, tmp_path):
    one = cache(tmp_path)
    assert one.key(BATCH) == one.key(BATCH.clone())
    assert one.key(BATCH) != one.key(change(BATCH))


def test_precision_belongs_to_the_key(tmp_path):
    one = cache(tmp_path)
    with torch.autocast('cpu', torch.bfloat16):
        half = one.key(BATCH)
    assert half != one.key(BATCH)


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
    assert (plain_calls, first_calls, again_calls) == (1, 1, 0)
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
    assert len(list((tmp_path / 'cache').rglob('*.pt'))) >= 8
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


@pytest.mark.parametrize('damage', [
    lambda content: content[:len(content) // 2],
    lambda content: b'',
    lambda content: content.replace(bytes(BATCH.numpy())[:8], b'\0' * 8),
])
def test_what_is_damaged_is_computed_anew(tmp_path, damage):
    one = cache(tmp_path)
    key = one.key(BATCH)
    one.save(key, {'a': [(BATCH, True)]})
    file, = tmp_path.rglob('*.pt')
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert file.read_bytes() != content
    assert one.load(key, ['a'], BATCH.device) is None
    one.save(key, {'a': [(BATCH, True)]})
    (output, _), = one.load(key, ['a'], BATCH.device)['a']
    assert torch.equal(output, BATCH)


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'),
    RuntimeError('PytorchStreamWriter failed writing file data/0'),
])
def test_a_full_disk_does_not_end_a_training(tmp_path, monkeypatch, error):
    one, calls = cache(tmp_path), []

    def full(*_):
        calls.append(1)
        raise error

    monkeypatch.setattr(torch, 'save', full)
    for _ in range(3):
        one.save(one.key(BATCH), {'a': [(BATCH, True)]})
    assert len(calls) == 1  # and is not tried again
    assert not list(tmp_path.rglob('*.p*t*'))


def test_what_cannot_be_written_is_read_only(tmp_path, monkeypatch):
    whole = cache(tmp_path)
    key = whole.key(BATCH)
    whole.save(key, {'a': [(BATCH, True)]})

    def refused(*_, **__):
        raise PermissionError(13, 'Read-only file system')

    monkeypatch.setattr('mmhkt.inheritance.feature_cache.TemporaryFile',
                        refused)
    one = cache(tmp_path)
    one.save(key, {'b': [(BATCH, True)]})
    assert one.load(key, ['a'], BATCH.device) is not None
    assert len(list(tmp_path.rglob('*.pt'))) == 1


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='must be a folder'):
        cache(tmp_path / 'file')
