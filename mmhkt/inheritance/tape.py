# Copyright (c) mmhkt authors. All rights reserved.
import copy
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import (Any, Callable, Container, Dict, Iterator, List, Optional,
                    Sequence, Tuple)

import torch
from torch import Tensor, nn

from .layout import features, pick, put
from .statistics import RunningStatistics

# Ends a path that means what the module is given, not what it returns.
INPUT = '@in'

# What a site does to the feature that passes it.
Mixer = Callable[[Tensor], Tensor]


class Stop(BaseException):
    """Ends a forward pass whose last wanted feature is there."""


@dataclass
class Pass:
    """What the taps of a network do in one forward pass.

    Attributes:
        name (str): Under which outputs are noted.
        mixers (dict[str, list]): Module -> pairs of the number of an output
            and what is done to it on its way.
        given (dict[str, Iterator]): Module -> outputs that it returns, call
            by call, without being run.
        note (Container[str]): Modules, and inputs of modules, to be noted.
        left (int, optional): How many outputs are noted before the network
            is stopped. Defaults to None: it runs to its end.
    """
    name: str
    mixers: Dict[str, List[Tuple[Optional[int],
                                 Mixer]]] = field(default_factory=dict)
    given: Dict[str, Iterator] = field(default_factory=dict)
    note: Container[str] = ()
    left: Optional[int] = None


class Tap:
    """Stands where a module's ``forward`` was, and does what the tape says.

    It is put on once and stays while the network is trained. In ``forward``,
    not in a hook, it also sees modules whose ``forward`` is called directly.
    """

    def __init__(self, name: str, module: nn.Module, tape: 'Tape'):
        self.name = name
        self.tape = tape
        self.inplace = getattr(module, 'inplace', False)
        self.module = module
        self.forward = module.forward

    def __call__(self, *args, **kwargs):
        return self.tape.answer(self, args, kwargs)

    def __deepcopy__(self, memo: dict) -> Callable:
        # A copy of the network, of an EMA say, has no tap.
        return copy.deepcopy(self.forward, memo)

    def __reduce__(self) -> tuple:
        # Nor has one that a hook writes to a file.
        return getattr, (self.module, 'forward')


