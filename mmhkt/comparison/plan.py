# Copyright (c) mmhkt authors. All rights reserved.
"""What is to be compared, checked before anything is started."""
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, List, Literal, Optional, Sequence, Union

from annotated_types import MinLen
from mmengine.config import Config

from mmhkt.utils import one_of
from mmhkt.utils.config import ConfigError, load_config, require, set_amp
from mmhkt.utils.settings import (Described, Many, Name, Number, Positive,
                                  Seed, SettingError, check, settings_of)
from .budgets import steps_of
from .entries import (ALONE, PARENT, RUNNER, Entry, check_comparable,
                      entries_of_configs, entries_of_methods, is_alone)
from .metrics import higher_is_better, metric_of

RECORD = dict(type='mmhkt.RecordHook')
EXAMPLES = 'mmhkt.ExamplesHook'
NEEDED = ('model', 'train_cfg', 'train_dataloader', 'optim_wrapper', 'val_cfg',
          'val_dataloader', 'val_evaluator')


@dataclass(frozen=True)
class Run:
    """One training run."""
    entry: Entry
    seed: int
    folder: Path
    examples: int = 0  # how many samples are drawn at the end
    score_parent: bool = False  # whether that is done before it begins
    budget: str = ''  # where there are several

    @property
    def name(self) -> str:
        """What the screen calls it."""
        budget = f', {self.budget}' if self.budget else ''
        return f'{self.entry.name}, seed {self.seed}{budget}'

    @property
    def config_file(self) -> Path:
        """Where its config is; not in the folder, to which the runner copies
        it with what the command line has changed."""
        return self.folder.with_name(f'{self.folder.name}.py')

    def config(self) -> Config:
        """The run's whole config."""
        cfg = Config(self.entry.cfg.to_dict())
        cfg.work_dir = str(self.folder)
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': self.seed}
        hooks = list(cfg.get('custom_hooks') or [])
        if RECORD not in hooks:
            hooks.append(RECORD)
        # After the record, see the hook.
        if self.examples and EXAMPLES not in [h['type'] for h in hooks]:
            hooks.append(dict(type=EXAMPLES, number=self.examples))
        cfg.custom_hooks = hooks
        default = dict(cfg.get('default_hooks') or {})
        hook = default.get('extraction', {})
        if hook is not None:  # else it was left out on purpose
            # Once for all runs, and only there.
            default['extraction'] = {
                'type': 'mmhkt.ExtractionHook',
                **hook, 'score_parent': self.score_parent
            }
        cfg.default_hooks = default
        return cfg


@dataclass(frozen=True)
class Plan:
    """All runs, and how they are compared."""
    title: str
    folder: Path
    entries: Sequence[Entry]
    seeds: Sequence[int]
    reference: Optional[str]
    metric: Optional[str] = None
    rule: Optional[str] = None
    parent: Optional[Run] = None  # trained before all others
    examples: int = 0  # how many samples each run draws
    margin: Optional[float] = None  # within it methods are equivalent
    score_parent: bool = True  # before anything is trained with it
    budgets: Sequence = ()  # lengths of training, see budgets.py
    equal_cost: bool = False  # rows that take the reference's time
    budget: str = ''  # which one of the budgets this is
    left_out: Sequence[str] = ()  # methods that are not run this time

    def within(self, path: Path) -> str:
        """A path as seen from the comparison's folder; what several budgets
        share, their parent, lies beside it."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    @property
    def judged_by(self) -> str:
        """The metric in words."""
        if self.metric is None:
            return 'the first score that is logged'
        better = higher_is_better(self.metric, self.rule)
        return f'{self.metric} ({"higher" if better else "lower"} is better)'

    @property
    def runs(self) -> List[Run]:
        """Seed by seed, so that what is finished is already paired."""
        # One that was trained here has its score already.
        scoring = None if self.parent or not self.score_parent else next(
            (entry for entry in self.entries if entry.cfg.get('parent')
             and not is_alone(entry.cfg.get('method'))), None)
        return [
            Run(entry, seed, Path(self.folder, entry.name,
                                  f'seed_{seed}'), self.examples,
                entry is scoring and seed == self.seeds[0], self.budget)
            for seed in self.seeds for entry in self.entries
        ]

    @property
    def everything(self) -> List[Run]:
        """All runs, with the parent's."""
        return ([self.parent] if self.parent else []) + self.runs


