# Copyright (c) mmhkt authors. All rights reserved.
"""Every setting of ours, with what it cannot be."""
import math
import re
from typing import Any, Dict, List, Literal, Optional, Sequence, Tuple, Union

import pytest
from distiller_helpers import ALL, distiller, loss_of, step_of
from helpers import CONFIGS, REPO
from mmengine.config import Config
from mmengine.hooks import Hook

import mmhkt.hooks  # noqa: F401  fills the registry
import mmhkt.methods  # noqa: F401
import mmhkt.registry
from mmhkt.api import inherit
from mmhkt.comparison.plan import comparison_fields
from mmhkt.inheritance import GeneticAttention
from mmhkt.methods import Schedule
from mmhkt.models import Parent
from mmhkt.models.tasks import tasks
from mmhkt.registry import HOOKS, METHODS
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.runner.preflight import check_hooks, run_settings
from mmhkt.utils.names import nearest
from mmhkt.utils.settings import (CheckedRegistry, Count, Fraction, Name,
                                  Positive, SettingError, check, checked,
                                  described, nested, settings_of,
                                  takes_anything)
from mmhkt.utils.settings_table import ours, tables

KINDS = {
    kind.__name__: kind
    for kind in [
        *METHODS.module_dict.values(), *HOOKS.module_dict.values(), *tasks(),
        Parent, Schedule, GeneticAttention, run_settings, comparison_fields,
        inherit
    ] if kind.__module__.startswith('mmhkt')
}
WRONG = {
    'a word': 'warm',
    'nothing in it': '',
    'too long': 'x' * 5000,
    'None': None,
    'NaN': math.nan,
    'infinite': math.inf,
    'negative': -1,
    'zero': 0,
    'a part': 0.5,
    'true': True,
    'an empty list': [],
    'an empty dict': {},
    'a list': [1],
    'a long list': list(range(1000)),
    'a dict': dict(a=1),
    'an object': object(),
}
# What is no setting: objects of torch, or configs of whole networks.
NETWORKS = ('network', 'child', 'parent', 'images')
# What each kind of setting rightly takes of those, by its description.
RIGHT = {
    'True or False': {'true'},
    "'auto'": set(),
    'a number above 0': {'a part'},
    'a number from 0 on': {'zero', 'a part'},
    'a number from 0 on and below 1': {'zero', 'a part'},
    'a number from 0 on and up to 1': {'zero', 'a part'},
    'a number above 0 and up to 1': {'a part'},
    'a number above 1e-05 and up to 80': {'a part'},
    'a number from 1 on': set(),
    'a whole number from 1 on': set(),
    'a whole number from 0 on': {'zero'},
    'a string that is not empty': {'a word', 'too long'},
    'a dict': {'an empty dict', 'a dict'},
    'a dict of a number from 0 on': {'an empty dict', 'a dict'},
    "a list of dict(child='path', parent='path') that is not empty": set(),
    'a list of dict(knob=..., ...)': {'an empty list'},
    'a list of a whole number that is not empty': {'a list', 'a long list'},
    'a list of 2 of a string': {'an empty list'},
    'a list': {'an empty list', 'a list', 'a long list'},
    "dict(mode='gate', ...)": {'an empty dict'},
    '2 of a whole number from 1 on': set(),
    'a whole number from 0 on and below 4294967296': {'zero'},
    'a list of a whole number from 0 on and below 4294967296 that is not '
    'empty': {'a list', 'a long list'},
    "a list of 0.5, '24 epochs' that is not empty": {'a list'},
    'a list that is not empty': {'a list', 'a long list'},
    'a dict that is not empty': {'a dict'},
    "'all'": set(),
    'a list of a string that is not empty': set(),
    'a list of a number from 0 on that is not empty':
    {'a list', 'a long list'},
    'a list of a number above 0 that is not empty': {'a list'},
    'Callable': set(),
    'Config': set(),
    'Module': set(),
    'None': {'None'},
}


def rightly_taken(kind) -> set:
    """What a setting of a kind may be, by what its description says."""
    text = described(kind)
    if text.startswith("'"):  # one of some words
        return {'None'} if text.endswith('None') else set()
    taken = set()
    for part in re.split(r' or (?!False)', text):
        taken |= RIGHT[part]
    return taken


