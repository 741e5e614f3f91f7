# Copyright (c) mmhkt authors. All rights reserved.
import json

import pytest

from mmhkt.comparison.fairness import ComparisonError, check_fair
from mmhkt.comparison.records import (curve_of, error_of, progress_of,
                                      read_record, state_of)


def test_curve():
    record = dict(validations={
        '10': dict(acc=3., loss=.1),
        '2': dict(acc=1.),
        '4': dict(loss=.2)
    })
    # By number, not by digits.
    assert curve_of(record, 'acc') == [[2, 1.], [10, 3.]]
    assert curve_of(record, 'other') == curve_of({}, 'acc') == []


def test_progress():
    assert progress_of({}) == 0
    assert progress_of(dict(iter=1, max_iters=4)) == 0.25
    # An early end, say.
    assert progress_of(dict(iter=1, max_iters=4, finished=True)) == 1


def test_state(tmp_path):
    assert read_record(tmp_path) == {}
    assert state_of(tmp_path) == 'waiting'
    (tmp_path / 'failed.txt').write_text('exit code 1: why\n')
    assert state_of(tmp_path) == 'failed'
    assert error_of(tmp_path) == 'exit code 1: why'
    (tmp_path / 'record.json').write_text(json.dumps(dict(finished=False)))
    assert state_of(tmp_path) == 'failed'
    (tmp_path / 'record.json').write_text(json.dumps(dict(finished=True)))
    assert state_of(tmp_path) == 'finished'


def record(weights='w', **batches):
    return dict(
        initial_weights=weights,
        batches={
            name[1:]: value
            for name, value in batches.items()
        })


def test_fair():
    check_fair(dict(one=record(_8='a', _16='b'), other=record(_8='a')))
    check_fair(dict(one=record()))


def test_unfair():
    with pytest.raises(ComparisonError) as error:
        check_fair(
            dict(
                one=record(_8='a', _16='b'),
                two=record(_8='a', _16='x'),
                three=record('v', _8='a')))
    text = str(error.value)
    assert 'one and two saw different batches' in text
    assert 'iteration 16' in text
    assert 'one and three began from different weights' in text
    assert 'two and three began from different weights' in text
    assert 'three saw' not in text
