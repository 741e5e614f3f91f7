# Copyright (c) mmhkt authors. All rights reserved.
import re
from collections import Counter
from dataclasses import dataclass
from typing import List, Optional, Tuple

from mmhkt.utils import few


@dataclass(frozen=True)
class Classes:
    """What the channels of a network's logits stand for.

    Attributes:
        names (tuple[str], optional): Of the classes, None where nobody says.
        exclusive (bool): Whether one position or image is of one class only.
            Where it may be of several, or of the only one or not, each
            channel is a question of its own (a sigmoid, not a softmax).
    """
    names: Optional[Tuple[str, ...]] = None
    exclusive: bool = True

    def order_in(self, other: 'Classes') -> Optional[List[int]]:
        """Where each class is among those of another network.

        Case, spaces and hyphens make no difference; numbers are no names.

        Returns:
            list[int] | None: None where they are in the same order, or either
            does not say.

        Raises:
            ValueError: If a class has none of its name there.
        """
        own, others = ([_plain(name) for name in classes.names or ()]
                       for classes in (self, other))
        # That there are more or fewer is said elsewhere.
        if own == others or len(own) != len(others) or any(
                all(name.isdigit() for name in names)
                for names in (own, others)):
            return None
        twice = [
            name for names in (own, others)
            for name, times in Counter(names).items() if times > 1
        ]
        if twice:
            raise ValueError(
                f'Two classes are called "{twice[0]}", and child and parent '
                'do not have their classes in the same order: which is which '
                'cannot be told by name. Say it by parent.classes=[...].')
        missing = [name for name in own if name not in others]
        if missing:
            raise ValueError(
                f'The classes of the child are {few(self.names or (), 6)}, '
                f'those of the parent {few(other.names or (), 6)}: '
                f'"{missing[0]}" is none of these, so that their logits '
                'cannot be compared. If they are the same in this order, say '
                "so by parent.classes=[...] with the names that the child's "
                'have.')
        return [others.index(name) for name in own]


def _plain(name: str) -> str:
    return re.sub(r'[\s_-]+', ' ', str(name)).strip().lower()
