# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from torch import nn

from mmhkt.utils.hashing import hash_of_batch, hash_of_weights


def test_hash_of_weights():
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert hash_of_weights(one) == hash_of_weights(other)
    other.bias.data[1] += 1e-6
    assert hash_of_weights(one) != hash_of_weights(other)
    assert hash_of_weights(one) != hash_of_weights(one.bfloat16())


def sample(label):
    found = DataSample().set_gt_label(label)
    found.gt_sem_seg = PixelData(data=torch.full((1, 4, 4), label))
    return found


@pytest.mark.parametrize('change', [
    lambda batch: batch['inputs'].add_(1),
    lambda batch: batch['data_samples'][1].gt_label.add_(1),
    lambda batch: batch['data_samples'][1].gt_sem_seg.data.add_(1),
    lambda batch: batch.update(inputs=list(batch['inputs'])),
    lambda batch: batch.update(inputs=batch['inputs'].float()),
    lambda batch: batch.update(more=np.ones(3)),
    lambda batch: batch.update(more=[dict(x=1)]),
])
def test_hash_of_batch(change):

    def batch():
        return dict(
            inputs=torch.arange(96, dtype=torch.uint8).reshape(2, 3, 4, 4),
            data_samples=[sample(0), sample(1)])

    assert hash_of_batch(batch()) == hash_of_batch(batch())
    assert hash_of_batch(batch()) != hash_of_batch(batch(), 'what was before')
    changed = batch()
    change(changed)
    assert hash_of_batch(changed) != hash_of_batch(batch())


class Backwards(DataSample):
    """As if the set that holds the names of its fields had another order."""

    def items(self):
        return iter(list(super().items())[::-1])


def test_hash_does_not_depend_on_the_order_of_fields():
    hashes = set()
    for kind in (DataSample, Backwards):
        sample = kind()
        sample.set_gt_label(3)
        sample.set_gt_score(torch.rand(4, generator=torch.manual_seed(0)))
        hashes.add(hash_of_batch(dict(data_samples=[sample])))
    assert len(hashes) == 1


def test_hash_of_a_large_batch_takes_a_sample():
    images = torch.zeros(64, 3, 64, 64)
    first = hash_of_batch([images])
    images[:, :, :, ::4] += 1
    assert hash_of_batch([images]) != first


def test_extra_state_is_hashed():

    class Counting(nn.Linear):
        state = 3

        def get_extra_state(self):
            return dict(state=self.state)

        def set_extra_state(self, state):
            self.state = state['state']

    module = Counting(2, 2)
    before = hash_of_weights(module)
    assert hash_of_weights(module) == before
    module.state = 4
    assert hash_of_weights(module) != before
