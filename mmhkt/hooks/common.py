# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

from mmhkt.models import Inheritance


def hereditary(runner) -> Optional[Inheritance]:
    """What the child of a run inherits by; None of any other run (testing,
    say)."""
    return getattr(runner, 'inheritance', None)
