# Copyright (c) mmhkt authors. All rights reserved.
import pytest
from helpers import CONFIGS

from mmhkt.models.export import plain_config
from mmhkt.utils.config import load_config
from mmhkt.utils.registered import check_registered


@pytest.mark.parametrize(
    'cfg, named',
    [
        (dict(type='subprocess.check_output',
              args=['true']), 'subprocess.check_output'),
        (dict(model=dict(type='ImageClassifier', head=dict(type='os.system'))),
         'os.system'),
        (dict(a=[dict(b=(dict(type='builtins.exec'), ))]), 'builtins.exec'),
        # Modules that are imported run code, and functions of mmengine read
        # pickles.
        (dict(type='antigravity'), 'antigravity'),
        (dict(type='mmengine.load'), 'mmengine.load'),
        (dict(type=3), '3'),
    ])
def test_what_is_not_registered_is_refused(cfg, named):
    with pytest.raises(ValueError, match='registered nowhere') as error:
        check_registered(cfg, 'The config')
    assert named in str(error.value) and 'type' in str(error.value)


@pytest.mark.parametrize('name', [
    'alone/resnet20_digits', 'alone/resnet20_200e_cifar10',
    'alone/raft-reduced-small_synthetic', 'alone/unet-s3-w4_mni152'
])
def test_what_is_exported_is_registered(name):
    cfg = plain_config(load_config(CONFIGS / f'{name}.py'))
    check_registered(cfg.to_dict(), 'The config')


@pytest.mark.parametrize('name', [
    'mmpretrain::resnet/resnet18_8xb32_in1k.py',
    'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
])
def test_the_zoos_configs_are_registered(name):
    cfg = plain_config(load_config(name))
    check_registered(cfg.to_dict(), 'The config')