def make_plan(paths: Sequence[str],
              work_dir: Optional[str] = None,
              seeds: Optional[Sequence[int]] = None,
              methods: Optional[Sequence[str]] = None,
              amp: bool = False,
              options: Optional[dict] = None) -> Plan:
    """Plan a comparison.

    Args:
        paths (Sequence[str]): One config with ``comparison``, or several
            training configs.
        work_dir (str, optional): Defaults to None: ``work_dirs/`` and the
            name of the config, or ``work_dirs/compare``.
        seeds (Sequence[int], optional): In place of the config's.
        methods (Sequence[str], optional): Only these, and the reference.
        amp (bool): Train in mixed precision. Defaults to False.
        options (dict, optional): Settings that override the configs'.

    Raises:
        ConfigError: If it makes no sense; names the nearest that would.
    """
    cfgs = [load_config(path, options) for path in paths]
    for cfg in cfgs:
        require(cfg, NEEDED)
        set_amp(cfg, amp)
    title = Path(paths[0]).stem if len(paths) == 1 else 'compare'
    folder = Path(work_dir or Path('work_dirs', title))
    parent = None
    try:
        if len(paths) == 1 and 'comparison' in cfgs[0]:
            settings = _settings(cfgs[0].pop('comparison'), options or {})
            if settings['train_parent']:
                parent = _parent(cfgs[0], folder, amp)
                cfgs[0].parent.checkpoint = str(parent.folder / 'child.pth')
            entries = entries_of_methods(settings['methods'], cfgs[0])
        else:
            settings = _settings({})
            entries = entries_of_configs(paths, cfgs)
            check_comparable(entries)
        reference = _reference(settings['reference'], entries)
        everything = entries
        entries = _restrict(entries, methods, reference)
        seeds = _seeds(settings['seeds'] if seeds is None else seeds)
        examples = settings['examples']
        metric, rule = metric_of(cfgs[0])
        if settings['metric'] in (None, metric):
            settings['metric'] = metric
            settings['rule'] = settings['rule'] or rule
        higher_is_better(settings['metric'] or 'accuracy', settings['rule'])
        for entry in entries:
            if needs_parent(entry) and not entry.cfg.get('parent'):
                raise ConfigError(f'{entry.name} needs a parent, and the '
                                  'config has none')
    except ConfigError:
        raise
    except SettingError as error:
        raise ConfigError(str(error)) from None
    except ValueError as error:
        raise ConfigError(f'comparison: {error}') from None
    return Plan(
        title,
        folder,
        entries,
        seeds,
        reference,
        settings['metric'],
        settings['rule'],
        parent,
        examples,
        margin=settings['margin'],
        score_parent=settings['score_parent'],
        budgets=_budgets(settings['budgets'], entries),
        equal_cost=settings['equal_cost'],
        left_out=[e.label for e in everything if e not in entries])


Methods = Union[Annotated[Many, MinLen(1)], Annotated[dict, MinLen(1)],
                Literal['all']]
Budget = Annotated[Union[Positive, Name], Described("0.5, '24 epochs'")]


def comparison_fields(methods: Optional[Methods] = None,
                      seeds: Union[Seed, Annotated[Sequence[Seed],
                                                   MinLen(1)]] = (0, ),
                      reference: Optional[Name] = None,
                      metric: Optional[Name] = None,
                      rule: Optional[Literal['greater', 'less']] = None,
                      train_parent: bool = False,
                      examples: Number = 4,
                      margin: Optional[Positive] = None,
                      score_parent: bool = True,
                      budgets: Optional[Annotated[Sequence[Budget],
                                                  MinLen(1)]] = None,
                      equal_cost: bool = False) -> None:
    """The settings of a comparison."""


