# Copyright (c) mmhkt authors. All rights reserved.
import copy

import pytest
import torch
import torchvision
from helpers import CONFIGS
from torchvision.models.optical_flow import raft_large, raft_small

from mmhkt.models.flow import RAFT, build_raft, carry_forward
from mmhkt.models.flow.torchvision_raft import SIZES
from mmhkt.registry import MODELS
from mmhkt.structures import FlowDataSample
from mmhkt.utils.config import load_config

REDUCED = load_config(CONFIGS /
                      '_base_/models/raft-reduced-small.py').model['size']


def reduced(**settings):
    torch.manual_seed(0)
    return RAFT(REDUCED, **{**dict(iters_train=2, iters_test=3), **settings})


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 255


def sample(height, width, flow=1.):
    return FlowDataSample(
        gt_flow=torch.full((2, height, width), flow),
        valid=torch.ones(height, width, dtype=torch.bool))


def bare(network):
    """The weights with torchvision's names."""
    return {
        key.removeprefix('raft.'): value
        for key, value in network.state_dict().items()
    }


@pytest.mark.parametrize('size, build, parameters',
                         [('small', raft_small, 990162),
                          ('large', raft_large, 5257536)])
@torch.no_grad()
def test_equal_to_torchvision(size, build, parameters):
    """Bit for bit, in all three ways to run it."""
    torch.manual_seed(0)
    network = RAFT(size, iters_train=2, iters_test=3).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert all(key.startswith('raft.') for key in network.state_dict())
    plain = build().eval()
    plain.load_state_dict(bare(network), strict=True)

    batch = dict(
        inputs=images(2, 6, 131, 140),
        data_samples=[sample(131, 140), sample(131, 140)])
    data = network.data_preprocessor(batch)
    frames = data['inputs'].chunk(2, dim=1)
    flows = network(**data)
    assert torch.equal(flows, torch.stack(plain(*frames, 2)))
    wanted = plain(*frames, 3)[-1][:, :, 2:133, 2:142]
    predicted = network(**data, mode='predict')
    assert torch.equal(torch.stack([s.pred_flow for s in predicted]), wanted)
    loss = network(**data, mode='loss')
    cut = flows[..., 2:133, 2:142]
    per_update = (cut - 1).abs().sum((1, 2, 3, 4)) / (2 * 2 * 136 * 144)
    assert loss['loss'].item() == pytest.approx(
        (0.8 * per_update[0] + per_update[1]).item(), rel=1e-5)
    assert loss['epe'].item() == pytest.approx(
        (cut[-1] - 1).norm(dim=1).mean().item(), rel=1e-5)


def test_random_weights_are_torchvisions():
    torch.manual_seed(3)
    network = RAFT('small')
    network.init_weights()
    torch.manual_seed(3)
    for key, value in raft_small().state_dict().items():
        assert torch.equal(value, network.state_dict()[f'raft.{key}'])


def test_train_step_and_what_it_leaves():
    network = reduced()
    network.train()
    batch = dict(inputs=[images(6, 40, 48)], data_samples=[sample(40, 48)])
    data = network.data_preprocessor(batch, True)
    total, logs = network.parse_losses(network(**data, mode='loss'))
    total.backward()
    assert set(logs) == {'loss', 'epe'} and total.item() == logs['loss']
    assert all(p.grad is not None for p in network.parameters())
    # torchvision's keeps correlations, with which this fails.
    copy.deepcopy(network)


def test_padding_counts_as_unknown():
    network = reduced()
    data = network.data_preprocessor(
        dict(inputs=[images(6, 33, 40)], data_samples=[sample(33, 40)]))
    assert data['data_samples'][0].padding == (0, 0, 3, 4)
    padded = sample(40, 40)
    padded.valid[:3] = padded.valid[-4:] = False
    other = network(data['inputs'], [padded], mode='loss')
    assert network(**data, mode='loss') == other


def test_predict_without_samples():
    network = reduced().eval()
    found, = network(images(1, 6, 32, 40) / 255, mode='predict')
    assert found.pred_flow.shape == (2, 32, 40)
    # Not a view into the flows of all updates.
    assert found.pred_flow.untyped_storage().nbytes() == 2 * 32 * 40 * 4


@torch.no_grad()
def test_predict_begins_from_a_flow():
    network = reduced(iters_test=1).eval()
    inputs = network.data_preprocessor(dict(inputs=images(2, 6, 32, 40)))
    cold = network(**inputs, mode='predict')[1].pred_flow

    samples = inputs['data_samples']
    samples[0].init_flow = torch.zeros(2, 32, 40)
    assert torch.equal(
        network(inputs['inputs'], samples, mode='predict')[1].pred_flow, cold)
    samples[1].init_flow = carry_forward(torch.full((2, 32, 40), 4.))
    warm = network(inputs['inputs'], samples, mode='predict')[1].pred_flow
    assert (warm - cold).mean().item() == pytest.approx(4, abs=0.5)


