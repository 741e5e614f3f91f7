# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch

from mmhkt.structures import FlowDataSample


def test_fields():
    sample = FlowDataSample(metainfo=dict(img_path='a.png'))
    sample.gt_flow = torch.zeros(2, 4, 6)
    sample.valid = torch.ones(4, 6, dtype=torch.bool)
    sample.pred_flow = torch.zeros(2, 4, 6, dtype=torch.bfloat16)
    sample.whatever = 3
    assert set(sample.to_dict()) == {
        'img_path', 'gt_flow', 'valid', 'pred_flow', 'whatever'
    }
    assert sample.to('meta').valid.is_meta


@pytest.mark.parametrize('name, value',
                         [('gt_flow', torch.zeros(4, 6, 2)),
                          ('pred_flow', torch.zeros(1, 2, 4, 6)),
                          ('init_flow', torch.zeros(2, 4, 6).long()),
                          ('valid', torch.ones(1, 4, 6).bool()),
                          ('valid', torch.ones(4, 6))])
def test_wrong_shape(name, value):
    with pytest.raises(ValueError, match=f'{name} must be a tensor'):
        setattr(FlowDataSample(), name, value)
    with pytest.raises(ValueError, match='but got list'):
        setattr(FlowDataSample(), name, value.tolist())
