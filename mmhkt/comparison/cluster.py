# Copyright (c) mmhkt authors. All rights reserved.
"""Runs each training as a job of a cluster, by submitit."""
import os
import time
from collections import deque
from pathlib import Path
from typing import Callable, Optional, Sequence

from mmhkt.utils import lock
from mmhkt.utils.config import ConfigError
from mmhkt.utils.files import write_text
from .costs import CostsError, measure_costs
from .launch import Launcher
from .plan import Plan, Run
from .records import FAILURE, is_finished

# Imported, submitit configures its log, by which Python closes the log files
# of whatever ran in this process.
_level = os.environ.get('SUBMITIT_LOG_LEVEL')
os.environ['SUBMITIT_LOG_LEVEL'] = 'NOCONFIG'
import submitit  # isort: skip # noqa: E402
from submitit.helpers import Checkpointable  # isort: skip # noqa: E402

del os.environ['SUBMITIT_LOG_LEVEL']
if _level is not None:
    os.environ['SUBMITIT_LOG_LEVEL'] = _level

TICK = 1.0  # seconds
JOB = 'job.txt'  # in the folder of a run: the number of its job
# What submitit calls the same for every cluster; the rest is Slurm's own.
COMMON = ('name', 'timeout_min', 'mem_gb', 'nodes', 'cpus_per_task',
          'gpus_per_node', 'tasks_per_node', 'stderr_to_stdout')
ENDED = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL',
         'OUT_OF_MEMORY', 'BOOT_FAIL', 'DEADLINE', 'UNKNOWN', 'FINISHED')


class Training(Checkpointable):
    """One run as a job. Where its time is over or it is preempted it is
    queued again, and resumes from its last checkpoint.

    Args:
        config (Path): Of the run.
        folder (Path): Where it writes.
        gpus (int): More than one train together, by torchrun.
    """

    def __init__(self, config: Path, folder: Path, gpus: int):
        self.config = str(Path(config).absolute())
        self.folder = str(Path(folder).absolute())
        self.gpus = gpus

    def __call__(self) -> None:
        command = [self.config, '--work-dir', self.folder, '--resume']
        if self.gpus > 1:
            from torch.distributed.run import main
            main([
                '--standalone', f'--nproc_per_node={self.gpus}', '-m', 'mmhkt',
                'train', *command, '--launcher', 'pytorch'
            ])
        else:
            # In this process: whatever ends the job ends it.
            from mmhkt.cli.train import main
            main(command)


class ClusterLauncher(Launcher):
    """Trains runs as jobs; what is finished is skipped, what was cut off
    resumed, and what is in the queue from an earlier start waited for.

    Args:
        folder (Path): Where the jobs' scripts and logs go.
        settings (dict): Of submitit's executor: ``timeout_min``,
            ``gpus_per_node``, ``cpus_per_task``, ``mem_gb`` and whatever
            ``sbatch`` calls its own (``partition``, ``array_parallelism``,
            ...); ``cluster='local'`` runs jobs on this machine.
        jobs (int): How many at once on this machine; Slurm decides itself.
        tell (Callable): Gets one line when a run begins or ends.
        watch (Callable): Is called every now and then while runs go on.

    Raises:
        ConfigError: If there is no such setting or no Slurm.
    """

    def __init__(self,
                 folder: Path,
                 settings: dict,
                 jobs: int = 1,
                 tell: Callable[[str], None] = print,
                 watch: Callable[[], None] = lambda: None):
        settings = dict(settings)
        self.cluster = settings.pop('cluster', 'slurm')
        super().__init__(jobs, tell=tell, watch=watch)
        self.gpus = int(settings.get('gpus_per_node', 0))
        self.folder = Path(folder).absolute()
        try:
            self.executor = submitit.AutoExecutor(
                self.folder, cluster=self.cluster)
            self.executor.update_parameters(
                **{
                    key if key in COMMON else f'{self.cluster}_{key}': value
                    for key, value in settings.items()
                })
        except (NameError, ValueError, RuntimeError) as error:
            raise ConfigError(f'--slurm: {error}') from None

    def launch(self, runs: Sequence[Run]) -> None:
        """Train all that are not finished.

        What interrupts this leaves the jobs to the cluster; the next start
        finds them.
        """
        by_name = {run.name: run for run in runs}
        waiting = deque(run for run in runs if not is_finished(run.folder))
        for run in list(waiting):
            job = self._queued(run)
            if job is not None or lock.is_locked(run.folder):
                self.tell(f'{run.name}: in the queue, from an earlier start')
                self.active[run.name] = job
                waiting.remove(run)
        most = self.jobs if self.cluster == 'local' else len(runs)
        while waiting or self.active:
            started = [
                waiting.popleft()
                for _ in range(min(len(waiting), most - len(self.active)))
            ]
            if started:
                self._submit(started)
            self.watch()
            time.sleep(TICK)
            self._reap(by_name, waiting)
        self.watch()

    def costs(self, plan: Plan) -> None:
        """Measure what a step costs, where the runs are trained.

        Raises:
            CostsError: If that is not possible.
        """
        job = self.executor.submit(_measure, plan)
        error = job.exception()
        if error is not None:
            raise CostsError(_last_line(str(error)))

    def _submit(self, runs: Sequence[Run]) -> None:
        for run in runs:
            Path(run.folder, FAILURE).unlink(missing_ok=True)
        tasks = [Training(r.config_file, r.folder, self.gpus) for r in runs]
        with self.executor.batch():  # one array
            jobs = [self.executor.submit(task) for task in tasks]
        for run, job in zip(runs, jobs):
            self.active[run.name] = job
            write_text(run.folder / JOB, job.job_id)
            self.tell(f'{run.name}: job {job.job_id}')

    def _queued(self, run: Run) -> Optional[submitit.Job]:
        """A run's job of an earlier start, if it is not over."""
        note = run.folder / JOB
        if self.cluster == 'local' or not note.is_file():
            return None
        job = submitit.SlurmJob(self.folder, note.read_text().strip())
        state = job.state.split()[0] if job.state else 'UNKNOWN'
        return None if state in ENDED else job

    def _ended(self, run: Run) -> bool:
        job = self.active[run.name]
        if job is None:  # known by its lock only
            return self._ended_elsewhere(run)
        if not job.done():
            return False
        if is_finished(run.folder):
            self.tell(f'{run.name}: finished')
            return True
        self.failed.append(run)
        reason = _why(job)
        write_text(run.folder / FAILURE, f'job {job.job_id}: {reason}')
        self.tell(f'{run.name}: FAILED, {reason}; see {job.paths.stderr}')
        return True


def _measure(plan: Plan) -> None:
    measure_costs(plan, dict(os.environ))


def _why(job: submitit.Job) -> str:
    """Why a job failed, in one line."""
    last = _last_line(job.stderr() or '')
    if job.paths.result_pickle.exists():  # it came to its end
        return last
    return f'ended without a result, state {job.state}; stderr: {last}'


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ['nothing'])[-1].strip()
