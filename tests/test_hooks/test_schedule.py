# Copyright (c) mmhkt authors. All rights reserved.
import math
from types import SimpleNamespace

import pytest
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmhkt.hooks import TransferHook
from mmhkt.hooks.transfer_hook import place
from mmhkt.methods import HKT, LePoKet, Schedule

KNOBS = ['intensity', 'weights.native', 'weights.inherited']
# A run of 10 epochs of 20 iterations.
RUN = (200, 20)


def schedule(knob='intensity', **cfg):
    return Schedule.from_cfg(
        dict(knob=knob, **cfg), KNOBS, 'HKT', site_knobs=('intensity', ))


def factors(found, *iterations):
    return [found.factor(i, *RUN) for i in iterations]


def test_default_is_linear_from_one_to_zero_over_the_run():
    found = schedule()
    assert factors(found, 0, 50, 100, 150, 200) == [1, 0.75, 0.5, 0.25, 0]
    assert found.sites is None and found.knob == 'intensity'


def test_linear():
    found = schedule(start=0.2, stop=1., begin=0.25, end=0.75)
    assert factors(found, 0, 49) == [None, None]
    assert factors(found, 50, 75, 100,
                   150) == pytest.approx([0.2, 0.4, 0.6, 1.])
    assert factors(found, 151, 199, 500) == [1., 1., 1.]


def test_cosine():
    found = schedule(rule='cosine', begin=0.5)
    assert factors(found, 99) == [None]
    # (1 + cos(pi t)) / 2 for t = 0, 1/4, 1/3, 1/2, 3/4, 1
    assert factors(found, 100, 125, 150, 175, 200) == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0])
    found = schedule(rule='cosine', start=2., stop=4., end=0.6)
    # 120 iterations; cos(pi / 3) = 1 / 2
    assert factors(found, 40, 60, 80, 120,
                   160) == pytest.approx([2.5, 3., 3.5, 4., 4.])


def test_a_short_run_takes_a_larger_part():
    found = schedule(end=0.25, least_iters=100)  # not by iteration 50
    assert factors(found, 0, 50, 75, 100, 150) == [1, 0.5, 0.25, 0, 0]
    # By 140 even if that is fewer than wanted.
    found = schedule(end=0.25, least_iters=1000, latest=0.7)
    assert factors(found, 0, 70, 140) == [1, 0.5, 0]
    # A long run keeps its fraction, as does an end that is later.
    assert factors(schedule(end=0.25, least_iters=50), 25) == [0.5]
    assert factors(schedule(end=0.8, least_iters=1000, latest=0.7),
                   80) == [0.5]
    found = schedule(begin=0.5, end=0.5, least_iters=20)
    assert factors(found, 99, 100, 110, 120) == [None, 1, 0.5, 0]
    for wrong in (dict(least_iters=-1), dict(latest=0.), dict(latest=1.1)):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            schedule(**wrong)


def test_constant():
    found = schedule(rule='constant', start=0.3, begin=0.5)
    assert factors(found, 0, 99) == [None, None]
    assert factors(found, 100, 150, 199, 200) == [0.3] * 4
    # 'stop' and 'end' are of the other rules
    found = schedule(rule='constant', start=0.3, stop=0.9, end=0.1)
    assert factors(found, 0, 100) == [0.3, 0.3]


