# Copyright (c) mmhkt authors. All rights reserved.
"""What ``mmhkt compare`` does: plan, run, measure, report."""
import shlex
import signal
import sys
from argparse import Namespace

from rich.console import Console

from mmhkt.comparison import lock, write_report
from mmhkt.comparison.costs import CostsError, kept_costs, measure_costs
from mmhkt.comparison.display import display, results_of, table_of
from mmhkt.comparison.fairness import ComparisonError
from mmhkt.comparison.launch import Launcher, environment_of_run
from mmhkt.comparison.plan import check_parents, make_plan
from mmhkt.comparison.records import read_record
from mmhkt.comparison.run_configs import write_configs
from mmhkt.comparison.summary import summarise
from mmhkt.utils.config import CONFIG_ERRORS, ConfigError


def terminate(number, _):
    """End by an exception, so that what was started is ended too."""
    raise SystemExit(128 + number)


def run(args: Namespace) -> int:
    """Do what the command line says."""
    console = Console()
    try:
        plan = make_plan(args.configs, args.work_dir, args.seeds, args.methods,
                         args.amp, args.cfg_options)
        if args.dry_run:
            console.print(table_of(plan, folders=True))
            return 0
        status = 0 if args.report_only else work(plan, args, console)
        reported = report(plan, args.jobs, console)
    except (*CONFIG_ERRORS, ComparisonError) as error:
        raise SystemExit(f'mmhkt: {error}') from None
    return status or (0 if reported else 1)


def work(plan, args, console) -> int:
    """Run and measure what is not done yet; returns the exit status."""
    check_parents(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    if lock.acquire(plan.folder) is None:
        raise ConfigError(f'another comparison is running in {plan.folder}')
    write_configs(plan)
    signal.signal(signal.SIGTERM, terminate)
    try:
        with display(plan, console) as (tell, watch):
            launcher = Launcher(args.jobs, args.gpus, tell, watch)
            if plan.parent is not None:
                launcher.launch([plan.parent])
            if not launcher.failed:
                launcher.launch(plan.runs)
        if any_finished(plan):
            gpu = args.gpus[0] if args.gpus else None
            measure_costs(plan, environment_of_run(args.jobs, gpu))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as end:  # by SIGTERM
        return end.code
    except CostsError as error:
        print(f'mmhkt: the table goes without costs: {error}', file=sys.stderr)
    return 1 if launcher.failed else 0


def any_finished(plan) -> bool:
    return any(read_record(run.folder).get('finished') for run in plan.runs)


def report(plan, jobs, console) -> bool:
    """Write all that is known so far, if anything is."""
    if not any_finished(plan):
        print(
            'mmhkt: no run is finished yet, so there is nothing to report',
            file=sys.stderr)
        return False
    given = [word for word in sys.argv[1:] if word != '--report-only']
    command = shlex.join(['mmhkt', 'compare', *given])
    summary = summarise(plan, command, jobs, kept_costs(plan))
    paths = write_report(summary, plan.folder)
    console.print(results_of(summary))
    for path in paths:
        console.print(f'written: {path}', soft_wrap=True, highlight=False)
    return True
