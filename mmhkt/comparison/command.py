# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt compare`` does: plan, run, measure, report."""
import os
import shlex
import signal
import sys
from argparse import Namespace
from dataclasses import replace

from rich.console import Console

from mmhkt.comparison import write_report
from mmhkt.comparison.costs import (CostsError, costs_of, kept_costs,
                                    known_costs, measure_costs)
from mmhkt.comparison.display import display, results_of, table_of
from mmhkt.comparison.ladder import rungs_of
from mmhkt.comparison.ladder_report import write_ladder
from mmhkt.comparison.launch import Launcher, environment_of_run
from mmhkt.comparison.plan import check_parents, make_plan
from mmhkt.comparison.records import is_finished
from mmhkt.comparison.run_configs import new_configs, write_configs
from mmhkt.comparison.summary import summarise
from mmhkt.utils import lock
from mmhkt.utils.config import ConfigError
from mmhkt.utils.signals import answered


def terminate(number, _):
    """End by an exception, so that what was started is ended too."""
    raise SystemExit(128 + number)


def run(args: Namespace) -> int:
    """Do what the command line says."""
    console = Console()
    plan = make_plan(args.configs, args.work_dir, args.seeds, args.methods,
                     args.amp, args.cfg_options)
    if args.dry_run:
        for rung in rungs_of(plan, kept_costs(plan)):
            console.print(table_of(rung, folders=True))
        return 0
    status = 0
    if args.report_only:
        for rung in rungs_of(plan, kept_costs(plan)):
            new_configs(rung)  # that it was run as it is set now
    else:
        status = work(plan, args, console)
    reported = report(plan, console)
    return status or (0 if reported else 1)


def work(plan, args, console) -> int:
    """Run and measure what is not done yet; returns the exit status."""
    check_parents(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    held = lock.acquire(plan.folder)
    if held is None:
        raise ConfigError(f'another comparison is running in {plan.folder}')
    gpu = args.gpus[0] if args.gpus else None
    environment = environment_of_run(args.jobs, gpu)
    launcher = None
    try:
        with answered(terminate):
            if plan.equal_cost:
                try:
                    measure_first(plan, args, console, environment)
                except CostsError as error:
                    raise ConfigError(
                        'nothing was trained: equal_cost needs to know what '
                        f'a step costs, but {error}') from None
            rungs = rungs_of(plan, kept_costs(plan))
            for rung in rungs:
                write_configs(rung)
            with display(rungs, console) as (tell, watch):
                tell(f'judged by {plan.judged_by}')
                launcher = launcher_of(plan, args, args.jobs)
                launcher.tell, launcher.watch = tell, watch
                if plan.parent is not None:
                    launcher.launch([plan.parent])
                if not launcher.failed:
                    launcher.launch(
                        [run for rung in rungs for run in rung.runs])
            if any(map(any_finished, rungs)):
                measure(plan, args, launcher, environment)
    except KeyboardInterrupt:
        return interrupted(128 + signal.SIGINT)
    except SystemExit as end:  # by SIGTERM or SIGHUP
        return interrupted(end.code)
    except CostsError as error:
        print(f'mmhkt: the table goes without costs: {error}', file=sys.stderr)
    finally:
        os.close(held)
    return 1 if launcher is None or launcher.failed else 0


def measure_first(plan, args, console, environment) -> None:
    """What the steps cost, where that decides how many there are."""
    launcher = launcher_of(plan, args, 1)
    if plan.parent is not None:
        alone = replace(plan, entries=[])
        write_configs(alone)
        with display([alone], console) as (launcher.tell, launcher.watch):
            launcher.launch([plan.parent])
    if launcher.failed:
        raise ConfigError('without its parent no method can be measured, '
                          'as equal_cost needs it')
    measure(plan, args, launcher, environment)


def measure(plan, args, launcher, environment) -> None:
    """Measure the costs of steps, where the runs are trained."""
    if args.slurm is None:
        measure_costs(plan, environment)
    elif kept_costs(plan) is None:
        launcher.costs(plan)


def launcher_of(plan, args, jobs):
    """What trains runs: processes here, or jobs of a cluster."""
    if args.slurm is None:
        return Launcher(jobs, args.gpus)
    try:  # submitit is wanted here only
        from mmhkt.comparison.cluster import ClusterLauncher
    except ModuleNotFoundError as error:
        if error.name != 'submitit':
            raise
        raise ConfigError(f'--slurm: {error}; pip install submitit') from None
    return ClusterLauncher(plan.folder / 'jobs', args.slurm, jobs)


def interrupted(status: int) -> int:
    """Say how it goes on; returns the exit status."""
    print(
        'mmhkt: interrupted; start the same command again, and it goes on',
        file=sys.stderr)
    return status


def any_finished(plan) -> bool:
    return any(is_finished(run.folder) for run in plan.runs)


def report(plan, console) -> bool:
    """Write all that is known so far, if anything is."""
    costs = known_costs(plan)
    rungs = [r for r in rungs_of(plan, costs) if any_finished(r)]
    if not rungs:
        print(
            'mmhkt: no run is finished yet, so there is nothing to report',
            file=sys.stderr)
        return False
    given = [word for word in sys.argv[1:] if word != '--report-only']
    command = shlex.join(['mmhkt', 'compare', *given])
    summaries, paths = [], []
    for rung in rungs:
        summary = summarise(rung, command, costs_of(costs, rung))
        if summaries:
            # It was scored before the first run of all.
            summary['parent'] = summaries[0]['parent']
        summaries.append(summary)
        paths += write_report(summary, rung.folder)
        console.print(results_of(summary))
    if plan.budgets:
        paths += write_ladder(plan, rungs, summaries)
    for path in paths:
        console.print(f'written: {path}', soft_wrap=True, highlight=False)
    refused = [s['refused'] for s in summaries if s['refused']]
    for reason in refused:
        print(f'mmhkt: {reason}', file=sys.stderr)
    return not refused
