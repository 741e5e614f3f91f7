# Copyright (c) mmhkt authors. All rights reserved.
from typing import Any, Callable, Optional

from torch.utils.data import Dataset

from mmhkt.registry import DATASETS


@DATASETS.register_module()
class CheckedDataset(Dataset):
    """Checks every sample. Otherwise it is the data set that it holds.

    Args:
        dataset (dict): Config of the data set.
        check (Callable, optional): Is given every sample and raises an error
            if something is wrong with it. Defaults to None.
    """

    def __init__(self,
                 dataset: dict,
                 check: Optional[Callable[[Any], None]] = None):
        self.dataset = DATASETS.build(dataset)
        self.check = check

    def __getitem__(self, index: int) -> Any:
        sample = self.dataset[index]
        if self.check is not None:
            self.check(sample)
        return sample

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # Absent while a worker unpickles it.
        if name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)
