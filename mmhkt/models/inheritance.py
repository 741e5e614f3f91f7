# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import ExitStack, contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmhkt.inheritance import (EVERY_STAGE, Classes, Dissection, Extraction,
                               bound_gradients, find_sites,
                               watched_checkpoints)
from mmhkt.methods import Method, Step
from .gradient_shares import shares_of
from .pairing import count_stages
from .parent import Parent
from .tasks import Task, task_of
from .watch import Watch


class Inheritance(BaseModel):
    """What a child is trained with: its loss, with all that it inherits.

    It stands beside the child, which the runner trains, saves and deploys as
    it is, and owns what only training needs: the parent and the methods with
    what they learn. In distributed runs it is what is wrapped. The parent is
    no submodule: it is neither saved, nor optimised, nor copied.

    Args:
        child (BaseModel): The network that will be deployed, after every
            conversion of its modules (SyncBN).
        parent (Parent, optional): Where the methods need one.
        methods (Sequence[Method]): How the child inherits.
        image (Tensor): A batch of images (B, 3, H, W) as the child's data
            preprocessor makes them, for one dry run of both networks.
        task (dict, optional): Settings of the child's task. Defaults to None.
        compile_cfg (dict, optional): Arguments of ``torch.compile`` for the
            child. Defaults to None: it is not compiled.
        classes (Sequence[str], optional): Names of the child's classes, to
            be matched with its parent's. Defaults to None, not known.

    Raises:
        ValueError: If a site does not exist or cannot be aligned, or a method
            lacks its parent or the pass that it is to see.
    """

    def __init__(self,
                 child: BaseModel,
                 parent: Optional[Parent],
                 methods: Sequence[Method],
                 image: Tensor,
                 task: Optional[dict] = None,
                 compile_cfg: Optional[dict] = None,
                 classes: Optional[Sequence[str]] = None):
        super().__init__(data_preprocessor=child.data_preprocessor)
        self.child = child
        self.task = task_of(child, task)
        self.task.check_child()
        # In a tuple, so that torch does not register it.
        self._parent = (parent, )
        self.methods = nn.ModuleList(methods)
        self.compile_cfg = compile_cfg
        self.watch = Watch()
        # Whether the next step measures what pulls at the sites, and what
        # the last one found, by method, term and site.
        self.measures_shares = False
        self.shares: Dict[str, float] = {}
        # Of the last forward pass, of what is watched in it.
        self._passed: Dict[str, Tensor] = {}
        # What is said of the stages that were found; and, loudly, where the
        # child has more.
        self.counts: List[str] = []
        self.halves: List[str] = []
        _number(self.methods)
        self._dissect(image, classes)

    @property
    def parent(self) -> Optional[Parent]:
        """Parent: The frozen parent, None where no method needs one."""
        return self._parent[0]

    def _dissect(self, image: Tensor,
                 classes: Optional[Sequence[str]]) -> None:
        image = image.to(next(self.child.parameters()).device)
        child = self._extraction = _extraction(self.task, image, 'child',
                                               classes)
        if child.logits_site is not None:
            child.want([child.logits_site])
        parent = None
        if self.parent is not None:
            self.parent.matched = self.task.match(self.parent.network)
            parent = self.parent.extraction = _extraction(
                task_of(self.parent.network), self.parent.images(image),
                'parent', self.parent.classes)
            parent.order_like(child.classes)
        for method in self.methods:
            sites = []
            if method.needs_parent:
                if parent is None:
                    raise ValueError(
                        f'{type(method).__name__} needs a parent.')
                if method.sites_wanted is not None:
                    sites = find_sites(method.sites_wanted, child, parent)
                if (isinstance(method.sites_wanted, str)
                        and method.sites_wanted in EVERY_STAGE):
                    count, half = count_stages(method, sites, child, parent)
                    self.counts.append(count)
                    if half:
                        self.halves.append(half)
            method.connect(sites, child, parent)
        if self.parent is not None:
            self.parent.prepare(image)
        for method in self.methods:
            if method.sees == 'mixture' and not any(m.mixes()
                                                    for m in self.methods):
                raise ValueError(
                    f'{type(method).__name__} is to see the mixture, but no '
                    'method in the list mixes: add mmhkt.HKT, say, or leave '
                    "sees='mixture' out.")

    def extractions(self) -> List[Extraction]:
        """Of the child and, if there is one, of the parent."""
        found = [self._extraction]
        if self.parent is not None:
            found.append(self.parent.extraction)
        return found

    @contextmanager
    def tapped(self) -> Iterator:
        """Put the taps on child and parent: within this it can be trained.

        The plain child is without them before and after. Whatever optimiser
        trains the child, its gradients are bounded where a method asks for
        that: after a gradient scaler has divided, and before the step.
        """
        with ExitStack() as stack:
            bounding = register_optimizer_step_pre_hook(
                lambda optimiser, *_: self._bound(optimiser))
            stack.callback(bounding.remove)
            stack.enter_context(self._extraction.tapped(self.compile_cfg))
            regions = [self._extraction.tape.regions]
            if self.parent is not None:
                stack.enter_context(
                    self.parent.extraction.tapped(self.parent.compile_cfg))
                regions.append(self.parent.extraction.tape.regions)
            stack.enter_context(watched_checkpoints(regions))
            yield

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Any:
        """The loss with what is inherited; in other modes the child's own
        forward."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.child(inputs, data_samples, mode=mode)

    def loss(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        """All loss terms, by name.

        The native loss, ``native.*``, enters once, with the weight that the
        first method gives it; every other name begins with its method's.
        """
        step = Step(self._extraction, self.parent, inputs, data_samples)
        try:
            losses = self._loss(step)
            if self.watch.on:
                self._passed = self._sums(inputs)
            if self.measures_shares:
                self.shares = shares_of(losses, self.methods, self._extraction)
            return losses
        finally:
            step.forget()

    @torch.no_grad()
    def _sums(self, inputs: Tensor) -> Dict[str, Tensor]:
        """A sum over each feature that was read, finite if the feature is.
        """
        features = {'the images': inputs}
        for role, extraction in (('parent', self.parent
                                  and self.parent.extraction),
                                 ('child', self._extraction)):
            for site, feature in extraction.seen() if extraction else ():
                features[f'the {role}\'s "{site}"'] = feature
        return {
            name: feature.sum(dtype=torch.float32)
            for name, feature in features.items()
        }

    def _loss(self, step: Step) -> Dict[str, Tensor]:
        losses = {}
        if any(m.needs_parent and m.active() for m in self.methods):
            step.run_parent()
        native = self.methods[0].weight('native') > 0
        mixing = [method for method in self.methods if method.mixes()]
        # The first pass is the whole one.
        if native or len(mixing) != 1 or any(m.needs_own()
                                             for m in self.methods):
            own = step.native()
            if native:
                losses.update(self.methods[0].weighted('native', own))
        found = {
            method: method(step)
            for method in sorted(self.methods, key=lambda m: m not in mixing)
        }
        for method in self.methods:
            for key, value in found[method].items():
                losses[f'{method.name}.{key}'] = value
        for term, logits in step.logits.items():
            score = self.task.score(logits, step.data_samples)
            if score is not None:
                losses[f'{term}.accuracy'] = score
        return losses

    def parse_losses(self, losses: Dict[str, Tensor]) -> tuple:
        """The child's own: the sum that is minimised, and what is logged."""
        loss, logged = self.child.parse_losses(losses)
        if not self.watch.on:
            return loss, logged
        terms = {
            f'the term {name}': value
            for name, value in logged.items()
            if 'loss' in name and name != 'loss'
        }
        self.watch.note({**self._passed, **terms, 'the loss': loss}, loss)
        self._passed = {}
        return loss, logged

    def _bound(self, optimiser: Optimizer) -> None:
        ratios = [r for r in (m.bounds() for m in self.methods) if r]
        if not ratios:
            return
        # There may be other networks, with optimisers of their own.
        trained = {id(p) for g in optimiser.param_groups for p in g['params']}
        own = [p for p in self.child.parameters() if id(p) in trained]
        # A fused optimiser divides by the scaler's factor itself.
        scale = getattr(optimiser, 'grad_scale', None)
        bound_gradients(
            own,
            min(ratios),
            scale=1.0 if scale is None else scale,
            rate=max(float(g['lr']) for g in optimiser.param_groups))

    def transfer_parameters(self) -> List[nn.Parameter]:
        """What only training needs."""
        return list(self.methods.parameters())

    def transfer_state_dict(self) -> Dict[str, Tensor]:
        """Weights of what only training needs."""
        return self.methods.state_dict()

    def _apply(self, fn, *args, **kwargs):
        if self.parent is not None:
            self.parent._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)


def _extraction(task: Task,
                image: Tensor,
                role: str,
                classes: Optional[Sequence[str]] = None) -> Extraction:
    image = image.to(next(task.network.parameters()).device)
    dissection = Dissection(task.network, image, role, task.backbone)
    return Extraction(task.network, dissection, task.head_site(dissection),
                      task.logits_site(dissection), task.once(), task.presets,
                      Classes(classes and tuple(classes), task.exclusive))


def _number(methods: Sequence[Method]) -> None:
    names = [method.name for method in methods]
    for method in methods:
        if 'loss' in method.name:
            raise ValueError(
                f'{type(method).__name__}: the name of a method must not hold '
                '"loss": mmengine adds up whatever is logged under such a '
                'name, accuracies too. Call the class otherwise.')
    for i, (method, name) in enumerate(zip(methods, names)):
        if names.count(name) > 1:
            method.name = f'{name}{names[:i].count(name)}'
