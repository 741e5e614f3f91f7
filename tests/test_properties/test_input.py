# Copyright (c) mmhkt authors. All rights reserved.
"""Whatever is read is used or refused in one line, never anything between.

``make fuzz`` tries a thousand times as much as the tests do. What it has ever
found stays here as an example.
"""
import json
import math
import os
import tempfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from distiller_helpers import distiller
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from torch import nn

import mmhkt.hooks  # noqa: F401  fills the registry
import mmhkt.methods  # noqa: F401
from mmhkt.cli.one_line import line_of
from mmhkt.comparison.entries import entries_of_methods
from mmhkt.comparison.fairness import check_fair
from mmhkt.comparison.records import (curve_of, progress_of, read_record,
                                      state_of)
from mmhkt.datasets import ArrayDataset
from mmhkt.datasets.flow.torchvision_flow import check_file
from mmhkt.inheritance import find_sites
from mmhkt.methods import Schedule
from mmhkt.models.tasks.classification import check_sample as check_label
from mmhkt.models.tasks.segmentation import check_sample as check_mask
from mmhkt.registry import METHODS
from mmhkt.runner import transfer_part
from mmhkt.runner.inheritance_runner import _check_resumable, build_methods
from mmhkt.runner.preflight import preflight
from mmhkt.utils import load_strictly, read_checkpoint, weights_of
from mmhkt.utils.registered import check_registered

# How many of each, at random; without it a few, the same every time.
EXAMPLES = int(os.environ.get('MMHKT_FUZZ', 0))
settings.register_profile(
    'ours',
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck))
settings.load_profile('ours')

WORDS = st.sampled_from([
    '', 'type', 'head', 'stages', 'native', 'sites', 'weights', 'child',
    'parent', 'knob', 'intensity', 'mmhkt.HKT', 'mmhkt.KD', 'os.system',
    'backbone.layer1', 'epoch', '\x00', '\ud800', '..', 'a' * 300
]) | st.text(max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats()
    | WORDS)  # yapf: disable
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        WORDS, inner, max_size=3),
    max_leaves=8)


def used_or_refused(function, *args):
    """What a function returns; None where it refuses, in one line."""
    try:
        return function(*args)
    except Exception as error:
        line = line_of(error)
        assert line is not None, repr(error)
        assert '\n' not in line and len(line) < 2000
        return None


# ----------------------------------------------------------------- settings

NAMES = list(METHODS.module_dict)


@given(
    st.sampled_from(NAMES),
    st.dictionaries(
        st.sampled_from([
            'sites', 'weights', 'schedule', 'sees', 'temperature', 'attention',
            'as_published', 'scale', 'judged', 'dim', 'momentum', 'mask',
            'power'
        ]) | WORDS,
        ANYTHING,
        max_size=3))
@example('HKT', dict(schedule=[dict(knob='intensity', begin=math.nan)]))
@example('KD', dict(temperature=True))
def test_settings_of_methods(name, given_settings):
    built = used_or_refused(build_methods, {
        **given_settings, 'type': f'mmhkt.{name}'
    })
    if built is not None:
        assert all(0 <= w < math.inf for w in built[0].weights.values())


@given(ANYTHING)
def test_methods(method):
    used_or_refused(build_methods, method)


@given(
    st.dictionaries(
        st.sampled_from([
            'parent', 'method', 'task', 'revise_keys', 'trusted',
            'default_hooks', 'custom_hooks', 'load_from', 'work_dir'
        ]),
        ANYTHING,
        max_size=4))
def test_a_run(keys):
    keys.setdefault('method', dict(type='mmhkt.Alone'))
    used_or_refused(preflight, _Cfg(keys))


class _Cfg(dict):
    """As a config: keys are attributes too."""

    def __init__(self, keys):
        super().__init__(keys, runner_type='mmhkt.InheritanceRunner')

    __getattr__ = dict.__getitem__


