# Copyright (c) mmhkt authors. All rights reserved.
"""A transformer brings up a convolutional child, and the reverse: trained."""
import across_families
import numpy as np
import pytest
from sklearn.datasets import load_digits

# Accuracy of the child of each parent; by chance 10.
LEAST = dict(transformer=40, convolutional=20)


@pytest.mark.slow
def test_trained_not_only_stepped(tmp_path):
    digits = load_digits()
    images = digits.images.repeat(2, 1).repeat(2, 2)  # 16 x 16
    np.savez(
        tmp_path / 'digits.npz',
        train_images=images[:1200],
        train_labels=digits.target[:1200],
        test_images=images[1200:],
        test_labels=digits.target[1200:])
    found = across_families.both_ways(
        across_families.arrays(tmp_path / 'digits.npz', 1200, 500),
        epochs=15,
        big=(32, 3, (8, 16, 24)),
        small=(16, 3, (4, 8, 12)))
    for parent, run in found.items():
        first, last = across_families.ends(run['loss'])
        assert last < 0.5 * first, parent
        assert run['accuracy'] > LEAST[parent], parent
        assert len(run['errors']) == 3
        for site, errors in run['errors'].items():
            first, last = across_families.ends(errors)
            assert last < first, (parent, site)
