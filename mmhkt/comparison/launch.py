# Copyright (c) mmhkt authors. All rights reserved.
"""Runs each training in a process of its own, several at once."""
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from mmengine.device import get_device

from mmhkt.utils import lock
from mmhkt.utils.files import write_text
from mmhkt.utils.signals import unheard
from .plan import Run
from .records import FAILURE, is_finished

TICK = 0.5  # seconds
PATIENCE = 10  # seconds that a run gets to end when told to
TRAIN = [sys.executable, '-m', 'mmhkt', 'train']


@dataclass
class Process:
    """A training process that was started here."""
    popen: subprocess.Popen
    log: Path
    begin: int  # of what this process writes into the log
    gpu: Optional[str]


class Launcher:
    """Trains runs; what is finished is skipped, what was cut off resumed.

    Args:
        jobs (int): How many runs at once.
        gpus (Sequence[str]): GPUs to spread them over. Defaults to (), as the
            environment says.
        tell (callable): Gets one line when a run begins or ends.
        watch (callable): Is called every now and then while runs go on.
    """

    def __init__(self,
                 jobs: int = 1,
                 gpus: Sequence[str] = (),
                 tell: Callable[[str], None] = print,
                 watch: Callable[[], None] = lambda: None):
        self.jobs = jobs
        self.gpus = gpus
        self.tell = tell
        self.watch = watch
        self.active: Dict[str, Optional[Process]] = {}
        self.failed: List[Run] = []

    def launch(self, runs: Sequence[Run]) -> None:
        """Train all that are not finished.

        Whatever interrupts this also ends what it has started.
        """
        by_name = {run.name: run for run in runs}
        waiting = deque(run for run in runs if not is_finished(run.folder))
        # Started by a comparison that was killed, and still training: they
        # count as jobs, but nothing can be done about them but wait.
        for run in [run for run in waiting if lock.is_locked(run.folder)]:
            self.tell(f'{run.name}: still running, from an earlier start')
            self.active[run.name] = None
            waiting.remove(run)
        try:
            while waiting or self.active:
                while waiting and len(self.active) < self.jobs:
                    self._start(waiting.popleft())
                self.watch()
                time.sleep(TICK)
                self._reap(by_name, waiting)
        finally:
            with unheard():
                self._stop()
        self.watch()

    def _reap(self, by_name: Dict[str, Run], waiting: deque) -> None:
        """Let go of what has ended; what was only cut off is next again."""
        for name in list(self.active):
            run = by_name[name]
            if self._ended(run):
                del self.active[name]
                if run not in self.failed and not is_finished(run.folder):
                    waiting.appendleft(run)

    def _ended_elsewhere(self, run: Run) -> bool:
        """Whether a run that was not started here, and is known by its lock
        only, has ended."""
        ended = not lock.is_locked(run.folder)
        if ended and is_finished(run.folder):
            self.tell(f'{run.name}: finished')
        return ended

    def _start(self, run: Run) -> None:
        file = lock.acquire(run.folder)
        if file is None:
            self.active[run.name] = None
            return
        try:
            Path(run.folder, FAILURE).unlink(missing_ok=True)
            log = run.folder / 'log.txt'
            gpu = self._least_busy()
            with open(log, 'ab') as output:
                begin = output.tell()
                popen = subprocess.Popen(
                    list(
                        map(str, [
                            *TRAIN, run.config_file, '--work-dir', run.folder,
                            '--resume'
                        ])),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={
                        **environment_of_run(self.jobs, gpu), lock.LOCKED:
                        str(run.folder.resolve())
                    },
                    pass_fds=[file],
                    # Ctrl-C is for us; and all its workers can be ended.
                    start_new_session=True)
        finally:
            os.close(file)
        self.active[run.name] = Process(popen, log, begin, gpu)
        self.tell(f'{run.name}: started' + (f' on GPU {gpu}' if gpu else ''))

    def _ended(self, run: Run) -> bool:
        process = self.active[run.name]
        if process is None:
            return self._ended_elsewhere(run)
        code = process.popen.poll()
        if code is None:
            return False
        if is_finished(run.folder):
            self.tell(f'{run.name}: finished')
            return True
        self.failed.append(run)
        how = (f'killed by {signal.Signals(-code).name}'
               if code < 0 else f'exit code {code}')
        lines = process.log.read_bytes()[process.begin:].decode(
            errors='replace').strip().splitlines()
        reason = f'{how}: {lines[-1]}' if lines else how
        write_text(run.folder / FAILURE, reason)
        self.tell('\n'.join(
            [f'{run.name}: FAILED, {how}; the end of {process.log}:'] +
            [f'    {line}' for line in lines[-15:]]))
        return True

    def _stop(self) -> None:
        processes = [p.popen for p in self.active.values() if p is not None]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for popen in processes:
                if popen.poll() is None:
                    os.killpg(popen.pid, number)
            try:
                for popen in processes:
                    popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                continue
            break
        self.active.clear()

    def _least_busy(self) -> Optional[str]:
        busy = [p.gpu for p in self.active.values() if p is not None]
        return min(self.gpus, key=busy.count) if self.gpus else None


def environment_of_run(jobs: int, gpu: Optional[str] = None) -> dict:
    """The environment variables of one of several runs at once.

    Args:
        jobs (int): How many there are.
        gpu (str, optional): The only GPU that it may see. Defaults to None,
            as the environment says.
    """
    environment = dict(os.environ)
    if gpu is not None:
        environment['CUDA_VISIBLE_DEVICES'] = gpu
    elif jobs > 1 and get_device() == 'cpu':
        # Else every run takes all cores, and they wait for each other.
        cores = len(os.sched_getaffinity(0))
        for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
            environment.setdefault(name, str(max(1, cores // jobs)))
    return environment