class Tape:
    """What passed the taps of a network in a training step.

    Outputs are noted by pass, module and call. Between passes the taps let
    everything through.

    Activation checkpointing runs parts of the network again in the backward
    pass. The tape then answers as it did the first time, from what it wrote
    down of that part, see :meth:`watch`.

    Args:
        role (str): What errors call the network.
        statistics (RunningStatistics): Of the network.
    """

    def __init__(self, role: str, statistics: RunningStatistics):
        self.role = role
        self.statistics = statistics
        self._notes: Dict[str, Dict[str, list]] = {}
        # (pass, module) -> what its tap returned last, mixed or not.
        self._returned: Dict[Tuple[str, str], Any] = {}
        self._pass: Optional[Pass] = None
        # Of the checkpointed regions that are being run, what every tap did.
        self._regions: List[list] = []
        self._recomputed: Optional[Iterator] = None

    @contextmanager
    def run(self, forward: Pass) -> Iterator:
        """Do this while the network runs."""
        self._notes[forward.name] = {}
        self._pass = forward
        try:
            yield
        except Stop:
            pass
        finally:
            self._pass = None

    def answer(self, tap: Tap, args: tuple, kwargs: dict) -> Any:
        """What a tapped module returns."""
        if self._recomputed is not None:
            return self._answer_again(tap, args, kwargs)
        forward = self._pass
        if forward is None:
            self._write_down(True)
            return tap.forward(*args, **kwargs)
        name = tap.name
        runs = name not in forward.given
        if runs:
            if name + INPUT in forward.note:
                given = features(args)[:1]
                if tap.inplace:
                    given = [feature.clone() for feature in given]
                self.note(forward, name + INPUT, given)
                if forward.left == 0:
                    raise Stop
            output = tap.forward(*args, **kwargs)
            if name in forward.note:
                self.note(forward, name, output)
        else:
            output = held(next(forward.given[name]))
        mixers = forward.mixers.get(name, ())
        with self._unseen_by_checkpoints():
            for index, mixer in mixers:
                output = put(output, mixer(pick(output, index)), index)
            if self._regions and (mixers or not runs):
                self._write_down(runs, output, random_state())
            else:
                self._write_down(True)
        self._returned[forward.name, name] = output
        if forward.left == 0:
            raise Stop
        return output

    def note(self, forward: Pass, name: str, output: Any) -> None:
        """Note what a module returned, or was given, in a pass."""
        notes = self._notes[forward.name].setdefault(name, [])
        notes.append((held(output), versions(output)))
        if forward.left:
            forward.left -= 1

    def noted(self, name: str, passes: Sequence[str]) -> list:
        """Pairs of an output and the versions that its tensors then had.

        Args:
            name (str): The module, or its input.
            passes (Sequence[str]): Where to look, one after another.

        Raises:
            KeyError: If there is nothing.
        """
        for one in passes:
            if name in self._notes.get(one, ()):
                return self._notes[one][name]
        raise KeyError(name)

    def notes(self, name: str) -> Dict[str, list]:
        """All that was noted in a pass; may be filled from elsewhere."""
        return self._notes.setdefault(name, {})

    def returned(self, name: str, passes: Sequence[str]) -> Any:
        """What a tap returned last, with what was mixed in, in the first of
        some passes that it was met in."""
        return next(self._returned[one, name] for one in passes
                    if (one, name) in self._returned)

    def forget(self) -> None:
        """Let go of everything noted, so that its memory is free."""
        self._notes, self._returned = {}, {}

    # -------------------------------------------- activation checkpointing

    def watch(self) -> Tuple[Callable, Callable]:
        """What makes the two contexts of torch's ``checkpoint``: around the
        first run of a region, and around each recomputation of it."""
        region: list = []
        return partial(self._first_run,
                       region), partial(self._recomputation, region)

    @contextmanager
    def _first_run(self, region: list) -> Iterator:
        self._regions.append(region)
        try:
            yield
        finally:
            self._regions.pop()

    @contextmanager
    def _recomputation(self, region: list) -> Iterator:
        before, self._recomputed = self._recomputed, iter(region)
        try:
            # The region has been learned from when it first ran.
            with self.statistics.kept():
                yield
        finally:
            self._recomputed = before

    def _answer_again(self, tap: Tap, args: tuple, kwargs: dict) -> Any:
        runs, output, state = next(self._recomputed)
        own = tap.forward(*args, **kwargs) if runs else None
        with self._unseen_by_checkpoints(always=True):
            self._write_down(runs, output, state)
            if state is None:
                return own
            set_random_state(state)
            return copied(output)

    def _write_down(self,
                    runs: bool,
                    output: Any = None,
                    state: Optional[list] = None) -> None:
        """Whether a module ran; and, unless it simply returned its own, what
        its tap returned and where the random numbers were then."""
        for region in self._regions:
            # What follows may write to the output itself.
            region.append((runs, copied(output), state))

    @contextmanager
    def _unseen_by_checkpoints(self, always: bool = False) -> Iterator:
        # What a tap computes is not computed again, so that a checkpoint
        # must not count on it.
        if not (self._regions or always):
            yield
            return
        with torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
            yield


def random_state() -> list:
    """Where the generators of the CPU and of the present GPU are."""
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return [torch.get_rng_state(), on_gpu and torch.cuda.get_rng_state()]


def set_random_state(state: list) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not False:
        torch.cuda.set_rng_state(state[1])


def held(output: Any, tensor: Callable = lambda tensor: tensor) -> Any:
    """An output in containers of its own: networks write to lists that a
    module returned."""
    if isinstance(output, Tensor):
        return tensor(output)
    if type(output) in (list, tuple):
        return type(output)(held(item, tensor) for item in output)
    if type(output) is dict:
        return {key: held(item, tensor) for key, item in output.items()}
    return output


def copied(output: Any) -> Any:
    """An output in tensors of its own, with their graphs."""
    return held(output, Tensor.clone)


def versions(output: Any) -> List[int]:
    """How often each tensor of an output was written to."""
    return [feature._version for feature in features(output)]


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor
