# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mmengine.model import BaseModel
from rich.table import Table
from torch import Tensor, nn

from mmhkt.inheritance import Dissection, Extraction, find_sites
from mmhkt.methods import Method, Step
from .parent import Parent
from .tasks import Task, task_of


class HereditaryModel(BaseModel):
    """Child, parent and methods as one trainable model.

    Outwardly it is the child: its ``state_dict`` has the child's keys alone,
    it loads the child's checkpoints, evaluates by the child's own code, and
    has the child's attributes (so that hooks written for the child find
    them). What the methods learn is trained with it, and saved by
    :meth:`transfer_state_dict`. The parent is no submodule: it is neither
    saved, nor optimised, nor copied.

    Args:
        child (BaseModel): The network that will be deployed.
        parent (Parent, optional): Where the methods need one.
        methods (Sequence[Method]): How the child inherits.
        image (Tensor): A batch of images (B, 3, H, W) as the child's data
            preprocessor makes them, for one dry run of both networks.
        task (dict, optional): Settings of the child's task. Defaults to None.

    Raises:
        ValueError: If a site does not exist or cannot be aligned, or a method
            lacks its parent.
    """

    def __init__(self,
                 child: BaseModel,
                 parent: Optional[Parent],
                 methods: Sequence[Method],
                 image: Tensor,
                 task: Optional[dict] = None):
        super().__init__(data_preprocessor=child.data_preprocessor)
        self.child = child
        self.task = task_of(child, task)
        # In a tuple, so that torch does not register it.
        self._parent = (parent, )
        self.methods = nn.ModuleList(methods)
        _number(self.methods)
        self._register_state_dict_hook(_keep_child_only)
        self._dissect(image)

    @property
    def parent(self) -> Optional[Parent]:
        """Parent: The frozen parent, None where no method needs one."""
        return self._parent[0]

    def _dissect(self, image: Tensor) -> None:
        child = self._extraction = _extraction(self.task, image, 'child')
        child.want([child.logits_site], rerun=True)
        parent = None
        if self.parent is not None:
            self.task.match(self.parent.network)
            # Held by the parent, which copies of this model share.
            parent = self.parent.extraction = _extraction(
                task_of(self.parent.network), self.parent.images(image),
                'parent')
            parent.cache = self.parent.feature_cache()
        for method in self.methods:
            sites = []
            if method.needs_parent:
                if parent is None:
                    raise ValueError(
                        f'{type(method).__name__} needs a parent.')
                if method.sites_wanted is not None:
                    sites = find_sites(method.sites_wanted, child, parent)
            method.connect(sites, child, parent)

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Any:
        """The child's forward; in mode ``'loss'`` with what is inherited."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.child(inputs, data_samples, mode=mode)

    def loss(self, inputs: Tensor, data_samples: list) -> Dict[str, Tensor]:
        """All loss terms, by name.

        The native loss, ``native.*``, enters once, with the weight that the
        first method gives it; every other name begins with its method's.
        """
        step = Step(self._extraction, self.parent, inputs, data_samples)
        losses = {}
        if any(m.needs_parent and m.active() for m in self.methods):
            step.run_parent()
        if self.methods[0].weight('native') > 0:
            losses.update(self.methods[0].weighted('native', step.native()))
        for method in self.methods:
            losses.update({
                f'{method.name}.{key}': value
                for key, value in method(step).items()
            })
        for term, logits in step.logits.items():
            score = self.task.score(logits, data_samples)
            if score is not None:
                losses[f'{term}.accuracy'] = score
        step.forget()
        return losses

    def val_step(self, data: Any) -> list:
        """The child's own."""
        return self.child.val_step(data)

    def test_step(self, data: Any) -> list:
        """The child's own."""
        return self.child.test_step(data)

    def init_weights(self) -> None:
        """Initialise the child as it would be alone."""
        self.child.init_weights()

    def get_layer_depth(self, param_name: str) -> Tuple[int, int]:
        """The child's own, for learning rates that decay by layer."""
        return self.child.get_layer_depth(param_name.removeprefix('child.'))

    def transfer_parameters(self) -> List[nn.Parameter]:
        """What only training needs."""
        return list(self.methods.parameters())

    def transfer_state_dict(self) -> Dict[str, Tensor]:
        """Weights of what only training needs."""
        return self.methods.state_dict()

    def pairing(self) -> Table:
        """The sites of all methods: shapes, adapters and costs."""
        table = Table(title='Pairing', caption_justify='left')
        for column in ('method', 'child', 'shape', 'parent', 'shape',
                       'adapter', 'extra parameters'):
            table.add_column(column, no_wrap=column in ('child', 'parent'))
        notes = [f'native loss x {self.methods[0].weights["native"]:g}']
        for method in self.methods:
            rows = method.describe()
            for site, row in zip(method.sites, rows):
                table.add_row(method.name, site.child,
                              str(site.child_layout), site.parent,
                              str(site.parent_layout), row['adapter'],
                              f'{row["parameters"]:,}')
            reruns = dict.fromkeys(row['reruns'] for row in rows)
            if method is self.methods[0] and method.weights['native'] == 0:
                # Its pass is the child's one.
                reruns = ['nothing'] if rows else []
            notes += [f'{method.name} runs once more: {r}' for r in reruns]
        extra = sum(p.numel() for p in self.transfer_parameters())
        notes.append(f'learned in training only: {extra:,} parameters')
        if self.parent is not None:
            notes.append("the parent's input is re-normalised: "
                         f'{self.parent.renormalise.extra_repr()}')
        table.caption = '\n'.join(notes)
        return table

    def _apply(self, fn, *args, **kwargs):
        if self.parent is not None:
            self.parent._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # The counterpart of _keep_child_only: a plain child's keys come in.
        # What only training needs is not in there and stays as it is.
        for key in [k for k in state_dict if k.startswith(prefix)]:
            state_dict[f'{prefix}child.{key[len(prefix):]}'] = state_dict.pop(
                key)
        for name, module in self.named_children():
            if name != 'child':
                module.state_dict(
                    destination=state_dict, prefix=f'{prefix}{name}.')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # '_modules' is not there yet while unpickling or copying.
            child = self.__dict__.get('_modules', {}).get('child')
            if child is None:
                raise
            return getattr(child, name)


def _keep_child_only(model: HereditaryModel, state_dict: dict, prefix: str,
                     local_metadata: dict) -> None:
    metadata = getattr(state_dict, '_metadata', {})
    for entries in (state_dict, metadata):
        for key in [k for k in entries if k.startswith(prefix)]:
            value = entries.pop(key)
            name = key[len(prefix):]
            if name.startswith('child.'):
                entries[prefix + name[len('child.'):]] = value
            elif name == 'child':  # of the metadata
                entries[prefix[:-1]] = value


def _extraction(task: Task, image: Tensor, role: str) -> Extraction:
    image = image.to(next(task.network.parameters()).device)
    dissection = Dissection(task.network, image, role, task.backbone)
    return Extraction(task.network, dissection, task.head_site(dissection),
                      task.logits_site(dissection), task.once(), task.presets)


def _number(methods: Sequence[Method]) -> None:
    names = [method.name for method in methods]
    for i, (method, name) in enumerate(zip(methods, names)):
        if names.count(name) > 1:
            method.name = f'{name}{names[:i].count(name)}'
