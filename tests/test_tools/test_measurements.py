# Copyright (c) mmhkt authors. All rights reserved.
import json

import pytest
from helpers import CONFIGS, digits_config, dump, tool


@pytest.mark.slow
def test_benchmark(tmp_path):
    config = dump(digits_config(tmp_path), tmp_path / 'config.py')
    out = tmp_path / 'costs.json'
    done = tool('benchmark.py', config, '--iters', 3, '--json', out)
    figures = json.loads(out.read_text())
    assert list(figures['medians']) == [
        'child alone, step', 'parent, forward', 'hkt, step'
    ]
    child, parent, hkt = figures['medians'].values()
    assert figures['relative_to_child'] == pytest.approx(hkt / child)
    assert figures['relative_to_child_plus_parent'] == pytest.approx(
        hkt / (child + parent))
    assert 'hkt, step' in done.stdout


def test_benchmark_without_a_parent(tmp_path):
    config = dump(
        digits_config(tmp_path, 'mmhkt.Alone'), tmp_path / 'config.py')
    done = tool('benchmark.py', config, check=False)
    assert done.returncode == 1
    assert 'has no parent' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('network, file, accuracy', [
    ('resnet20', 'HKT-RestNet20.pth', 92.40),
    ('resnet20', 'resnet20-12fca82f.th', 91.73),
    ('resnet56', 'resnet56-4bfd9763.th', 93.39),
])
def test_published_weights_on_the_real_test_set(tmp_path, shared_data,
                                                cifar10_npz, network, file,
                                                accuracy):
    done = tool(
        'test.py',
        CONFIGS / f'alone/{network}_published_cifar10.py',
        shared_data / 'checkpoints' / file,
        '--cfg-options',
        f'test_dataloader.dataset.data_file={cifar10_npz}',
        cwd=tmp_path)
    assert f'accuracy/top1: {accuracy:.4f}' in done.stdout
