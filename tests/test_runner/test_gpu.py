# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
from helpers import digits_config, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason='needs a CUDA device')
]


@pytest.mark.parametrize('wrapper', [
    dict(),
    dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
    dict(type='AmpOptimWrapper', dtype='bfloat16'),
    dict(type='mmhkt.AutocastOptimWrapper'),
])
@pytest.mark.parametrize('method', [
    'mmhkt.HKT', 'mmhkt.GatedHKT', 'mmhkt.LePoKet',
    dict(type='mmhkt.GatedHKT', sites='all', weights=dict(parent_head=0.5))
])
def test_precisions(tmp_path, method, wrapper):
    cfg = digits_config(tmp_path, method)
    cfg.optim_wrapper.update(wrapper)
    runner = run(cfg)
    assert next(runner.model.parameters()).is_cuda
    assert runner.inheritance.parent.network.head.fc.weight.is_cuda
    assert all(
        torch.isfinite(v).all() for v in runner.model.state_dict().values())
