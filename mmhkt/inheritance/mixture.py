# Copyright (c) mmhkt authors. All rights reserved.
import torch.nn.functional as F
from torch import Tensor, nn

from mmhkt.registry import MODELS
from .sites import Site
from .transfer import Transfer


class Mixture(nn.Module):
    """M: what a child's feature becomes at one site.

    The parent's feature is brought into the child's layout (Transfer) and
    blended with the child's own (Genetic Attention).

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
            parent's, :meth:`hint`. Defaults to False.

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
        try:
            self.transfer = self.back = None
            if to_child or hinted:
                self.transfer = Transfer(
                    parent, child, scale, regressed=hinted)
            if to_parent:
                self.back = Transfer(child, parent, scale)
        except ValueError as error:
            raise ValueError(
                f"The site of the child's \"{site.child}\" and the parent's "
                f'"{site.parent}" cannot be aligned: {error}.') from None
        attention = {'channels': child.channels, **attention}
        self.attention = MODELS.build(attention) if to_child else None

    def forward(self, q: Tensor, z: Tensor) -> Tensor:
        """Blend.

        Args:
            q (Tensor): The child's feature.
            z (Tensor): The parent's feature, as extracted.

        Returns:
            Tensor: The mixture, of q's shape.
        """
        return self.attention(q, self.transfer(z, like=q))

    def fit(self, q: Tensor, z: Tensor) -> None:
        """Let what is regressed see a batch, before :meth:`forward` and
        :meth:`hint`, whose arguments it has."""
        self.transfer.fit(z, like=q)

    def hint(self, q: Tensor, z: Tensor) -> Tensor:
        """How far the child's feature is from the parent's.

        Args:
            q (Tensor): The child's feature.
            z (Tensor): The parent's feature, as extracted.

        Returns:
            Tensor: The :func:`relative_error`, in the parent's width.
        """
        return relative_error(
            self.transfer.regress(q), self.transfer.fitted(z, like=q))

    def in_parent(self, mixture: Tensor, z: Tensor) -> Tensor:
        """The mixture in the layout of the parent's feature ``z``."""
        return self.back(mixture, like=z)


def relative_error(q: Tensor, v: Tensor) -> Tensor:
    """Squared distance to a target over the target's square; no gradient
    reaches the target."""
    q, v = q.float(), v.detach().float()
    return F.mse_loss(q, v) / v.square().mean().clamp_min(1e-12)