@given(
    st.fixed_dictionaries(
        {},
        optional=dict(
            knob=st.sampled_from(['intensity', 'weights.native']) | WORDS,
            rule=st.sampled_from(['constant', 'linear', 'cosine']) | SCALARS,
            start=st.floats(0, 10) | SCALARS,
            stop=st.floats(0, 10) | SCALARS,
            begin=st.floats(0, 1) | SCALARS,
            end=st.floats(0, 1) | SCALARS,
            unit=st.sampled_from(['run', 'epoch', 'iter']) | SCALARS,
            least_iters=st.integers(0, 300) | SCALARS,
            latest=st.floats(0, 1) | SCALARS,
            sites=ANYTHING)), st.integers(0, 99))
@example(dict(knob='intensity', begin=1.0, end=1.0), 99)
@example(dict(knob='intensity', unit='epoch', begin=1e300), 5)
def test_schedules(cfg, iteration):
    schedule = used_or_refused(Schedule.from_cfg, cfg,
                               ['intensity', 'weights.native'], 'it')
    if schedule is not None:
        factor = schedule.factor(iteration, 100, 10)
        low, high = sorted([schedule.start, schedule.stop])
        assert factor is None or low - 1e-9 <= factor <= high + 1e-9


class _Network:
    """What find_sites asks of a network."""
    presets: dict = {}
    head_site = logits_site = 'head'

    def __init__(self, role):
        from mmhkt.inheritance import Dissection
        from mmhkt.inheritance.stages import Trunk
        torch.manual_seed(0)
        network = nn.Sequential()
        network.add_module('backbone',
                           nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
        network.add_module('head', nn.Conv2d(4, 2, 1))
        self.network = network
        self.dissection = Dissection(network, torch.rand(1, 3, 8, 8), role)
        self.trunk = Trunk(self.dissection)


PAIR = [_Network('child'), _Network('parent')]


@given(
    st.one_of(
        WORDS, ANYTHING,
        st.lists(
            st.fixed_dictionaries(
                dict(
                    child=WORDS | st.sampled_from(
                        ['backbone.0', 'backbone.1@in', 'backbone.-1', '0.0']),
                    parent=WORDS | st.just('backbone.0'))),
            max_size=3)))
@example([dict(child='head', parent='head@in')])
@example([dict(child='\n', parent='backbone.0')])
@example(None)
@example(3)
def test_sites(sites):
    used_or_refused(find_sites, sites, *PAIR)


@given(st.dictionaries(WORDS, ANYTHING, max_size=3) | ANYTHING)
@example({'': [['']]})
@example([[['mmhkt.KD']]])
def test_methods_of_a_comparison(methods):
    cfg = Config(dict(runner_type='mmhkt.InheritanceRunner'))
    used_or_refused(entries_of_methods, methods, cfg)


@given(ANYTHING)
def test_configs_of_unknown_origin(cfg):
    if used_or_refused(check_registered, cfg, 'it') is None:
        return


# -------------------------------------------------------------------- files


@given(
    st.dictionaries(
        st.sampled_from(['train_images', 'train_labels', 'x']),
        st.tuples(
            st.lists(st.integers(0, 3), max_size=4),
            st.sampled_from(['u1', 'i8', 'f4', 'b1', 'U3', 'c8'])),
        max_size=3), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_arrays(arrays, at, byte, damage):
    buffer = BytesIO()
    np.savez(
        buffer, **{
            key: np.ones(shape).astype(kind)
            for key, (shape, kind) in arrays.items()
        })
    content = bytearray(buffer.getvalue())
    if damage and at < len(content):
        content[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'a.npz')
        file.write_bytes(content)
        dataset = used_or_refused(ArrayDataset, str(file))
        if dataset is not None:
            assert len(dataset) and dataset[0]['img'].dtype == np.uint8


@given(st.binary(max_size=60), st.sampled_from(['.flo', '.png']))
@example(b'PIEH' + np.array([2**31 - 1] * 2, '<i4').tobytes(), '.flo')
def test_flow_files(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f'a{suffix}')
        file.write_bytes(content)
        used_or_refused(check_file, str(file))


@given(
    st.lists(st.integers(-3, 300), max_size=6),
    st.sampled_from([torch.int64, torch.uint8, torch.float32, torch.bool]))
def test_labels(labels, kind):
    labels = torch.tensor(labels).to(kind)
    sample = DataSample()
    sample.set_field(labels, 'gt_label', dtype=torch.Tensor)
    used_or_refused(check_label, dict(data_samples=sample), 10)


@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=3), st.integers(-3, 300),
    st.sampled_from([torch.int64, torch.uint8]))