@pytest.mark.parametrize('unit, begin, end', [
    ('run', 0.1, 0.5),
    ('epoch', 1, 5),
    ('iter', 20, 100),
])
def test_units(unit, begin, end):
    found = schedule(unit=unit, begin=begin, end=end)
    assert factors(found, 19) == [None]
    assert factors(found, 20, 60, 80, 100,
                   199) == pytest.approx([1, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize('unit, begin', [('epoch', 5), ('iter', 100)])
def test_no_end_is_the_end_of_the_run(unit, begin):
    found = schedule(unit=unit, begin=begin)
    assert factors(found, 100, 150, 200) == [1, 0.5, 0]


def test_parts_of_an_epoch():
    found = schedule(unit='epoch', end=0.5)
    assert factors(found, 0, 5, 10) == [1, 0.5, 0]


def test_beginning_and_ending_at_once_is_a_step():
    for rule in ('linear', 'cosine'):
        found = schedule(rule=rule, begin=0.5, end=0.5, stop=0.1)
        assert factors(found, 99, 100, 101) == [None, 0.1, 0.1]
    # one that begins after the run never holds
    assert factors(schedule(unit='epoch', begin=10), 199) == [None]


def test_sites():
    found = schedule(sites=[0, 2], stop=0.5)
    assert found.sites == [0, 2]
    assert factors(found, 100) == [0.75]


def test_every_knob():
    for knob in KNOBS:
        assert schedule(knob).knob == knob


@pytest.mark.parametrize('method', [HKT(), LePoKet()])
def test_the_methods_own_schedules(method):
    for found in method.schedules:
        end = 200 if found.knob == 'weights.hint' else 140
        assert factors(found, 0, end // 2, end - 1, end,
                       500) == pytest.approx([1, 0.5, 1 / end, 0, 0])


@pytest.mark.parametrize('cfg, words', [
    (dict(knob='intensity', stops=1),
     ['schedule of HKT has no setting "stops"', 'nearest: stop']),
    (dict(rule='linear'),
     ['names no knob', 'valid: intensity, weights.native']),
    (dict(knob='intensities'), ['HKT', '"intensities"', 'nearest: intensity']),
    (dict(knob='weights.inherit'), ['"weights.inherit"', 'weights.inherited']),
    (dict(knob='intensity',
          rule='cosinus'), ['rule', '"cosinus"', 'nearest: cosine']),
    (dict(knob='intensity',
          unit='epochs'), ['unit', '"epochs"', 'nearest: epoch']),
    (dict(knob='intensity', unit='epoch', begin=5,
          end=3), ['HKT ends at 3', 'begins at 5']),
    (dict(knob='intensity', begin=0.5, end=0.25), ['ends at 0.25']),
    (dict(knob='intensity', begin=5), ['fractions of the run', 'begin=5']),
    (dict(knob='intensity', end=100), ['end=100', "unit='epoch' or 'iter'"]),
    (dict(knob='intensity', begin=-0.1), ['begin must be', 'but got -0.1']),
])
def test_bad_schedules(cfg, words):
    with pytest.raises(ValueError) as error:
        Schedule.from_cfg(cfg, KNOBS, 'HKT')
    for word in words:
        assert word in str(error.value)


def training(length, loop=EpochBasedTrainLoop, **state):
    """A runner in the midst of training, as far as a schedule sees it."""
    # As loops keep what they have done, without all that builds one.
    found = loop.__new__(loop)
    vars(found).update({f'_{name}': value for name, value in state.items()})
    return SimpleNamespace(train_loop=found, train_dataloader=range(length))


def test_place_by_epoch():
    # Ten epochs of 20 iterations, none of them resumed.
    for i in (0, 7, 20, 199):
        runner = training(20, epoch=i // 20, iter=i, max_epochs=10)
        assert place(runner, i % 20) == (i, *RUN)


def test_place_by_iteration():
    runner = training(
        20, IterBasedTrainLoop, epoch=0, max_epochs=1, iter=33, max_iters=200)
    assert place(runner, 33) == (33, *RUN)


@pytest.mark.parametrize('cfg', [
    dict(),
    dict(rule='cosine', begin=0.2, end=0.9),
    dict(unit='epoch', begin=1, end=8),
    dict(unit='epoch'),
])
@pytest.mark.parametrize('length', [5, 10, 40, 7])
def test_goes_on_where_it_was_with_another_batch_size(cfg, length):
    """Or another number of GPUs: other iterations for as many epochs."""
    found = schedule(**cfg)
    for epoch in (2, 5, 9):
        whole = training(20, epoch=epoch, iter=20 * epoch, max_epochs=10)
        resumed = training(length, epoch=epoch, iter=20 * epoch, max_epochs=10)
        before, after = (
            found.factor(*place(run, 0)) for run in (whole, resumed))
        assert after == pytest.approx(before, abs=1e-12)
        if length % 2 == 0:  # and in the middle of the epoch
            assert found.factor(*place(resumed, length // 2)) == (
                pytest.approx(found.factor(*place(whole, 10)), abs=1e-12))


def test_iterations_are_those_of_the_present_epochs():
    found = schedule(unit='iter', begin=20, end=60)
    resumed = training(10, epoch=4, iter=80, max_epochs=10)
    assert found.factor(*place(resumed, 0)) == 0.5


class Method:
    """Notes what is turned."""
    schedules = [
        Schedule.from_cfg(cfg, KNOBS, 'it')
        for cfg in (dict(knob='intensity'),
                    dict(knob='weights.native', start=0))
    ]
    sites = site_knobs = ()

    def __init__(self):
        self.turned = []

    def knobs(self):
        return KNOBS

    def turn(self, *what):
        self.turned.append(what)


def test_the_hook_turns_by_the_place(monkeypatch):
    method = Method()
    monkeypatch.setattr('mmhkt.hooks.transfer_hook.hereditary',
                        lambda runner: SimpleNamespace(methods=[method]))
    hook = TransferHook()
    # Resumed at half of the training with twice the batch size.
    runner = training(10, epoch=5, iter=100, max_epochs=10)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert method.turned == [('intensity', 0.5, None),
                             ('weights.native', 0.0, None)]


def test_the_hook_without_methods(monkeypatch):
    monkeypatch.setattr('mmhkt.hooks.transfer_hook.hereditary',
                        lambda runner: None)
    hook = TransferHook()
    runner = training(10, epoch=0, iter=0, max_epochs=1)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