def test_batch_norms_may_stay():
    network = RAFT('large', norm_eval=True).train()
    norms = [
        m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    assert len(norms) == 15 and network.training
    assert not any(norm.training for norm in norms)
    assert all(n.training for n in RAFT('large').modules())


@pytest.mark.parametrize('levels, least', [(1, 16), (2, 32), (3, 64)])
def test_too_small(levels, least):
    network = RAFT(dict(REDUCED, corr_block_num_levels=levels), iters_train=1)
    assert network(torch.zeros(1, 6, least, least)).isfinite().all()
    with pytest.raises(
            ValueError,
            match=f'{least}x{least - 8} px are too small for {levels} .* '
            f'{least}x{least} px and more'):
        network(torch.zeros(1, 6, least, least - 8))
    assert SIZES['small'][0]().corr_block.num_levels == 4


def test_no_truth():
    network = reduced()
    with pytest.raises(ValueError, match='b.png has no true flow'):
        network(
            images(1, 6, 32, 32),
            [FlowDataSample(metainfo=dict(img_path='b.png'))],
            mode='loss')


def test_unknown_mode():
    with pytest.raises(RuntimeError, match='tensor, loss, predict'):
        reduced()(images(1, 6, 32, 32), mode='los')


class TestSize:

    def test_sizes_of_torchvision_typed(self):
        """The settings are all that makes a size."""
        small = dict(
            REDUCED,
            feature_encoder_layers=(32, 32, 64, 96, 128),
            feature_encoder_block='BottleneckBlock',
            context_encoder_layers=(32, 32, 64, 96, 160),
            context_encoder_block='BottleneckBlock',
            corr_block_num_levels=4,
            motion_encoder_corr_layers=(96, ),
            motion_encoder_flow_layers=(64, 32),
            motion_encoder_out_channels=82,
            recurrent_block_hidden_state_size=96,
            flow_head_hidden_size=128)
        raft_small().load_state_dict(build_raft(small).state_dict())

    def test_unknown(self):
        with pytest.raises(ValueError, match='"smal" is unknown.*small'):
            RAFT('smal')
        with pytest.raises(
                ValueError,
                match='no "corr_levels".*nearest: corr_block_num_levels'):
            RAFT(dict(REDUCED, corr_levels=2))
        with pytest.raises(ValueError, match='"Residual".*ResidualBlock'):
            RAFT(dict(REDUCED, feature_encoder_block='Residual'))
        with pytest.raises(ValueError, match='norm_layer "BN" is unknown'):
            RAFT(dict(REDUCED, context_encoder_norm_layer='BN'))

    def test_left_out(self):
        size = dict(REDUCED)
        del size['flow_head_hidden_size'], size['use_mask_predictor']
        with pytest.raises(
                ValueError,
                match='needs flow_head_hidden_size, use_mask_predictor too'):
            RAFT(size)

    def test_no_context(self):
        with pytest.raises(ValueError, match='more than 64 .*but is 64'):
            RAFT(dict(REDUCED, recurrent_block_hidden_state_size=64))

    @pytest.mark.parametrize('iters', [0, 2.5, '4'])
    def test_updates(self, iters):
        with pytest.raises(ValueError, match='iters_test must be a whole'):
            RAFT(REDUCED, iters_test=iters)


class TestWeights:

    def test_names_are_torchvisions(self, monkeypatch):
        """Downloaded by torchvision, and not before training."""
        asked = []
        weights = raft_small().state_dict()

        def download(url, *args, **kwargs):
            asked.append((url, kwargs))
            return weights

        monkeypatch.setattr(torchvision.models._api,
                            'load_state_dict_from_url', download)
        network = MODELS.build(
            dict(type='mmhkt.RAFT', size='small', weights='C_T_V2'))
        assert not asked
        network.init_weights()
        (url, options), = asked
        assert url.endswith('/raft_small_C_T_V2-01064c6d.pth')
        assert options['check_hash']
        assert all(
            torch.equal(weights[key], value)
            for key, value in bare(network).items())

    def test_unknown_name(self):
        with pytest.raises(
                ValueError,
                match='no weights "C_T_SKHT_V2" for a RAFT of size \'small\''
                '.*nearest: C_T_V2, C_T_V1, or a file'):
            RAFT('small', weights='C_T_SKHT_V2')
        RAFT('large', weights='C_T_SKHT_V2')
        with pytest.raises(ValueError, match='valid: none'):
            RAFT(REDUCED, weights='C_T_V2')

    @pytest.mark.parametrize('ours', [True, False])
    def test_file(self, tmp_path, ours):
        source = reduced()
        torch.save(
            dict(state_dict=source.state_dict()) if ours else bare(source),
            tmp_path / 'raft.pth')
        network = RAFT(REDUCED, weights=str(tmp_path / 'raft.pth'))
        network.init_weights()
        for key, value in source.state_dict().items():
            assert torch.equal(network.state_dict()[key], value)

    def test_file_of_another_size(self, tmp_path):
        torch.save(bare(reduced()), tmp_path / 'raft.pth')
        network = RAFT('small', weights=str(tmp_path / 'raft.pth'))
        with pytest.raises(ValueError, match='raft.pth" of RAFT does not fit'):
            network.init_weights()