def test_masks(shape, label, kind):
    mask = torch.full(shape, label).to(kind)
    sample = DataSample()
    sample.set_field(
        PixelData(data=mask if mask.dim() == 3 else mask[None]), 'gt_sem_seg')
    used_or_refused(check_mask,
                    dict(inputs=torch.zeros(3, 4, 4), data_samples=sample), 4,
                    255)


RECORD = dict(
    finished=True,
    initial_weights='a',
    batches={'4': 'b'},
    validations={'1': {
        'accuracy/top1': 3.
    }},
    training={},
    unit='epoch',
    iter=4,
    max_iters=4)


@given(
    st.dictionaries(st.sampled_from([*RECORD, 'diverged', 'x']), ANYTHING),
    st.booleans(), st.integers(0, 200))
@example(dict(validations={'1': None}), False, 0)
@example(dict(validations={'x': {'accuracy/top1': 1}}), False, 0)
@example(dict(batches={'x': 'y'}), False, 0)
def test_records(changes, cut, at):
    text = json.dumps({**RECORD, **changes})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'record.json')
        file.write_bytes(text.encode(errors='replace')[:at if cut else None])
        record = used_or_refused(read_record, Path(folder))
        if record:
            state_of(Path(folder), record)
            assert 0 <= progress_of(record)
            used_or_refused(curve_of, record, 'accuracy/top1')
            used_or_refused(check_fair, dict(a=record, b=record))


# -------------------------------------------------------------- checkpoints

NETWORK = nn.Linear(2, 2)
TENSORS = st.sampled_from([
    torch.zeros(2, 2),
    torch.zeros(2),
    torch.zeros(0),
    torch.full((2, 2), math.nan),
    torch.zeros(2, 2, dtype=torch.int64)
])
CHECKPOINT = st.dictionaries(
    st.sampled_from([
        'state_dict', 'meta', 'optimizer', 'message_hub', 'param_schedulers',
        'transfer', 'weight', 'bias'
    ]),
    ANYTHING | TENSORS
    | st.dictionaries(
        st.sampled_from([
            'weight', 'bias', 'epoch', 'iter', 'methods', 'format',
            'state_dict', 'optimizer', 'module.weight'
        ]),
        ANYTHING | TENSORS,
        max_size=4),
    max_size=5)


@given(CHECKPOINT | ANYTHING)
@example(dict(state_dict=3))
@example(dict(state_dict=dict(weight=3)))
def test_weights_in_checkpoints(checkpoint):
    if not isinstance(checkpoint, dict):
        return
    weights = used_or_refused(weights_of, checkpoint)
    if weights is not None:
        before = {k: v.clone() for k, v in NETWORK.state_dict().items()}
        used_or_refused(load_strictly, NETWORK, weights, 'it')
        for value in NETWORK.state_dict().values():
            assert value.isfinite().all()
        NETWORK.load_state_dict(before)


@given(CHECKPOINT)
@example(dict(param_schedulers=torch.zeros(2)))
@example(dict(transfer=3))
def test_what_is_resumed(checkpoint):
    used_or_refused(_check_resumable, checkpoint, 'a.pth', True)
    method = distiller('FitNet')
    inheritance = SimpleNamespace(
        methods=nn.ModuleList([method]),
        transfer_state_dict=nn.ModuleList([method]).state_dict)
    used_or_refused(transfer_part.put_back, checkpoint, inheritance)


@given(
    st.binary(max_size=40), st.integers(0, 1200), st.integers(1, 255),
    st.sampled_from(['cut', 'flip', 'as it is']))
def test_bytes_of_checkpoints(content, at, byte, what):
    buffer = BytesIO()
    torch.save(dict(state_dict=dict(weight=torch.ones(2, 2))), buffer)
    whole = bytearray(buffer.getvalue())
    if what == 'cut':
        whole = whole[:at]
    elif what == 'flip' and at < len(whole):
        whole[at] ^= byte
    elif what == 'as it is':
        whole = content
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'a.pth')
        file.write_bytes(whole)
        read = used_or_refused(read_checkpoint, file)
    if read is not None:
        # No value is another one.
        assert torch.equal(read['state_dict']['weight'], torch.ones(2, 2))
