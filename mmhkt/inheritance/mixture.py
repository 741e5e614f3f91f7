# Copyright (c) mmhkt authors. All rights reserved.
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

    Raises:
        ValueError: If the two features cannot be aligned; names the site.
    """

    def __init__(self,
                 site: Site,
                 attention: dict,
                 to_child: bool = True,
                 to_parent: bool = False,
                 scale: str = 'none'):
        super().__init__()
        self.site = site
        child, parent = site.child_layout, site.parent_layout
        try:
            self.transfer = self.back = None
            if to_child:
                self.transfer = Transfer(parent, child, scale)
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

    def in_parent(self, mixture: Tensor, z: Tensor) -> Tensor:
        """The mixture in the layout of the parent's feature ``z``."""
        return self.back(mixture, like=z)