def _settings(given: dict, options: Sequence[str] = ()) -> dict:
    check(comparison_fields, given, 'comparison', partial=True)
    if given and given.get('methods') is None:
        raise ConfigError(
            "comparison: methods is missing; for example ['mmhkt.Alone', "
            "'mmhkt.HKT'], or 'all'")
    for option in options:
        if option.partition('.')[0] == 'method':
            raise ConfigError(f'--cfg-options {option}: the methods are those '
                              'of comparison.methods')
    return {
        name: given.get(name, setting.default)
        for name, setting in settings_of(comparison_fields).items()
    }


def _reference(name: Optional[str], entries: Sequence[Entry]) -> Optional[str]:
    names = [entry.name for entry in entries]
    if name is not None:
        return one_of('The reference', name, names)
    alone = [e.name for e in entries if is_alone(e.cfg.get('method'))]
    return alone[0] if alone else None


def _restrict(entries: Sequence[Entry], names: Optional[Sequence[str]],
              reference: Optional[str]) -> List[Entry]:
    for name in names or ():
        one_of('The method', name, [entry.name for entry in entries])
    return [
        entry for entry in entries
        if names is None or entry.name in (*names, reference)
    ]


def _seeds(seeds) -> List[int]:
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f'comparison: seeds {seeds} are '
                          f'{"not all different" if seeds else "missing"}')
    return seeds


def _budgets(budgets, entries: Sequence[Entry]) -> tuple:
    if budgets is None:
        return ()
    lengths = [[steps_of(budget, entry.cfg) for budget in budgets]
               for entry in entries]
    if len(set(lengths[0])) < len(lengths[0]):
        raise ConfigError(f'comparison: two of the budgets {list(budgets)} '
                          f'are the same length; they are {lengths[0]}')
    return tuple(budgets)


def needs_parent(entry: Entry) -> bool:
    """Whether an entry's method needs a parent.

    Raises:
        ValueError: If the method does not exist as it is set.
    """
    if entry.cfg.get('method') is None:  # a config of OpenMMLab's own runner
        return False
    # Here, because it imports what tools have to quieten first.
    from mmhkt.runner.inheritance_runner import build_methods
    return any(m.needs_parent for m in build_methods(entry.cfg.method))


def check_parents(plan: Plan) -> None:
    """Make sure that the parents' checkpoints and configs are there, before
    hours of runs that need none.

    Raises:
        ConfigError: If a checkpoint is not.
        ValueError, FileNotFoundError: If a config is not.
    """
    # Here, because it imports what tools have to quieten first.
    from mmhkt.models import Parent
    from mmhkt.runner.preflight import preflight
    entries = list(filter(needs_parent, plan.entries))
    there = plan.parent is None  # else its checkpoint will be
    for entry in entries if there else ():
        path = entry.cfg.parent.get('checkpoint')
        if (path and not path.startswith(('http://', 'https://'))
                and not Path(path).expanduser().is_file()):
            raise ConfigError(
                f'there is no parent checkpoint {path}; train it first, or '
                'let comparison = dict(train_parent=True, ...) do it')
    for entry in plan.entries:
        preflight(entry.cfg, there)
    # A training says it when it builds its parent: after the child alone.
    configs = [entry.cfg.parent.get('config') for entry in entries]
    for config in dict.fromkeys(c for c in configs if isinstance(c, str)):
        Parent.check_config(config)


def _parent(cfg: Config, folder: Path, amp: bool) -> Run:
    path = (cfg.get('parent') or {}).get('config')
    if not isinstance(path, str):
        raise ConfigError('comparison: train_parent needs parent.config to be '
                          'the path of a training config')
    parent = load_config(path)
    require(parent, NEEDED)
    set_amp(parent, amp)
    if parent.get('runner_type') is None:
        # Its own runner exports no weights for others to load.
        parent.runner_type = RUNNER
    if parent.get('method') is None:
        parent.method = dict(type=ALONE)
    return Run(Entry(PARENT, Path(path).stem, parent), 0, folder / PARENT)
