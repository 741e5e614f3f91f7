# Copyright (c) mmhkt authors. All rights reserved.
"""Training on images that are kept on the device."""
import json

import pytest
from helpers import cut_off, digits_config, read, run, same

from mmhkt.datasets import BatchedLoader
from mmhkt.runner.preflight import preflight
from mmhkt.utils.settings import SettingError

ON_DEVICE = {
    'train_dataloader.on_device': True,
    'val_dataloader.on_device': True,
    # of no use there
    'train_dataloader.num_workers': 2,
    'custom_hooks': [dict(type='mmhkt.RecordHook')]
}


def record(folder):
    return json.loads((folder / 'record.json').read_text())


def test_methods_see_the_same_batches_also_when_resumed(tmp_path):
    for method in ('mmhkt.Alone', 'mmhkt.HKT'):
        runner = run(digits_config(tmp_path / method, method, **ON_DEVICE))
        assert type(runner.train_dataloader) is BatchedLoader
        assert type(runner.val_dataloader) is BatchedLoader
    alone, hkt = (record(tmp_path / m) for m in ('mmhkt.Alone', 'mmhkt.HKT'))
    assert len(set(alone['batches'].values())) == 2
    assert alone['batches'] == hkt['batches']
    assert alone['initial_weights'] == hkt['initial_weights']

    cut = tmp_path / 'cut'
    cut_off(tmp_path / 'mmhkt.HKT', cut, 'epoch_2.pth')
    run(digits_config(cut, 'mmhkt.HKT', resume=True, **ON_DEVICE))
    one, other = (
        read(folder / 'epoch_2.pth')
        for folder in (tmp_path / 'mmhkt.HKT', cut))
    assert same(one['state_dict'], other['state_dict'])
    assert record(cut)['batches'] == hkt['batches']
    assert record(cut)['validations'] == hkt['validations']


def test_validation_is_as_image_by_image(tmp_path):
    plain, kept = (
        run(
            digits_config(
                tmp_path / str(on), 'mmhkt.Alone', **{
                    'val_dataloader.on_device': on,
                    'train_cfg.max_epochs': 1,
                    'custom_hooks': [dict(type='mmhkt.RecordHook')]
                })).work_dir for on in (False, True))
    assert (json.loads(
        open(f'{plain}/record.json').read())['validations'] == json.loads(
            open(f'{kept}/record.json').read())['validations'])


def test_it_is_yes_or_no(tmp_path):
    cfg = digits_config(tmp_path, **{'train_dataloader.on_device': 'yes'})
    with pytest.raises(SettingError, match='train_dataloader.*on_device'):
        preflight(cfg)
