# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, List

import torch
from torch import Tensor


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
