# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, Iterator, List, Optional

import torch
from torch import Tensor
from torch.profiler import record_function

from mmhkt.inheritance import Extraction, Mixer

Losses = Dict[str, Tensor]

# Which passes of the child a method can see.
PASSES = ('own', 'mixture')


class Step:
    """One training step, as a method sees it: child, parent and a batch.

    The child's first pass runs all of it, whether on its own features or with
    mixtures; a further one, only what comes behind the first site. Everything
    is computed when it is first asked for, and once: a method that asks for
    no parent's feature costs no parent forward.

    Args:
        child (Extraction): Of the child.
        parent (Parent, optional): With its ``extraction``, and ``images`` to
            turn the child's images into its own.
        inputs (Tensor): Images as the child takes them.
        data_samples (list): Annotations.
    """

    def __init__(self, child: Extraction, parent: Any, inputs: Tensor,
                 data_samples: list):
        self.child = child
        self.parent = None if parent is None else parent.extraction
        self._images = None if parent is None else parent.images
        self.inputs = inputs
        self.data_samples = data_samples
        # Term -> losses of the pass behind it.
        self._passes: Dict[str, Losses] = {}
        # The terms behind which the first own and the first mixed pass are.
        self._terms: Dict[str, str] = {}
        self._parent_inputs: Optional[Tensor] = None
        # Logits behind each loss term, detached, for scores in the logs.
        self.logits: Dict[str, Tensor] = {}

    def native(self) -> Losses:
        """The child's losses on its own features."""
        return self._run('native', {})

    def inherited(self, term: str, mixers: Dict[str, Mixer]) -> Losses:
        """The child's losses when the features at some sites are mixtures.

        Args:
            term (str): Name under which its logits are kept.
            mixers (dict[str, Callable]): Child's site -> function of the
                feature that arrives there. Without any these are the child's
                losses on its own features, from its one own pass.
        """
        return self._run(term, mixers)

    def judged(self, term: str, features: Dict[str, List[Tensor]]) -> Losses:
        """The child's losses of the parent's logits on given features.

        Args:
            term (str): Name under which its logits are kept.
            features (dict[str, list[Tensor]]): Parent's site -> what stands
                there, at each run of its module, in place of the parent's
                own feature. The gradient flows into these; the parent is
                frozen.
        """
        self.run_parent()
        given = {site: _one_by_one(of) for site, of in features.items()}
        with record_function('mmhkt.heads'), self.parent.rerun(given):
            logits = self.parent.in_order(
                self.parent.network(self._parent_inputs))
        self.logits[term] = logits.detach()
        with self.child.rerun({self.child.logits_site: _one_by_one([logits])}):
            return self.child.network(
                self.inputs, self.data_samples, mode='loss')

    def child_feature(self,
                      site: str,
                      call: int = -1,
                      sees: Optional[str] = None) -> Tensor:
        """The child's feature, as it arrives at a site, with its graph.

        Args:
            site (str): The child's site.
            call (int): Of which run of its module. Defaults to -1, the last.
            sees (str, optional): Of which pass, ``'own'`` or ``'mixture'``.
                Defaults to None, the first one.
        """
        if not self._passes or sees == 'own':
            self.native()
        return self.child.feature(site, call, self._terms.get(sees))

    def parent_feature(self, site: str, call: int = -1) -> Tensor:
        """The parent's feature, without a graph.

        Args:
            site (str): The parent's site.
            call (int): Of which run of its module. Defaults to -1, the last.
        """
        self.run_parent()
        return self.parent.feature(site, call)

    def forget(self) -> None:
        """Let go of all features, so that their memory is free."""
        self.child.forget()
        if self.parent is not None:
            self.parent.forget()

    def run_parent(self) -> None:
        """Read the parent's features, unless that is done.

        Methods need not call this. Before the child runs it is cheapest: the
        parent's intermediate results are then freed before the child's, which
        the backward pass needs, are kept.
        """
        if self._parent_inputs is None:
            with torch.no_grad(), record_function('mmhkt.extraction'):
                self._parent_inputs = self._images(self.inputs)
                self.parent.read(self._parent_inputs)

    def _run(self, term: str, mixers: Dict[str, Mixer]) -> Losses:
        kind = 'mixture' if mixers else 'own'
        if kind == 'own' and 'own' in self._terms:
            own = self._terms['own']
            if own in self.logits:
                self.logits[term] = self.logits[own]
            return self._passes[own]
        if kind == 'own' and self._passes:
            raise RuntimeError('The own pass of a step is its first one; say '
                               "sees='own' to have it.")
        self._terms.setdefault(kind, term)
        run = self.child.rerun if self._passes else self.child.record
        with record_function(f'mmhkt.child.{kind}'), run(mixers, term):
            self._passes[term] = self.child.network(
                self.inputs, self.data_samples, mode='loss')
        if self.child.logits_site is not None:
            self.logits[term] = self.child.logits(term)
        return self._passes[term]


def _one_by_one(values: List[Tensor]) -> Mixer:
    rest: Iterator[Tensor] = iter(values)
    return lambda _: next(rest)
