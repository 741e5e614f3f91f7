# Copyright (c) mmhkt authors. All rights reserved.
import copy

import torch
from helpers import digits_config, prepared, same
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import (_load_checkpoint_to_model,
                                        get_state_dict)

METHOD = dict(type='mmhkt.LePoKet', sites='all')


def test_outwardly_the_child(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    child = model.child.state_dict()
    assert same(model.state_dict(), child)
    assert same(get_state_dict(model), child)
    assert list(model.state_dict()._metadata) == [
        '', *(k for k in child._metadata if k)
    ]

    changed = {k: v + 1 for k, v in child.items()}
    methods = copy.deepcopy(model.methods.state_dict())
    keys = model.load_state_dict(changed, strict=True)
    assert not keys.missing_keys and not keys.unexpected_keys
    assert same(model.child.state_dict(), changed)
    _load_checkpoint_to_model(model, dict(state_dict=child), strict=True)
    assert same(model.child.state_dict(), child)
    assert same(model.methods.state_dict(), methods)


def test_average_of_the_child_alone_shares_the_parent(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    average = ExponentialMovingAverage(model)
    assert average.module.parent is model.parent
    assert average.module.child is not model.child
    assert set(average.state_dict()) == {
        'steps', *(f'module.{k}' for k in model.state_dict())
    }
    saved = copy.deepcopy(average.state_dict())
    average.load_state_dict(saved, strict=True)
    # A copy is whole: its step reads its own child.
    twin = average.module
    with torch.no_grad():
        for p in twin.child.head.parameters():
            p.zero_()
    assert twin._extraction.network is twin.child


def test_moves_the_parent_along(tmp_path):
    model = prepared(digits_config(tmp_path, METHOD))
    model.double()
    assert model.parent.network.head.fc.weight.dtype == torch.float64
    assert model.parent.renormalise.scale.dtype == torch.float64
    model.float()


def test_running_statistics_see_the_childs_own_features_only(tmp_path):
    """After a step they are those of a step of the child alone."""
    from mmengine.registry import init_default_scope
    stats = []
    for method in ('mmhkt.Alone', dict(type='mmhkt.GatedHKT', sites='stages')):
        model = prepared(digits_config(tmp_path, method))
        init_default_scope('mmpretrain')
        torch.manual_seed(0)
        for parameter in model.child.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.train()
        from mmpretrain.structures import DataSample
        model.loss(
            torch.rand(6, 3, 8, 8),
            [DataSample().set_gt_label(i) for i in range(6)])
        stats.append({
            k: v
            for k, v in model.state_dict().items()
            if 'running' in k or 'batches' in k
        })
    assert same(*stats)
    assert all(
        int(v) == 1 for k, v in stats[0].items() if k.endswith('tracked'))
