# Copyright (c) mmhkt authors. All rights reserved.
from statistics import mean
from typing import List, Optional, Sequence, Union

from mmhkt.utils import few
from .budgets import WORDS
from .costs import SLACK
from .entries import is_alone
from .intervals import CONFIDENCE, ENOUGH_SEEDS

NOTHING = '–'
# What they are called in the conclusion.
VERDICTS = dict(
    better='Better',
    worse='Worse',
    equivalent='Equivalent',
    unclear='No difference shown',
    none='No verdict')


def time_taken(summaries: Sequence[dict]) -> List[str]:
    """How long the finished runs of some comparisons have trained."""
    seconds = [
        run['seconds'] for summary in summaries for m in summary['methods']
        for run in m['runs'] if run['seconds'] is not None
    ]
    if not seconds:
        return []
    minutes = max(sum(seconds) / 60, 1)
    time = (f'{minutes / 60:.1f} hours' if minutes >= 90 else
            f'{minutes:.0f} minute{"s" * (minutes >= 1.5)}')
    return [
        f'By the time of their steps {len(seconds)} finished '
        f'run{"s" * (len(seconds) > 1)} took {time} one after another, '
        "without validations and the parent's own training."
    ]


class View:
    """A comparison in words and cells, the same for every format.

    Args:
        summary (dict): A comparison with its statistics.
        part (str): What p-values are adjusted within. Defaults to
            ``'table'``.
    """

    def __init__(self, summary: dict, part: str = 'table'):
        self.summary = summary
        self.part = part
        self.methods = summary['methods']
        self.labels = {m['name']: m['label'] for m in self.methods}
        self.reference = self.labels.get(summary['reference'])
        self.unit, self.units = WORDS.get(summary['unit'], ('step', 'steps'))
        scores = [m['last']['mean'] for m in self.methods if m['last']['n']]
        largest = max(map(abs, scores), default=0)
        self.digits = 2 if largest >= 10 else 3 if largest >= 1 else 4
        self.total = len(self.methods) * len(summary['seeds'])
        self.lengths = sorted({
            run['curve'][-1][0]
            for m in self.methods
            for run in m['runs'] if run['state'] == 'finished' and run['curve']
        })

    @property
    def subject(self) -> str:
        """What was measured, of what."""
        metric = self.summary['metric']
        better = 'higher' if metric['higher_is_better'] else 'lower'
        seeds = self.summary['seeds']
        text = (f'{metric["name"]} ({better} is better) of the child alone, '
                f'as it is deployed; seed{"s" * (len(seeds) > 1)} '
                f'{", ".join(map(str, seeds))}')
        if self.lengths:
            text += f'; {self._steps(self.lengths)} of training'
        return text + '.'

    @property
    def conclusion(self) -> List[tuple]:
        """(verdict, labels) of the last score against the reference."""
        groups = []
        for verdict in VERDICTS:
            labels = [
                m['label'] for m in self.methods if m['difference']
                and m['difference']['n'] and _verdict(m) == verdict
            ]
            if labels:
                groups.append((verdict, labels))
        return groups

    @property
    def warnings(self) -> List[str]:
        """What must not be overlooked."""
        warnings = []
        if self.summary.get('refused'):
            warnings.append(
                f'{self.summary["refused"]}. So no differences are shown.')
        warnings += self._parent_below
        if len(self.summary['seeds']) == 1:
            warnings.append(
                'One seed proves nothing: without a second one nobody knows '
                'how far two runs of the same method lie apart. There are no '
                'intervals, and there is no verdict.')
        elif len(self.summary['seeds']) < ENOUGH_SEEDS:
            warnings.append(
                f'Fewer than {ENOUGH_SEEDS} seeds: there are intervals, but '
                'there is no verdict.')
        for check in self.summary['fairness']:
            if not check['fair']:
                warnings.append(
                    f'The runs of seed {check["seed"]} are not comparable: ' +
                    '; '.join(
                        self._groups(what, check[what])
                        for what in ('initial_weights', 'batches')
                        if len(check[what]) > 1) + '.')
        for label, keys in self.summary.get('recipes', {}).items():
            warnings.append(
                f'{label} was trained by another recipe than '
                f'{self.methods[0]["label"]}: {few(keys, 6)}. '
                'What lies between them is not of the method alone.')
        if len(self.lengths) > 1 and not self.summary.get('equal_cost'):
            warnings.append(
                'The runs are not of the same length: they end after '
                f'{", ".join(map(str, self.lengths))} {self.units}.')
        if self.children_differ:
            warnings.append(
                'The deployed children are not the same: they have '
                f'{self.summary["deployed"]["parameters"]} parameters.')
        skipped = [
            f'{run["skipped"]} of {m["label"]}, seed {run["seed"]}'
            for m in self.methods for run in m['runs'] if run.get('skipped')
        ]
        if skipped:
            warnings.append('Steps that were not finite were skipped: '
                            f'{"; ".join(skipped)}.')
        lost = self.summary.get('without_images')
        if lost:
            warnings.append(
                'What single images contribute is not known, as it is of the '
                f'other runs, of {"; ".join(lost)}. Intervals with other '
                'images are of the seeds for which both methods have it; '
                'where fewer than two do there is no verdict.')
        if self.unfinished:
            warnings.append(
                f'Not every run has a last score ({self.counts}). A row is '
                'made of the runs that have one, a difference of the seeds '
                'for which both methods have one.')
        if {'failed', 'diverged'} & {row[2] for row in self.unfinished}:
            warnings.append(
                'Runs that failed or diverged are left out, which flatters '
                'their method.')
        return warnings

    @property
    def _parent_below(self) -> List[str]:
        parent = (self.summary['parent'] or {}).get('score')
        # A config of OpenMMLab's own runner has no method.
        alone, label = next(
            ((m['last']['mean'], m['label']) for m in self.methods
             if m['config'] is None or is_alone(m['config'])), (None, ''))
        if parent is None or alone is None or self.summary['refused']:
            return []
        higher = self.summary['metric']['higher_is_better']
        if parent == alone or (parent > alone) == higher:
            return []
        return [
            f'THE PARENT IS WORSE THAN ITS CHILD ALONE: '
            f'{self._number(parent)}, and {label} '
            f'{self._number(alone)}. What such a parent hands on holds a '
            'child back. Is it the right checkpoint, with the classes and the '
            'normalisation it was trained with?'
        ]

    @property
    def children_differ(self) -> bool:
        """Whether not every row is about the same child."""
        # Several numbers come as one text.
        return isinstance(self.summary['deployed']['parameters'], str)

    @property
    def counts(self) -> str:
        """How many runs there are of each state."""
        states = [run['state'] for m in self.methods for run in m['runs']]
        counts = {
            s: states.count(s)
            for s in ('finished', 'failed', 'diverged')
        }
        text = f'{counts["finished"]} of {self.total} finished, '
        if counts['diverged']:
            text += f'{counts["diverged"]} diverged, '
        return (text + f'{counts["failed"]} failed, '
                f'{self.total - sum(counts.values())} missing')

    @property
    def columns(self) -> Sequence[str]:
        """The head of the table."""
        to = f' to {self.reference}' if self.reference else ''
        return ('method', f'difference{to}, last {self.unit}',
                f'last {self.unit}', '95 % interval with other images',
                'p, adjusted', f'best {self.unit}',
                'seconds a step (relative)', 'peak memory (relative)',
                'extra parameters in training')

    @property
    def rows(self) -> List[dict]:
        """The parent, if there is one, and the methods."""
        rows = []
        parent = self.summary['parent']
        if parent:
            rows.append(
                dict(
                    cells=[
                        f'parent: {parent["name"]}', NOTHING,
                        self._number(parent['score']), *[NOTHING] * 6
                    ],
                    verdict=None,
                    bold=False,
                    kind='parent'))
        for m in self.methods:
            cost, difference = m['cost'], m['difference'] or {}
            is_reference = m['name'] == self.summary['reference']
            peaks = [
                run['peak_memory'] for run in m['runs']
                if run['state'] == 'finished' and run['peak_memory']
            ]
            rows.append(
                dict(
                    cells=[
                        m['label'],
                        'reference'
                        if is_reference else self.interval(difference),
                        self.spread(m['last']),
                        self._ends(difference.get('test_set')),
                        _probability(difference.get('adjusted')),
                        self.spread(m['best']),
                        _relative(cost['step'] and _digits(cost['step']),
                                  cost['relative_step']),
                        _relative(
                            f'{_digits(mean(peaks) / 2**30)} GiB'
                            if peaks else None, cost['relative_memory']),
                        _thousands(cost['extra_parameters']),
                    ],
                    verdict=difference.get('verdict'),
                    bold=difference.get('verdict') == 'better',
                    kind='reference' if is_reference else 'method'))
        return rows

    @property
    def notes(self) -> List[str]:
        """How the table is to be read, and what it has cost."""
        return self.reading + time_taken([self.summary])

    @property
    def reading(self) -> List[str]:
        """How the table is to be read."""
        notes = [
            f'The best {self.unit} is picked by the scores it is reported '
            'with, which flatters: judge by the last.'
        ]
        if len(self.summary['seeds']) > 1:
            notes.insert(
                0, 'Mean ± sample standard deviation over the finished '
                'seeds.')
        if self.reference:
            notes.append(
                f'{self.reference} is the reference: a factor (×) is a '
                'multiple of it, a difference is method minus reference, '
                'seed by seed.')
            notes += self._statistics
        if any(m['cost']['step'] for m in self.methods):
            notes.append(
                'Seconds a step are the mean over the training of the medians '
                'of its phases, without kept features, measured in one '
                'process, the methods alternating.')
        if self.summary.get('equal_cost'):
            notes.append(
                'Of equal cost: trained for as many steps as take the time of '
                "the reference's, by the median time of a step. Where whole "
                f'{self.units} miss it by more than {SLACK:.0%}, there is no '
                'such row.')
        if any(run['peak_memory'] for m in self.methods for run in m['runs']):
            notes.append('Peak memory is that of separate training '
                         'processes, the mean over the finished seeds.')
        deployed = [
            f'{_thousands(self.summary["deployed"][key])} {what}'
            for key, what in (('parameters', 'parameters'), ('flops', 'FLOPs'))
            if self.summary['deployed'][key] is not None
        ]
        if deployed and not self.children_differ:
            notes.append('Deployed is the same child in every row: '
                         f'{", ".join(deployed)}.')
        return notes

    @property
    def _statistics(self) -> List[str]:
        """What exactly was computed."""
        differences = [
            m['difference'] for m in self.methods if m['difference']
        ]
        tested = [d for d in differences if d['adjusted'] is not None]
        notes = []
        if any(d['low'] is not None for d in differences):
            notes.append(
                'In brackets: 95 % confidence interval of the mean difference '
                "for other seeds on this test set, by Student's t of the "
                'differences of the seeds; there is none where they are all '
                'the same.')
        images = [d['test_set'] for d in differences if d['test_set']]
        if images:
            notes.append(
                'With other images: the interval for other seeds on another '
                f'test set of {images[0]["images"]:,} images of that kind, by '
                'a mixed model with crossed random effects of seed and image '
                "(jackknife pseudo-values of each image, Satterthwaite's "
                'degrees of freedom). It takes images as independent of each '
                'other, which frames of one video are not.')
        elif tested:
            notes.append(
                'What the finite test set leaves open is not in any interval: '
                'the runs kept no scores of images by this metric.')
        if tested:
            both = 'the larger one of both tests' if images else 'the t-test'
            note = (f'p: {both} that the difference is zero, two-sided, '
                    f'adjusted for {_count(len(differences), "method")} by '
                    f'Holm. Better or worse (better: bold): p is below '
                    f'{1 - CONFIDENCE:.2f}, so that a {self.part} without any '
                    'effect has a single such claim in one case of twenty at '
                    'most.')
            if self.summary.get('left_out'):
                note += (' For what was left out (' +
                         ', '.join(self.summary['left_out']) +
                         ') nothing is adjusted: whoever chooses methods by '
                         'their results makes p too small.')
            margin = self.summary.get('margin')
            if margin is not None:
                note += (f' Equivalent: within ±{margin:g} by two one-sided '
                         'tests (TOST), adjusted likewise; this goes before '
                         'better and worse.')
            note += (f' No verdict is given for fewer than {ENOUGH_SEEDS} '
                     'seeds. Where none was shown, nothing was shown: that is '
                     'not equality.')
            notes.append(note)
        return notes

    @property
    def unfinished(self) -> List[list]:
        """Method, seed, state and error of each run that no score is from."""
        rows = []
        for m in self.methods:
            for run in m['runs']:
                error = _last_line(run['error'])
                if run['state'] == 'finished' and run['last'] is None:
                    error = 'it has no score'
                elif run['state'] == 'finished':
                    continue
                rows.append([m['label'], run['seed'], run['state'], error])
        return rows

    @property
    def examples(self) -> str:
        """What pictures there are; '' where there are none."""
        examples = self.summary.get('examples')
        if not examples:
            return ''
        count = _count(len(examples['rows']), 'sample')
        return (
            f'{count}, spread evenly over the data set: what the child '
            f'makes of {"them" if len(examples["rows"]) > 1 else "it"} after '
            f'the last {self.unit}, seed {examples["seed"]}.')

    @property
    def example_folders(self) -> List[str]:
        """Where the pictures lie."""
        return list(
            dict.fromkeys(
                file.rpartition('/')[0]
                for row in self.summary['examples']['rows']
                for cell in row['cells'] for file in cell['files']))

    @property
    def fairness(self) -> str:
        """What the hashes say."""
        checks = self.summary['fairness']
        if not all(check['fair'] for check in checks):
            return ('Not all runs of a seed began from the same initial '
                    'weights and saw the same batches.')
        compared = [
            len(set().union(*check['initial_weights'].values()))
            for check in checks
        ]
        if max(compared, default=0) < 2:
            return 'There are no two runs of a seed to be compared.'
        text = ('All finished runs of a seed began from the same initial '
                'weights and saw the same batches')
        missing = [
            f'{self.labels[name]} (seed {check["seed"]})' for check in checks
            for name in check['unrecorded']
        ]
        if missing:
            text += (', as far as they were recorded; not to the end for ' +
                     ', '.join(missing))
        return text + '.'

    @property
    def hashes(self) -> List[list]:
        """Seed, initial weights and batches, each with the number of runs."""

        def cell(hashes: dict) -> str:
            return '; '.join(f'{_short(sha)} ({_count(len(names), "run")})'
                             for sha, names in hashes.items()) or NOTHING

        rows = []
        for check in self.summary['fairness']:
            batches = cell(check['batches'])
            if check['iteration'] is not None:
                batches += f' at iteration {check["iteration"]}'
            rows.append(
                [check['seed'],
                 cell(check['initial_weights']), batches])
        return rows

    @property
    def facts(self) -> List[tuple]:
        """Names and values of the environment."""
        environment = self.summary['environment']
        return [(name, NOTHING if value is None else value)
                for name, value in environment.items()
                ] + [('runs', self.counts)]

    def seed_cells(self, method: dict) -> List[dict]:
        """A method's runs, one a seed, for the table of all of them."""
        differences = differences_by_seed(method['difference'])
        runs = {run['seed']: run for run in method['runs']}
        cells = []
        for seed in self.summary['seeds']:
            run = runs.get(seed, dict(state='waiting'))
            if run['state'] != 'finished':
                cells.append(dict(state=run['state']))
                continue
            cells.append(
                dict(
                    state='finished',
                    last=self._number(run['last']),
                    difference=seed in differences
                    and self._signed(differences[seed]),
                    best=self._number(run['best']),
                    best_at=run['best_at']))
        return cells

    def _number(self, value: Optional[float]) -> str:
        return NOTHING if value is None else f'{value:.{self.digits}f}'

    def _signed(self, value: float) -> str:
        # The sign stays where rounding leaves 0.00: it tells on which side
        # of zero the end of an interval lies.
        text = f'{value:+.{self.digits}f}' if value else self._number(0)
        return text.replace('-', '−')

    def spread(self, score: dict) -> str:
        """Mean and standard deviation."""
        text = self._number(score['mean'])
        if score['std'] is not None:
            text += f' ± {self._number(score["std"])}'
        return text + self._of_seeds(score['n'])

    def interval(self, difference: Optional[dict]) -> str:
        """A difference and its interval over the seeds."""
        if not difference or not difference['n']:
            return NOTHING
        text = self._signed(difference['mean'])
        if difference['low'] is not None:
            text += f' {self._ends(difference)}'
        return text + self._of_seeds(difference['n'])

    def _ends(self, interval: Optional[dict]) -> str:
        if not interval:
            return NOTHING
        return (f'[{self._signed(interval["low"])}, '
                f'{self._signed(interval["high"])}]')

    def _of_seeds(self, n: int) -> str:
        seeds = len(self.summary['seeds'])
        return '' if n in (0, seeds) else f' ({n} of {seeds})'

    def _steps(self, steps: Sequence[int]) -> str:
        span = f'{steps[0]:,}'
        if len(steps) > 1:
            span += f' to {steps[-1]:,}'
        return f'{span} {self.unit if steps[-1] == 1 else self.units}'

    def _groups(self, what: str, hashes: dict) -> str:
        groups = []
        for sha, names in hashes.items():
            labels = ', '.join(self.labels[name] for name in names)
            who = labels if len(names) < 4 else _count(len(names), 'run')
            groups.append(f'{_short(sha)} for {who}')
        return f'{what.replace("_", " ")} are {", but ".join(groups)}'


def _verdict(method: dict) -> str:
    return method['difference']['verdict'] or 'none'


def differences_by_seed(difference: Optional[dict]) -> dict:
    """Seed -> difference; {} of the reference."""
    if not difference:
        return {}
    return dict(zip(difference['seeds'], difference['values']))


def _relative(value: Optional[str], ratio: Optional[float]) -> str:
    if ratio is None:
        return value or NOTHING
    return f'{value} ({ratio:.2f}×)' if value else f'{ratio:.2f}×'


def _probability(p: Optional[float]) -> str:
    if p is None:
        return NOTHING
    return f'{p:.3f}' if p >= 0.001 else '< 0.001'


def _thousands(value: Union[int, str, None]) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else f'{value:,.0f}'


def _digits(value: float) -> str:
    return f'{value:#.3g}'.rstrip('.')


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}' + 's' * (number != 1)


def _short(sha: str) -> str:
    return sha[:8]


def _last_line(text: Optional[str]) -> str:
    return (text or '').strip().rpartition('\n')[2]
