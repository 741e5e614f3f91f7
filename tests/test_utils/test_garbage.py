# Copyright (c) mmhkt authors. All rights reserved.
import gc

import pytest

from mmhkt.utils.garbage import uncollected


@uncollected()
def collecting(fail=False):
    if fail:
        raise ValueError
    with uncollected():
        pass
    # The inner one has not put back what the outer one took.
    return gc.isenabled()


@pytest.mark.parametrize('before', [True, False])
def test_is_as_before_at_the_end(before):
    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        assert not collecting()
        assert gc.isenabled() is before
        with pytest.raises(ValueError):
            collecting(fail=True)
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
