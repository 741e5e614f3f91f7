# Copyright (c) mmhkt authors. All rights reserved.
from functools import partial
from typing import Callable, Dict, List

from torch import Tensor
from torch.profiler import record_function

from .base import Method
from .step import Step


class Inheriting:
    """What has been inherited in a step, by site and call.

    Where the mixtures flow through the child they are made on their way;
    otherwise of the child's own features, when they are asked for.

    Args:
        method (Method): With the ``mixtures`` of its sites.
        step (Step): The step.
    """

    def __init__(self, method: Method, step: Step):
        self._method = method
        self._step = step
        # Of each site, call by call, the mixture and the hint.
        self._met: List[list] = [[] for _ in method.sites]

    def mixers(self) -> Dict[str, Callable]:
        """What is done to the child's feature at each site on its way."""
        return {
            site.child: partial(self._meet, i)
            for i, site in enumerate(self._method.sites)
        }

    def own(self, i: int, call: int) -> Tensor:
        """The child's own feature at site i."""
        return self._method.child_feature(self._step,
                                          self._method.sites[i].child, call)

    def mixture(self, i: int, call: int) -> Tensor:
        """The mixture at site i."""
        return self._at(i, call)[0]

    def hint(self, i: int, call: int) -> Tensor:
        """The hint at site i."""
        return self._at(i, call)[1]

    def _at(self, i: int, call: int) -> tuple:
        while len(self._met[i]) <= call:
            self._meet(i, self.own(i, len(self._met[i])))
        return self._met[i][call]

    def _meet(self, i: int, q: Tensor) -> Tensor:
        z = self._step.parent_feature(self._method.sites[i].parent,
                                      len(self._met[i]))
        mixture = self._method.mixtures[i]
        with record_function('mmhkt.mixture'):
            self._met[i].append(mixture(q, z, self._method.hints(i)))
        return self._met[i][-1][0]
