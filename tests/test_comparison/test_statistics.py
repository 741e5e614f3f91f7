# Copyright (c) mmhkt authors. All rights reserved.
import copy
import math

import numpy as np
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


def judged(values, reference, higher=True, margin=None):
    """The difference of the one method of a comparison."""
    summary = summary_of(dict(a=reference, b=values), higher=higher)
    summary['margin'] = margin
    return add_statistics(summary)['methods'][1]['difference']


def test_an_interval_that_holds_zero_is_unclear():
    found = judged([11, 22, 33], [10, 20, 30])
    half = T[2] * 1 / math.sqrt(3)
    assert found['values'] == [1, 2, 3] and found['seeds'] == [0, 1, 2]
    assert found['mean'] == 2 and found['n'] == 3
    assert found['low'] == pytest.approx(2 - half)
    assert found['high'] == pytest.approx(2 + half)
    assert found['p'] > 0.05 and found['verdict'] == 'unclear'


@pytest.mark.parametrize('sign, higher, verdict', [(1, True, 'better'),
                                                   (-1, True, 'worse'),
                                                   (1, False, 'worse'),
                                                   (-1, False, 'better')])
def test_an_interval_without_zero_has_a_verdict(sign, higher, verdict):
    found = judged([sign * 4, sign * 5, sign * 6], [0, 0, 0], higher)
    # Always method minus reference, whatever the direction of the score.
    assert found['mean'] == 5 * sign
    assert found['low'] == pytest.approx(5 * sign - T[2] / math.sqrt(3))
    assert found['p'] < 0.05 and found['verdict'] == verdict


@pytest.mark.parametrize('difference', [2, 100 / 36, 0])
def test_equal_differences_have_no_interval(difference):
    """It would be one without width: one image of 36 in all seeds was called
    a clear difference."""
    reference = [50 + seed / 7 for seed in range(3)]
    # In float32, as metrics have them, they are not quite equal.
    values = [float(np.float32(r + difference)) for r in reference]
    found = judged(values, reference)
    assert found['mean'] == pytest.approx(difference, abs=1e-5)
    assert found['low'] is found['high'] is found['p'] is None
    assert found['verdict'] is None  # nothing was tested


def test_fewer_than_three_seeds_have_no_verdict():
    found = judged([9], [1])
    assert found['mean'] == 8 and found['low'] is found['high'] is None
    assert found['verdict'] is None
    found = judged([9, 9.001], [1, 1])
    assert found['p'] < 0.001 and found['low'] > 7.9
    assert found['verdict'] is None


def test_only_common_seeds_are_compared():
    found = paired_difference({0: 5., 2: 7., 3: 8.}, {3: 4., 1: 100., 2: 6.})
    assert found['seeds'] == [2, 3] and found['values'] == [1, 4]
    # std = 3 / sqrt(2), n = 2
    assert found['high'] == pytest.approx(2.5 + T[1] * 1.5)
    found = paired_difference({0: 5.}, {1: 5.})
    assert found['n'] == 0 and found['mean'] is None


def test_many_methods_need_a_smaller_p():
    """5 ± 2.48 is clear for one method, and not for one of ten."""
    lasts = {f'm{i}': [1, 2.1, 2.9] for i in range(9)}
    for others, verdict in ((1, 'better'), (9, 'unclear')):
        done = add_statistics(
            summary_of(
                dict(
                    a=[0, 0, 0],
                    b=[4, 5, 6],
                    **dict(list(lasts.items())[:others - 1]))))
        found = done['methods'][1]['difference']
        assert found['adjusted'] == pytest.approx(others * found['p'])
        assert found['verdict'] == verdict
    # One that has not begun is one of them too.
    done = add_statistics(
        summary_of(dict(a=[0, 0, 0], b=[4, 5, 6], c=[None] * 3)))
    found = done['methods'][1]['difference']
    assert found['adjusted'] == pytest.approx(2 * found['p'])


def test_equivalent_within_the_margin():
    values, reference = [10.1, 10.2, 10.3], [10.2, 10.2, 10.2]
    assert judged(values, reference)['verdict'] == 'unclear'
    assert judged(values, reference)['p_equivalent'] is None
    # 90 % of the means lie within ± 2.92 * 0.1 / sqrt(3) = 0.169.
    assert judged(values, reference, margin=.16)['verdict'] == 'unclear'
    assert judged(values, reference, margin=.17)['verdict'] == 'equivalent'
    # Also where it is not zero.
    small = [10.29, 10.3, 10.31]
    assert judged(small, reference)['verdict'] == 'better'
    assert judged(small, reference, margin=.5)['verdict'] == 'equivalent'


def test_other_images_can_take_a_verdict_back():
    summary = summary_of(dict(a=[0, 0, 0], b=[4, 5, 6]))
    wide = dict(
        seeds=[0, 1, 2],
        images=36,
        mean=5.,
        low=-1.,
        high=11.,
        p=.1,
        p_equivalent=None)
    summary['methods'][1]['test_set'] = wide
    found = add_statistics(summary)['methods'][1]['difference']
    assert (found['p'], found['verdict']) == (.1, 'unclear')
    assert found['test_set'] == wide and found['low'] > 0
    # It counts also where not all runs kept their images.
    summary['methods'][1]['test_set'] = dict(wide, seeds=[0, 1])
    found = add_statistics(summary)['methods'][1]['difference']
    assert found['test_set']['seeds'] == [0, 1]
    assert found['verdict'] == 'unclear'


def test_no_verdict_by_the_seeds_alone_where_others_kept_images():
    summary = summary_of(dict(a=[0, 0, 0], b=[4, 5, 6]))
    found = add_statistics(summary)['methods'][1]['difference']
    assert found['verdict'] == 'better'
    summary['without_images'] = ['a, seed 0', 'a, seed 1']
    found = add_statistics(summary)['methods'][1]['difference']
    assert (found['p'], found['verdict']) == (None, None)


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
    assert b['difference']['adjusted'] == b['difference']['p']
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
