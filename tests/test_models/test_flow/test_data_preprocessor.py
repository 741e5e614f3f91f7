# Copyright (c) mmhkt authors. All rights reserved.
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms._presets import OpticalFlow

from mmhkt.models.flow import FlowDataPreprocessor
from mmhkt.structures import FlowDataSample


def pair(height, width, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (6, height, width), dtype=torch.uint8, generator=rng)


def test_normalises_as_torchvision_does():
    inputs = pair(16, 24)
    data = FlowDataPreprocessor()(dict(inputs=inputs[None]))
    frames = OpticalFlow()(*inputs.chunk(2))
    assert data['inputs'].shape == (1, 6, 16, 24)
    assert torch.allclose(data['inputs'][0], torch.cat(frames), atol=1e-6)
    assert data['data_samples'][0].padding == (0, 0, 0, 0)


def test_mean_and_std_of_both_frames():
    preprocessor = FlowDataPreprocessor(mean=(1, 2, 3), std=(10, 20, 30))
    inputs = torch.tensor([11, 22, 33, 21, 42, 63.]).view(1, 6, 1, 1)
    data = preprocessor(dict(inputs=inputs.expand(1, 6, 8, 8)))
    assert data['inputs'][0, :, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
    # What a parent's images are brought back by.
    assert preprocessor.mean.flatten().tolist() == [1, 2, 3, 1, 2, 3]
    assert not preprocessor.state_dict()


@pytest.mark.parametrize('pad, padding', [('sintel', (1, 2, 2, 3)),
                                          ('kitti', (1, 2, 0, 5))])
def test_pads_as_raft_does(pad, padding):
    inputs = pair(11, 21)
    sample = FlowDataSample()
    data = FlowDataPreprocessor(pad=pad)(
        dict(inputs=[inputs], data_samples=[sample]))
    assert data['data_samples'][0].padding == padding
    wanted = F.pad(inputs.float(), padding, mode='replicate')
    assert torch.equal(data['inputs'][0], (wanted - 127.5) / 127.5)
    assert data['inputs'].shape[-2:] == (16, 24)


def test_several_sizes():
    sizes = [(16, 24), (11, 30), (9, 17)]
    samples = [FlowDataSample() for _ in sizes]
    data = FlowDataPreprocessor()(
        dict(inputs=[pair(*s) for s in sizes], data_samples=samples))
    assert data['inputs'].shape == (3, 6, 16, 32)
    for inputs, size, sample in zip(data['inputs'], sizes,
                                    data['data_samples']):
        left, right, top, bottom = sample.padding
        cut = inputs[:, top:16 - bottom, left:32 - right]
        assert torch.equal(cut, (pair(*size) - 127.5) / 127.5)


@pytest.mark.parametrize('inputs', [
    torch.zeros(1, 3, 16, 16), [torch.zeros(3, 16, 16)],
    torch.zeros(1, 2, 3, 16, 16)
])
def test_not_a_pair(inputs):
    with pytest.raises(ValueError, match=r'is a tensor \(6, H, W\)'):
        FlowDataPreprocessor()(dict(inputs=inputs))


def test_wrong_settings():
    with pytest.raises(ValueError, match='pad "kiti" is unknown.*kitti'):
        FlowDataPreprocessor(pad='kiti')
    with pytest.raises(ValueError, match='std must have three'):
        FlowDataPreprocessor(std=(1, ))
