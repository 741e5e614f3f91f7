# Copyright (c) mmhkt authors. All rights reserved.
"""What can befall a process, at any moment."""
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Iterator, Optional


class Child:
    """A function that runs in a process of its own, of its own group.

    It is forked, so that nothing has to be imported again.

    Args:
        function (Callable): What is run.
        log (Path): What it prints is added there.
    """

    def __init__(self, function: Callable, log: Path):
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        self.status: Optional[int] = None
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            # Ignored by what a shell has started in the background.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            # pytest has put something else in their place.
            sys.stdout = sys.stderr = os.fdopen(1, 'w', closefd=False)
            function()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            if not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float = 600) -> Optional[int]:
        """The exit code, None if it still runs after that time."""
        end = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return None
            else:
                time.sleep(0.01)
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it alone, as the kernel and people do."""
        if self.status is None:
            os.kill(self.pid, number)


def killed_again_and_again(function: Callable,
                           log: Path,
                           kills: int,
                           seed: int = 0,
                           longest: float = 2.,
                           anew: Callable = lambda: None) -> Iterator[bool]:
    """Start a function, kill it at a random moment, and so on, so many times.

    Args:
        anew (Callable): Called where it came to its end before.

    Yields:
        bool: After each, whether it was killed; at last that it was not: it
        has come to its end.
    """
    draw = random.Random(seed)
    while True:
        child = Child(function, log)
        code = child.wait(draw.uniform(0, longest) if kills else 600)
        if code is None:
            child.kill()
            child.wait()
            assert kills, 'it hangs: ' + log.read_text()[-3000:]
        elif code:
            raise AssertionError(log.read_text()[-3000:])
        yield code is None
        if code is None:
            kills -= 1
        elif not kills:
            return
        else:
            anew()
