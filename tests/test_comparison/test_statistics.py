# Copyright (c) mmhkt authors. All rights reserved.
import copy
import math

import pytest

from mmhkt.comparison.statistics import (add_statistics, describe,
                                         paired_difference, seed_hashes)

# Student's t at 97.5 %, from a table: degrees of freedom -> quantile.
T = {1: 12.706205, 2: 4.302653}


def by_seed(*values):
    return dict(enumerate(values))


def summary_of(lasts, reference='a', higher=True):
    """A comparison with these last scores; the best ones are 1 higher."""
    return dict(
        metric=dict(name='score', higher_is_better=higher),
        seeds=list(range(len(next(iter(lasts.values()))))),
        reference=reference,
        methods=[
            dict(
                name=name,
                runs=[
                    dict(
                        seed=seed,
                        state='failed' if last is None else 'finished',
                        last=last,
                        best=last and last + 1,
                        initial_weights=f'w{seed}',
                        batches={
                            '1': f'b{seed}',
                            '20': f'c{seed}'
                        }) for seed, last in enumerate(values)
                ]) for name, values in lasts.items()
        ])


def test_mean_and_sample_deviation():
    assert describe([1., 2., 3., 6.]) == dict(
        mean=3., std=pytest.approx(math.sqrt(14 / 3)), n=4)
    assert describe([5.]) == dict(mean=5., std=None, n=1)
    assert describe([]) == dict(mean=None, std=None, n=0)


def test_an_interval_that_holds_zero_is_unclear():
    found = paired_difference(by_seed(11, 22, 33), by_seed(10, 20, 30))
    half = T[2] * 1 / math.sqrt(3)
    assert found['values'] == [1, 2, 3] and found['seeds'] == [0, 1, 2]
    assert found['mean'] == 2 and found['n'] == 3
    assert found['low'] == pytest.approx(2 - half)
    assert found['high'] == pytest.approx(2 + half)
    assert not found['clear'] and found['verdict'] == 'unclear'


@pytest.mark.parametrize('sign, higher, verdict', [(1, True, 'better'),
                                                   (-1, True, 'worse'),
                                                   (1, False, 'worse'),
                                                   (-1, False, 'better')])
def test_an_interval_without_zero_is_clear(sign, higher, verdict):
    found = paired_difference(
        by_seed(sign * 4, sign * 5, sign * 6), by_seed(0, 0, 0), higher)
    # Always method minus reference, whatever the direction of the score.
    assert found['mean'] == 5 * sign
    assert found['low'] == pytest.approx(5 * sign - T[2] / math.sqrt(3))
    assert found['clear'] and found['verdict'] == verdict


def test_equal_differences_have_an_interval_without_width():
    found = paired_difference(by_seed(3, 4), by_seed(1, 2))
    assert (found['low'], found['mean'], found['high']) == (2, 2, 2)
    assert found['verdict'] == 'better'
    found = paired_difference(by_seed(1, 2), by_seed(1, 2))
    assert (found['low'], found['high']) == (0, 0)
    assert not found['clear'] and found['verdict'] == 'unclear'


def test_one_seed_has_no_interval():
    found = paired_difference(by_seed(9), by_seed(1))
    assert found['mean'] == 8 and found['low'] is found['high'] is None
    assert not found['clear'] and found['verdict'] == 'unclear'


def test_only_common_seeds_are_compared():
    found = paired_difference({0: 5., 2: 7., 3: 8.}, {3: 4., 1: 100., 2: 6.})
    assert found['seeds'] == [2, 3] and found['values'] == [1, 4]
    # std = 3 / sqrt(2), n = 2
    assert found['high'] == pytest.approx(2.5 + T[1] * 1.5)
    found = paired_difference({0: 5.}, {1: 5.})
    assert found['n'] == 0 and found['mean'] is None


def test_statistics_of_a_comparison():
    given = summary_of(dict(a=[10., 20., 30.], b=[14., 25., 36.]))
    before = copy.deepcopy(given)
    done = add_statistics(given)
    assert given == before
    a, b = done['methods']
    assert a['difference'] is a['difference_best'] is None
    assert b['last']['mean'] == 25 and b['best']['mean'] == 26
    assert b['difference'] == b['difference_best']
    assert b['difference']['verdict'] == 'better'
    assert add_statistics(done) == done
    without = add_statistics(summary_of(dict(a=[1.], b=[2.]), reference=None))
    assert [m['difference'] for m in without['methods']] == [None, None]


def test_only_finished_runs_with_a_finite_score_count():
    summary = summary_of(dict(a=[1., 2., 3., 4.], b=[5., 6., math.nan, 9.]))
    summary['methods'][0]['runs'][1]['state'] = 'running'
    done = add_statistics(summary)
    a, b = done['methods']
    assert a['last']['n'] == b['last']['n'] == 3
    assert b['runs'][2]['last'] is None
    assert b['difference']['seeds'] == [0, 3]
    assert b['difference']['values'] == [4, 5]


def test_unknown_reference():
    with pytest.raises(ValueError, match='"alon" is unknown; nearest: alone'):
        add_statistics(summary_of(dict(alone=[1.]), reference='alon'))


def test_hashes_of_comparable_runs():
    first, second = seed_hashes(summary_of(dict(a=[1., 2.], b=[1., 2.])))
    assert first == dict(
        seed=0,
        initial_weights=dict(w0=['a', 'b']),
        batches=dict(c0=['a', 'b']),
        iteration='20',
        fair=True,
        unrecorded=[])
    assert second['batches'] == dict(c1=['a', 'b'])


def test_hashes_of_runs_that_are_not_comparable():
    summary = summary_of(dict(a=[1.], b=[1.], c=[1.]))
    runs = {m['name']: m['runs'][0] for m in summary['methods']}
    runs['b']['batches'].update({'3': 'x'})
    runs['c']['batches'].update({'3': 'y'})
    check, = seed_hashes(summary)
    assert not check['fair'] and check['iteration'] == '3'
    assert check['batches'] == dict(x=['b'], y=['c'])
    runs['c'].update(batches=runs['b']['batches'], initial_weights='other')
    check, = seed_hashes(summary)
    assert not check['fair']
    assert check['initial_weights'] == dict(w0=['a', 'b'], other=['c'])


def test_hashes_that_were_not_recorded():
    summary = summary_of(dict(a=[1.], b=[1.], c=[None]))
    runs = [m['runs'][0] for m in summary['methods']]
    del runs[1]['batches']['20']
    runs[2].update(initial_weights=None, batches={})
    check, = seed_hashes(summary)
    # A run that was cut off cannot be compared to the end; that is no fault.
    assert check['fair'] and check['unrecorded'] == ['b']
