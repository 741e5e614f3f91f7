# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional, Tuple

from torch import Tensor, nn
from torch.profiler import record_function

from mmhkt.registry import MODELS
from .regression import Regression
from .sites import Site
from .transfer import Transfer


class Mixture(nn.Module):
    """M: what a child's feature becomes, and is asked for, at one site.

    ``inherited, hint = mixture(q, z)``: the parent's feature is brought into
    the child's layout (Transfer) and blended with the child's own (Genetic
    Attention); and, where it is hinted, the child's feature is compared with
    the parent's in the parent's width.

    Args:
        site (Site): Where.
        attention (dict): Config of a Genetic Attention; `channels` is added.
        to_child (bool): Whether features will be mixed; without it nothing is
            learned for that. Defaults to True.
        to_parent (bool): Whether mixtures will be brought into the parent's
            layout. Defaults to False.
        scale (str): Of both ways, see :class:`mmhkt.inheritance.Transfer`.
            Defaults to ``'none'``.
        hinted (bool): Whether the child's features will be drawn to the
            parent's. What is mixed is then the feature whose
            :class:`mmhkt.inheritance.Regression` comes closest to the
            parent's, in place of a learned projection. Defaults to False.

    Raises:
        ValueError: If the two features cannot be aligned; names the site.
    """

    def __init__(self,
                 site: Site,
                 attention: dict,
                 to_child: bool = True,
                 to_parent: bool = False,
                 scale: str = 'none',
                 hinted: bool = False):
        super().__init__()
        self.site = site
        child, parent = site.child_layout, site.parent_layout
        self.transfer = self.back = self.regression = None
        try:
            if to_child or hinted:
                self.transfer = Transfer(
                    parent, child, scale, project=not hinted)
            if to_parent:
                self.back = Transfer(child, parent, scale)
        except ValueError as error:
            raise ValueError(
                f"The site of the child's \"{site.child}\" and the parent's "
                f'"{site.parent}" cannot be aligned: {error}.') from None
        if hinted:
            self.regression = Regression(
                child.channels,
                parent.channels,
                dim=1 if child.kind == 'map' else -1,
                alike=child.alike(parent))
        attention = {'channels': child.channels, **attention}
        self.attention = MODELS.build(attention) if to_child else None

    @property
    def weaned(self) -> bool:
        """Whether the mixture is, for now, the child's own feature."""
        return self.attention is None or self.attention.weaned

    def forward(self,
                q: Tensor,
                z: Tensor,
                hint: bool = True) -> Tuple[Tensor, Optional[Tensor]]:
        """Blend and compare.

        Args:
            q (Tensor): The child's feature.
            z (Tensor): The parent's feature, as extracted.
            hint (bool): Whether the hint is wanted now. Defaults to True.

        Returns:
            tuple[Tensor, Tensor | None]: The mixture, of q's shape, which is
            q itself where it is weaned; and the relative squared error of
            what the child makes of the parent's feature, a float32 scalar,
            None unless hinted.
        """
        mixes = not self.weaned
        hint = hint and self.regression is not None
        if not mixes and not hint:
            return q, None
        error = None
        with record_function('mmhkt.transfer'):
            z = self.transfer.fitted(z, like=q)
        if self.regression is None:
            v = self.transfer.project(z)
        else:
            with record_function('mmhkt.hint'):
                v, error = self.regression(q, z, error=hint, inverse=mixes)
        if mixes:
            q = self.attention(q, self.transfer.scaled(v, like=q))
        return q, error

    def in_parent(self, mixture: Tensor, z: Tensor) -> Tensor:
        """The mixture in the layout of the parent's feature ``z``."""
        return self.back(mixture, like=z)
