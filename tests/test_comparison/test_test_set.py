# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
from mmengine.config import Config

from mmhkt.comparison.entries import Entry
from mmhkt.comparison.fairness import ComparisonError
from mmhkt.comparison.intervals import over_seeds_and_images
from mmhkt.comparison.plan import Plan
from mmhkt.comparison.test_set import IMAGES, add_test_set
from mmhkt.evaluation import ImageScores, ImageSums

RIGHT = np.random.default_rng(0).random((2, 3, 50)) < [[[.5]], [[.9]]]


@pytest.fixture
def methods(tmp_path):
    """Two methods with three seeds, whose runs kept their images."""
    made = []
    for name, right in zip('ab', RIGHT):
        runs = []
        for seed, row in enumerate(right):
            run = dict(
                seed=seed,
                folder=f'{name}/{seed}',
                last=100 * row.mean(),
                curve=[[4, 1.], [8, 100 * row.mean()]])
            runs.append(run)
            save(tmp_path, run, row)
        made.append(dict(name=name, label=name, runs=runs))
    return made


def save(folder, run, right, step=8, truth='t'):
    path = folder / run['folder']
    path.mkdir(parents=True, exist_ok=True)
    right = right[:, None]
    sums = ImageSums(right, np.ones_like(right), 100.)
    ImageScores(step, truth, dict(top1=sums)).save(path / IMAGES)


@pytest.fixture
def plan(tmp_path):
    return Plan(
        't',
        tmp_path, [Entry(n, n, Config()) for n in 'ab'], [0, 1, 2],
        'a',
        margin=1.)


def found(plan, methods, metric='top1'):
    add_test_set(plan, methods, metric)
    assert methods[0]['test_set'] is None  # of the reference
    return methods[1]['test_set']


def test_interval_of_the_runs(plan, methods):
    values = 100. * RIGHT[1] - 100. * RIGHT[0]
    expected = over_seeds_and_images(values, margin=1.)
    interval = found(plan, methods)
    assert interval['images'] == 50 and interval['seeds'] == [0, 1, 2]
    for key in ('mean', 'low', 'high', 'p', 'p_equivalent'):
        assert interval[key] == pytest.approx(getattr(expected, key))


def test_only_of_runs_that_kept_their_last_scores(plan, methods, tmp_path):
    save(tmp_path, methods[1]['runs'][0], RIGHT[1, 0], step=4)
    assert found(plan, methods)['seeds'] == [1, 2]
    methods[0]['runs'][1]['last'] -= 1  # not what the images give
    assert found(plan, methods) is None  # one seed
    assert found(plan, methods, 'another') is None


def test_runs_that_kept_nothing_of_their_images_are_named(
        plan, methods, tmp_path):
    assert add_test_set(plan, methods, 'top1') == []
    save(tmp_path, methods[1]['runs'][0], RIGHT[1, 0], step=4)
    assert add_test_set(plan, methods, 'top1') == ['b, seed 0']
    # Without the only image that counts there is no score to leave out of.
    run = methods[0]['runs'][2]
    sums = ImageSums(np.ones((50, 1)), np.eye(50, 1),
                     100.)  # of one image alone
    run['last'] = sums.score()
    scores = ImageScores(8, 't', dict(top1=sums))
    scores.save(tmp_path / run['folder'] / IMAGES)
    assert add_test_set(plan, methods, 'top1') == ['a, seed 2', 'b, seed 0']
    # Where no run has any, there is nothing to be missed.
    assert add_test_set(plan, methods, 'another') == []


def test_other_images_are_refused(plan, methods, tmp_path):
    save(tmp_path, methods[1]['runs'][2], RIGHT[1, 2], truth='other')
    with pytest.raises(
            ComparisonError,
            match='a, seed 0 and b, seed 2 were '
            'judged on different images'):
        found(plan, methods)
