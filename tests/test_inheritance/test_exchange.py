# Copyright (c) mmhkt authors. All rights reserved.
import pytest
from torch import nn

from mmhkt.inheritance.exchange import exchanged


def test_exchanged_puts_back_what_was_there():
    one, two = nn.ReLU(), nn.ReLU()
    own = two.forward = lambda x: x + 1
    with pytest.raises(KeyError):
        with exchanged({one: lambda x: x + 10, two: lambda x: x + 20}):
            assert (one(1), two(1)) == (11, 21)
            raise KeyError
    assert 'forward' not in one.__dict__ and two.forward is own
