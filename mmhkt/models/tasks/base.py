# Copyright (c) mmhkt authors. All rights reserved.
from abc import ABCMeta, abstractmethod
from typing import Any, Callable, Dict, List, Optional, Sequence

from torch import Tensor, nn

from mmhkt.inheritance import Dissection


class Task(metaclass=ABCMeta):
    """What has to be known of the networks of one task.

    Args:
        network (nn.Module): One that the task owns.
    """

    # What errors call the task and the networks that it owns.
    name: str
    networks: str
    # Whether images get their final size only as the training does it.
    padded_in_training = False
    # Where the modules are whose blocks make its stages.
    backbone = 'backbone'
    # Sites that have a name of their own in such networks.
    presets: Dict[str, Sequence[str]] = {}

    def __init__(self, network: nn.Module):
        self.network = network

    @staticmethod
    @abstractmethod
    def owns(network: nn.Module) -> bool:
        """Whether a network is made for this task."""

    @staticmethod
    def as_parent(model: dict) -> dict:
        """What a network is built as to be a parent.

        Args:
            model (dict): Its config, of whatever task.

        Returns:
            dict: Defaults to the same.
        """
        return model

    def check_child(self) -> None:
        """Refuse a child that cannot be trained. Defaults to nothing.

        Raises:
            ValueError: With the reason.
        """

    @abstractmethod
    def logits_site(self, dissection: Dissection) -> Optional[str]:
        """Where the logits are; None of a network that has none, or several.
        """

    @abstractmethod
    def head_site(self, dissection: Dissection) -> Optional[str]:
        """Where the feature is that the head, or its classifier, is given;
        None where no module returns it."""

    @property
    def exclusive(self) -> bool:
        """Whether one position or image is of one class only. Defaults to
        True."""
        return True

    @abstractmethod
    def score(self, logits: Tensor, data_samples: list) -> Optional[Tensor]:
        """Accuracy in % of logits, None where there is none."""

    @abstractmethod
    def samples(self, labels: Tensor) -> list:
        """Annotations of a batch, as the network's loss takes them.

        Args:
            labels (Tensor): One an image.
        """

    @property
    def num_classes(self) -> Optional[int]:
        """How many classes the network tells apart, None where that is no
        question or not said. Defaults to None."""
        return None

    def tally(self, data_sample: Any) -> Dict[Any, int]:
        """How often each class occurs in an annotation (of maps, in how many
        positions), and as ``'ignored'`` what counts nowhere. Defaults to
        nothing."""
        return {}

    def check_labels(self, labels: Any, dataset: Any) -> List[int]:
        """Check the labels of a whole data set. Defaults to nothing.

        Args:
            labels (ndarray): One an image, whole numbers.
            dataset (Dataset): Theirs.

        Returns:
            list[int]: The classes without an image.

        Raises:
            ValueError: If a label stands for no class.
        """
        return []

    def match(self, parent: nn.Module) -> str:
        """Make a parent run as the network does. Defaults to nothing.

        Args:
            parent (nn.Module): The parent's network.

        Returns:
            str: What of its features is another by that; ``''`` if nothing.
        """
        return ''

    def once(self) -> Sequence[str]:
        """Children of the network that run with its own features only, not
        with mixtures. Defaults to none."""
        return ()

    def check(self, training: bool) -> Optional[Callable[[dict], None]]:
        """What each sample, as its pipeline packed it, is checked with;
        raises an error that names the file. Defaults to None.

        Args:
            training (bool): Whether it is one to train with.
        """
        return None