@pytest.mark.parametrize('name', KINDS)
def test_no_wrong_setting_is_taken(name):
    """And what is said names the setting, its value and what it can be."""
    for setting in settings_of(KINDS[name]).values():
        if setting.foreign or setting.name in NETWORKS:
            continue
        assert setting.kind is not Any, setting.name
        taken = set()
        for what, value in WRONG.items():
            try:
                check(KINDS[name], {setting.name: value}, partial=True)
                taken.add(what)
            except SettingError as error:
                text = str(error)
                assert f'{name}: {setting.name}' in text, text
                assert '\n' not in text and len(text) < 400, text
                expected = described(setting.kind)
                assert (expected in text or 'is unknown; ' in text
                        or 'has no setting' in text), text
        if setting.default is None:
            taken.discard('None')
        expected = rightly_taken(setting.kind)
        if setting.default is None:
            expected = expected - {'None'}
        if setting.name == 'schedule':
            expected = {'an empty list'}
        assert taken == expected, (setting.name, described(setting.kind))


@pytest.mark.parametrize('name', KINDS)
def test_a_misspelt_setting_is_named_with_the_nearest(name):
    if takes_anything(KINDS[name]):  # mmengine's CheckpointHook
        return
    for setting in settings_of(KINDS[name]):
        wrong = setting[:-1] + '_' + setting[-1:]
        with pytest.raises(SettingError) as error:
            check(KINDS[name], {wrong: 1}, partial=True)
        assert f'no setting "{wrong}"' in str(error.value)
        assert setting in str(error.value).partition(';')[2]


@pytest.mark.parametrize('name', ALL)
def test_what_is_taken_can_be_trained_with(name):
    """Loss and gradient are finite."""
    for setting in settings_of(METHODS.get(name)).values():
        if setting.name in ('sites', 'weights', 'schedule', 'sees'):
            continue
        for value in WRONG.values():
            try:
                check(METHODS.get(name), {setting.name: value}, partial=True)
            except SettingError:
                continue
            method = distiller(name, **{setting.name: value})
            step = step_of(method, range(4))
            loss = loss_of(method, step)
            loss.backward()
            assert loss.isfinite(), (setting.name, value)
            assert all(q.grad.isfinite().all() for q in step.q.values())


