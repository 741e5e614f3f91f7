# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import (Any, Callable, Container, Dict, Iterator, List, Optional,
                    Sequence, Set, Tuple)

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .checkpointing import Regions
from .exchange import Substitute
from .outputs import copied, features, given, pick, put

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


# Between passes the taps let everything through.
NONE = Pass('')


class Tap(Substitute):
    """Does what the tape says; it stays while the network is trained.

    Args:
        name (str): Of the module.
        module (nn.Module): Where it will stand.
        tape (Tape): What it asks.
        run (Callable, optional): The module's compiled ``forward``. Defaults
            to None, as it is.
    """

    def __init__(self,
                 name: str,
                 module: nn.Module,
                 tape: 'Tape',
                 run: Optional[Callable] = None):
        super().__init__(module)
        self.name = name
        self.tape = tape
        self.run = run or self.forward
        self.inplace = getattr(module, 'inplace', False)

    def __call__(self, *args, **kwargs):
        return self.tape.answer(self, args, kwargs)


class Tape:
    """What passed the taps of a network in a training step.

    Outputs are noted by pass, module and call.

    Args:
        regions (Regions): Of the network that activation checkpointing runs
            again; the tape then answers as it did the first time.
    """

    def __init__(self, regions: Regions):
        self.regions = regions
        # Modules whose outputs are copied when they are noted.
        self.copied: Set[str] = set()
        self._notes: Dict[str, Dict[str, list]] = {}
        # (pass, module) -> what its tap returned last, mixed or not.
        self._returned: Dict[Tuple[str, str], Any] = {}
        self._pass = NONE

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
            self._pass = NONE

    def answer(self, tap: Tap, args: tuple, kwargs: dict) -> Any:
        """What a tapped module returns."""
        if self.regions.recomputing:
            return self.regions.answer_again(tap.run, args, kwargs)
        forward, name = self._pass, tap.name
        runs = name not in forward.given
        if runs:
            if name + INPUT in forward.note:
                first = given(args, kwargs)
                if tap.inplace:
                    first = [feature.clone() for feature in first]
                self._note(forward, name + INPUT, first)
            output = tap.run(*args, **kwargs)
            if name in forward.note:
                self._note(forward, name, output)
        else:
            output = held(next(forward.given[name]))
        mixers = forward.mixers.get(name, ())
        with self.regions.unseen():
            for index, mixer in mixers:
                output = put(output, mixer(pick(output, index)), index)
            self.regions.write_down(runs, bool(mixers) or not runs, output)
        if forward is not NONE:
            self._returned[forward.name, name] = output
        return output

    def _note(self, forward: Pass, name: str, output: Any) -> None:
        notes = self._notes[forward.name].setdefault(name, [])
        if name in self.copied:
            output = copied(output)
        notes.append((held(output), versions(output)))
        if forward.left is not None:
            forward.left -= 1
            if forward.left == 0:
                raise Stop

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

    def everywhere(self, name: str) -> list:
        """What a module returned in all passes and runs, each output once."""
        outputs = [
            output for notes in self._notes.values()
            for output, _ in notes.get(name, ())
        ]
        return list({id(output): output for output in outputs}.values())

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


def held(output: Any) -> Any:
    """An output in containers of its own: networks write to lists that a
    module returned."""
    return tree_map(lambda tensor: tensor, output)


def versions(output: Any) -> List[int]:
    """How often each tensor of an output was written to."""
    return [feature._version for feature in features(output)]
