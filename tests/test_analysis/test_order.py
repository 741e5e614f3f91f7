# Copyright (c) mmhkt authors. All rights reserved.
import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset
from torch.utils.data import DataLoader

from mmhkt.analysis import shuffled
from mmhkt.analysis.order import as_they_come, cut_volumes


class Known(BaseDataset):
    """Of which all is known without reading an image."""

    def __init__(self, infos):
        self.given = infos
        super().__init__()

    def load_data_list(self):
        return [dict(info) for info in self.given]

    def get_data_info(self, idx):
        raise AssertionError('an image was read')

    def prepare_data(self, idx):
        return idx


def loader(infos, **settings):
    return DataLoader(Known(infos), **settings)


def volumes(*sizes):
    return [
        dict(volume=f'v{i}', slice=z, slices=size)
        for i, size in enumerate(sizes) for z in range(size)
    ]


def test_a_folder_in_the_order_of_its_classes():
    infos = [dict(gt_label=i // 40) for i in range(160)]
    given = loader(infos, batch_size=7)
    one, order = shuffled(given)
    shown = [int(i) for batch in one for i in batch]
    assert shown == order.positions.tolist() and sorted(shown) == list(
        range(160))
    assert [len(batch) for batch in one][:2] == [7, 7]
    # Any batch has all classes, on the whole.
    assert len({i // 40 for i in shown[:32]}) == 4
    # The given one stays as it is, and the order is always the same.
    assert [int(i) for batch in given for i in batch] == list(range(160))
    assert shuffled(given)[1].positions.tolist() == shown
    assert shuffled(given, seed=1)[1].positions.tolist() != shown
    few, order = shuffled(given, images=20)
    assert len(order.positions) == len(few.sampler) == 20
    assert len(set(order.positions // 40)) == 4
    # Loaders that make their batches themselves
    one, _ = shuffled(DataLoader(given.dataset, batch_sampler=[[0, 1]]))
    assert len(list(one)) == 160


def by_position(order):
    return order.folds[np.argsort(order.positions)]


def test_neighbours_are_held_out_together():
    # Unknown: eight blocks, half of them to be fitted on.
    _, order = shuffled(DataLoader(range(80)))
    folds = by_position(order)
    assert folds.tolist() == np.repeat([0, 1, 0, 2, 0, 1, 0, 2], 10).tolist()
    assert order.held_out == 'blocks of consecutive images'
    come = as_they_come(DataLoader(range(80)))
    assert come.folds.tolist() == folds.tolist()
    assert come.positions.tolist() == list(range(80))
    # In the order of classes: blocks of each class
    _, order = shuffled(loader([dict(gt_label=i // 80) for i in range(160)]))
    for part in np.split(by_position(order), 2):
        assert np.bincount(part).tolist() == [40, 20, 20]
        assert (np.diff(part) != 0).sum() == 7
    assert order.held_out.endswith('of each class')
    # Classes of one image each
    _, order = shuffled(loader([dict(gt_label=i) for i in range(40)]))
    assert np.bincount(order.folds).tolist() == [20, 10, 10]


@pytest.mark.parametrize('key, words', [('volume', 'whole volumes'),
                                        ('scene', 'whole scenes')])
def test_volumes_and_scenes_are_held_out_as_a_whole(key, words):
    infos = [{key: f'of {i // 5}', 'gt_label': 0} for i in range(40)]
    # Both passes of Sintel have the same scenes.
    given = DataLoader(ConcatDataset([Known(infos), Known(infos)]))
    _, order = shuffled(given)
    folds = by_position(order).reshape(16, 5)
    assert order.held_out == words
    assert (folds == folds[:, :1]).all()
    assert (folds[:8] == folds[8:]).all()
    assert np.bincount(folds[:8, 0]).tolist() == [4, 2, 2]
    # Of three there is none for each purpose.
    _, order = shuffled(loader(infos[:15]))
    assert 'blocks' in order.held_out


def test_volumes_are_shown_whole():
    given = loader(volumes(6, 5, 7, 4, 6))
    _, order = shuffled(given, images=10)
    infos = volumes(6, 5, 7, 4, 6)
    shown = [infos[i]['volume'] for i in order.positions]
    sizes = dict(v0=6, v1=5, v2=7, v3=4, v4=6)
    assert len(shown) >= 10 and len(set(shown)) < 4
    assert all(shown.count(name) == sizes[name] for name in set(shown))
    assert cut_volumes(given) == []
    assert cut_volumes(loader(infos[:8] + infos[11:])) == ['v1']
    assert cut_volumes(DataLoader(range(4))) == []