@pytest.mark.parametrize('weights, text', [
    (dict(native=math.nan), "but got {'native': nan} (at native: nan)"),
    (dict(native=-1), '(at native: -1)'),
    (dict(native='much'), "(at native: 'much')"),
    (dict(nativ=1), 'has no loss term "nativ"; nearest: native'),
    (dict(native=True), '(at native: True)'),
])
def test_weights(weights, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        build_methods(dict(type='mmhkt.KD', weights=weights))


@pytest.mark.parametrize('method, text', [
    (dict(type='mmhkt.HKT', attention=dict(mod='gate')),
     'mmhkt.HKT: attention: GeneticAttention has no setting "mod"; '
     'nearest: mode'),
    (dict(type='mmhkt.HKT', sites=[dict(child='a', parnt='b')]),
     'mmhkt.HKT: sites: a site has no setting "parnt"; nearest: parent'),
    (dict(type='mmhkt.HKT', sites=[dict(child='a')]),
     'a site lacks its setting "parent", a string'),
    (dict(type='mmhkt.HKT', schedule=[dict(knob='intensity', end=math.nan)]),
     'a schedule: end must be a number from 0 on or None, but got nan'),
    (dict(type='mmhkt.HKT', as_published='no'),
     "mmhkt.HKT: as_published must be True or False, but got 'no'"),
    (dict(type='mmhkt.KD', temperature=math.inf),
     'mmhkt.KD: temperature must be a number above 0, but got inf'),
    ('mmhkt.KD', "must be dict(type='mmhkt.HKT', ...) or a list"),
    (dict(type=3), 'There is no method "3"'),
    (dict(type='mmhkt.HTK'), 'nearest: mmhkt.HKT'),
])
def test_methods(method, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        build_methods([method])


@pytest.mark.parametrize('default, custom, text', [
    (dict(mixture=dict(type='mmhkt.MixtureHook', interval=0)), None,
     'default_hooks.mixture: mmhkt.MixtureHook: interval must be a whole '
     'number from 1 on, but got 0'),
    (dict(divergance=dict(patience=3)), None,
     'default_hooks.divergance has no type'),
    (dict(divergence=dict(patience=-3)), None, 'patience must be'),
    (None, [dict(type='mmhkt.ExampleHook')], 'nearest: mmhkt.ExamplesHook'),
    (None, [dict(type='EMAHook', momentun=1)], 'momentun'),
    (None, [3], 'custom_hooks[0] must be a dict, but got 3'),
])
def test_hooks(default, custom, text):
    if text == 'momentun':  # what is not ours is not ours to judge
        check_hooks(default, custom)
        return
    with pytest.raises(SettingError, match=re.escape(text)):
        check_hooks(default, custom)


def test_hooks_of_the_default_scope():
    default = dict(visualization=dict(type='VisualizationHook', enable=True))
    check_hooks(default, None, 'mmpretrain')
    with pytest.raises(SettingError, match='no hook "VisualizationHook"'):
        check_hooks(default, None)


def test_a_class_of_ones_own_is_checked_by_its_annotations():

    @checked
    class Mine:

        def __init__(self,
                     size: Count,
                     part: Fraction = 0.5,
                     kind: Literal['one', 'two'] = 'one',
                     pair: Optional[Tuple[int, int]] = None,
                     names: Sequence[Name] = (),
                     table: Optional[Dict[str, List[Positive]]] = None,
                     free=None,
                     either: Union[bool, Name] = False):
            self.size = size

    assert Mine(3).size == Mine(size=3, pair=[1, 2], names=['a']).size == 3
    Mine(1, 1, 'two', table=dict(a=[1.5]), free=object(), either='yes')
    for wrong, text in ((dict(), 'lacks its setting "size"'),
                        (dict(sise=3), 'no setting "sise"; nearest: size'),
                        (dict(size=0), 'size must be a whole number from 1'),
                        (dict(size=2.0), 'but got 2.0'),
                        (dict(size=1, part=1.1),
                         'from 0 on and up to 1'), (dict(size=1, kind='twu'),
                                                    '"twu" is unknown; near'),
                        (dict(size=1, pair=[1]), 'must be 2 of a whole numb'),
                        (dict(size=1, names=['']), 'a list of a string'),
                        (dict(size=1, table=dict(a=[0])),
                         '(at a.0: 0)'), (dict(size=1, either=1),
                                          'True or False or a string')):
        with pytest.raises(SettingError, match=re.escape(text)):
            Mine(**wrong)


def test_a_dict_that_is_the_settings_of_something_else():

    def point(x: int, y: int = 0) -> None:
        """A point."""

    @checked
    class Mine:

        def __init__(self, at: nested(lambda _: point, 'dict(x=..., y=...)')):
            pass

    Mine(at=dict(x=1))
    with pytest.raises(SettingError, match='Mine: at: point lacks its sett'):
        Mine(at=dict(y=1))
    with pytest.raises(SettingError, match=r'at must be dict\(x=..., y='):
        Mine(at=3)
    assert nearest('X', ['x']) == 'valid: x'


def test_the_tables_in_the_docs_are_made_from_the_signatures():
    made = tables(ours())
    assert (REPO / 'docs/settings.md').read_text() == made, (
        'python -m mmhkt.utils.settings_table > docs/settings.md')
    assert '| `temperature` | a number above 0 | `4.0` |' in made


def nodes(node):
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for value in node:
            yield from nodes(value)


def test_the_configs_settings_are_taken():
    """Of every class of ours in every config."""
    registries = [
        registry for registry in vars(mmhkt.registry).values()
        if isinstance(registry, CheckedRegistry)
    ]
    for registry in registries:
        registry.import_from_location()
    known = {
        f'mmhkt.{name}': kind
        for registry in registries
        for name, kind in registry.module_dict.items()
    }
    seen = set()
    for file in sorted(CONFIGS.rglob('*.py')):
        for node in nodes(Config.fromfile(file)._cfg_dict.to_dict()):
            kind = node.get('type')
            if kind in known:
                given = {k: v for k, v in node.items() if k != 'type'}
                check(known[kind], given, f'{file.name}: {kind}', partial=True)
                seen.add(kind)
    assert len(seen) > 30


class Sloppy(Hook):
    """Of a user, whose annotation says less than it takes."""

    def __init__(self, size: Tuple[int] = (1, )):
        self.size = size


def test_values_of_others_hooks_are_theirs():
    check_hooks(None, [dict(type=Sloppy, size=(3, 4))])
    with pytest.raises(SettingError, match='no setting "sise"; nearest: size'):
        check_hooks(None, [dict(type=Sloppy, sise=3)])
