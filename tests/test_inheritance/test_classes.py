# Copyright (c) mmhkt authors. All rights reserved.
import pytest

from mmhkt.inheritance import Classes


@pytest.mark.parametrize('own, others, order', [
    (('cat', 'dog', 'owl'), ('owl', 'cat', 'dog'), [1, 2, 0]),
    (('Fire-Truck', 'sea snake'), ('sea_snake', 'fire truck'), [1, 0]),
    (('cat', 'dog'), ('cat', 'dog'), None),
    (('cat', 'dog'), None, None),
    (('cat', 'dog'), ('cat', 'dog', 'owl'), None),
    (('cat', 'dog'), ('0', '1'), None),
])
def test_order(own, others, order):
    assert Classes(own).order_in(Classes(others)) == order


def test_names_that_two_classes_have():
    twice = Classes(('cat', 'crane', 'Crane', 'owl'))
    assert twice.order_in(twice) is None
    for own, other in ((twice, Classes(
        ('owl', 'crane', 'cat', 'crane'))), (Classes(
            ('cat', 'crane', 'emu', 'owl')), twice)):
        with pytest.raises(ValueError, match='Two classes are called "crane"'):
            own.order_in(other)


def test_others():
    with pytest.raises(ValueError, match='"dog" is none.*parent.classes'):
        Classes(('cat', 'dog')).order_in(Classes(('cat', 'emu')))
