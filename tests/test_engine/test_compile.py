# Copyright (c) mmhkt authors. All rights reserved.
"""``compile=True``: nothing is compiled after step 1, and losses are equal."""
import pytest
import torch
import torch._dynamo
from helpers import digits_config, run
from mmengine.hooks import Hook
from seg_helpers import tiny_config, tiny_model
from torch._dynamo import register_backend

GRAPHS = []
STEPS = 12


@register_backend(name='counting')
def counting(graph, inputs):
    GRAPHS.append(len(graph.graph.nodes))
    return graph.forward


class Counter(Hook):
    """How many graphs there are after each step."""

    def __init__(self):
        self.graphs = []

    def after_train_iter(self, runner, batch_idx, **kwargs):
        self.graphs.append(len(GRAPHS))


def trained(cfg, compiles):
    torch._dynamo.reset()
    GRAPHS.clear()
    cfg.compile = dict(backend='counting') if compiles else False
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [dict(type=Counter)]
    runner = run(cfg)
    counter, = [hook for hook in runner.hooks if isinstance(hook, Counter)]
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    assert not any('forward' in m.__dict__ for m in runner.model.modules())
    return losses[:STEPS], counter.graphs[:STEPS], runner


# The child's stages are of the parent's widths, or of others.
EQUAL = dict(type='mmhkt.HKT', sites=[
    dict(child=f'backbone.layer{i}', parent=f'backbone.layer{i}')
    for i in (1, 2, 3)
])  # yapf: disable


@pytest.mark.parametrize('method, same_width', [
    (dict(type='mmhkt.Alone'), False),
    (EQUAL, True),
    (EQUAL, False),
    (dict(type='mmhkt.KD'), False),
    (dict(type='mmhkt.ReviewKD'), False),
    (dict(type='mmhkt.GatedHKT', sites='stages'), False),
])
def test_classification(tmp_path, method, same_width):
    """Including across the weaning, which ends after 70 %."""
    found = []
    for compiles in (False, True):
        cfg = digits_config(
            tmp_path / str(compiles), method, **{
                'train_cfg.max_epochs': 3,
                'default_hooks.logger.interval': 1
            })
        if same_width:
            cfg.parent = dict(
                config=dict(
                    model=cfg.model, data_preprocessor=cfg.data_preprocessor),
                random_weights=True)
        found.append(trained(cfg, compiles))
    (plain, none, _), (losses, graphs, runner) = found
    assert none == [0] * STEPS
    assert graphs[0] > 0
    assert graphs[1:] == [graphs[1]] * (STEPS - 1)
    torch.testing.assert_close(
        torch.tensor(losses), torch.tensor(plain), rtol=1e-4, atol=1e-5)


def test_segmentation(tmp_path):
    found = []
    for compiles in (False, True):
        cfg = tiny_config(
            tmp_path / str(compiles),
            'mmhkt.HKT',
            child=tiny_model(stride=8),
            **{'train_cfg.max_iters': STEPS})
        found.append(trained(cfg, compiles))
    (plain, _, _), (losses, graphs, _) = found
    assert graphs[0] > 0
    assert graphs[1:] == [graphs[1]] * (STEPS - 1)
    torch.testing.assert_close(
        torch.tensor(losses), torch.tensor(plain), rtol=1e-3, atol=1e-4)
