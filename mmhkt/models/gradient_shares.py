# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, List, Sequence

import torch
from torch import Tensor

from mmhkt.inheritance import Extraction
from mmhkt.methods import Method


def gradient_shares(terms: Dict[str, Tensor],
                    sites: Dict[str, List[Tensor]]) -> Dict[str, float]:
    """How much of what pulls at each site's feature each loss term is.

    The norm of the term's gradient at the feature, as a share of the sum of
    all terms' norms there: 1 is a term that pulls alone. Terms may pull
    against each other, which norms do not show. One backward pass a term;
    nothing is added to the gradient of any parameter.

    Args:
        terms (dict[str, Tensor]): Scalars, weighted as they are added up.
        sites (dict[str, list[Tensor]]): Site -> the feature in each pass and
            at each run of its module, whose gradients are added up where
            their shapes are the same.

    Returns:
        dict[str, float]: ``'<term>.<site>'`` -> share, 0 to 1; without the
        sites that no term reaches.
    """
    features = [(site, feature) for site, several in sites.items()
                for feature in several if feature.requires_grad]
    if not features:
        return {}
    norms: Dict[str, Dict[str, Tensor]] = {site: {} for site in sites}
    for term, loss in terms.items():
        if not loss.requires_grad:
            continue
        pulls: Dict[tuple, Tensor] = {}
        for (site, _), grad in zip(
                features,
                torch.autograd.grad(
                    loss, [feature for _, feature in features],
                    retain_graph=True,
                    allow_unused=True)):
            if grad is not None:
                key = site, grad.shape
                pulls[key] = pulls[key] + grad if key in pulls else grad
        for (site, _), grad in pulls.items():
            square = grad.float().square().sum()
            norms[site][term] = norms[site].get(term, 0) + square
    shares = {}
    for site, of_terms in norms.items():
        total = sum(float(square)**.5 for square in of_terms.values())
        for term, square in of_terms.items():
            if total > 0:
                shares[f'{term}.{site}'] = float(square)**.5 / total
    return shares


def shares_of(losses: Dict[str, Tensor], methods: Sequence[Method],
              child: Extraction) -> Dict[str, float]:
    """What each term pulls at the sites of each method.

    Args:
        losses (dict[str, Tensor]): As :meth:`Inheritance.loss` gives them.
        methods (Sequence[Method]): Of them all.
        child (Extraction): Of the pass that they are of.

    Returns:
        dict[str, float]: ``'<method>.share.<term>.<site>'`` -> share, see
        :func:`gradient_shares`.
    """
    terms: Dict[str, Tensor] = {}
    for name, value in losses.items():
        if 'loss' not in name:
            continue
        # 'native.decode.loss_ce' and its like are one term; 'hkt.hint.loss'
        # is the method's own.
        owner, _, rest = name.partition('.')
        term = owner if owner == 'native' else (
            f'{owner}.{rest.partition(".")[0]}')
        value = value if isinstance(value, Tensor) else sum(value)
        terms[term] = terms.get(term, 0) + value.mean()
    shares = {}
    for method in methods:
        found = gradient_shares(terms, {
            site.child: child.everywhere(site.child)
            for site in method.sites
        })
        for name, share in found.items():
            name = name.removeprefix(f'{method.name}.')
            shares[f'{method.name}.share.{name}'] = share
    return shares
