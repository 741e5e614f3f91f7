# Copyright (c) mmhkt authors. All rights reserved.
"""A setting is declared once: in the signature that takes it.

Its name, default, type and range are those of the parameter. What a config
says is checked against them before anything is built, errors name the setting,
its value, what was expected and the nearest name, and the tables in the docs
are made from them. A class that is registered with mmhkt needs nothing more
than annotations for that.
"""
import functools
import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import (Annotated, Any, Callable, Dict, List, Literal, Optional,
                    Sequence, Tuple, Union, get_args, get_origin)

from annotated_types import Ge, Gt, Le, Lt, MinLen
from mmengine.registry import Registry
from pydantic import (AfterValidator, ConfigDict,
                      PydanticSchemaGenerationError, Strict, TypeAdapter,
                      ValidationError)

from .names import nearest


@dataclass(frozen=True)
class Described:
    """Says, within ``Annotated``, what a setting has to be."""
    text: str


# The ranges that settings have; a plain `float` is any finite number.
Finite = float
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
AtLeastOne = Annotated[float, Ge(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
Number = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Name = Annotated[str, MinLen(1)]
# Not a text, which is a sequence too.
Many = Annotated[Union[List[Any], Tuple[Any, ...]], Described('a list')]


def _pattern(pair: Tuple[str, str]) -> Tuple[str, str]:
    try:
        re.sub(pair[0], pair[1], '')
    except (re.error, IndexError) as error:
        raise SettingError(f'{pair[0]!r} -> {pair[1]!r} is no regular '
                           f'expression and its replacement: {error}.')
    return pair


ReviseKeys = Sequence[Annotated[Tuple[str, str], AfterValidator(_pattern)]]

# Whose annotations are not ours to rely on.
FOREIGN = ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'torch', 'torchvision')


class SettingError(ValueError):
    """A setting that cannot be what it is."""


@dataclass(frozen=True)
class Setting:
    """What is known of a setting.

    Attributes:
        name (str): Its name.
        kind (Any): Its annotation.
        default (Any): ``inspect.Parameter.empty`` where it has to be given.
        foreign (bool): Whether another package declares it.
        inherited (bool): Whether a class that is extended does, so that the
            class itself may give it.
    """
    name: str
    kind: Any
    default: Any
    foreign: bool = False
    inherited: bool = False

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return (self.default is inspect.Parameter.empty and not self.inherited)


@functools.lru_cache(maxsize=None)
def settings_of(kind: Callable) -> Dict[str, Setting]:
    """All settings of a class, also those that it hands on by ``**kwargs``.

    Args:
        kind (type | Callable): The class, or a function.

    Returns:
        dict[str, Setting]: By name, in the order of the signatures.
    """
    found: Dict[str, Setting] = {}
    first = None
    for owner in kind.__mro__ if inspect.isclass(kind) else (kind, ):
        function = owner.__init__ if inspect.isclass(owner) else owner
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # of a class written in C
            break
        function = inspect.unwrap(function)
        first = first or function
        module = getattr(function, '__module__', None) or 'torch'
        foreign = module.split('.')[0] in FOREIGN
        hints = {} if foreign else _hints(function)
        for p in parameters:
            if p.name != 'self' and p.kind not in (p.VAR_KEYWORD,
                                                   p.VAR_POSITIONAL):
                found.setdefault(
                    p.name,
                    Setting(p.name, hints.get(p.name, Any), p.default, foreign,
                            function is not first))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def takes_anything(kind: Callable) -> bool:
    """Whether a class hands settings on to where nothing is known of them."""
    for owner in kind.__mro__ if inspect.isclass(kind) else (kind, ):
        function = owner.__init__ if inspect.isclass(owner) else owner
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return False
    return True


def _hints(function: Callable) -> Dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:  # a name that is there for type checkers only
        return {}


def check(kind: Callable,
          settings: Mapping,
          what: Optional[str] = None,
          partial: bool = False,
          finite: bool = True,
          more: bool = False,
          values: bool = True) -> None:
    """Check settings against the signature that will take them.

    Args:
        kind (type | Callable): What takes them.
        settings (dict): Name -> value.
        what (str, optional): What errors call it. Defaults to None, the name
            of the class.
        partial (bool): Whether settings that have no default may be left
            out, since they are given later. Defaults to False.
        finite (bool): Whether numbers have to be. Defaults to True.
        more (bool): Whether there may be more than is known. Defaults to
            False.
        values (bool): Whether values are checked, not only names. Defaults
            to True.

    Raises:
        SettingError: Names the setting, its value, what was expected and the
            nearest valid name.
    """
    what = what or kind.__name__
    if not isinstance(settings, Mapping):
        raise SettingError(f'{what} must be a dict of settings, but got '
                           f'{shown(settings)}.')
    known = settings_of(kind)
    for name, value in settings.items():
        if name == '_scope_':
            continue
        setting = known.get(name)
        if setting is not None:
            if values:
                check_value(f'{what}: {name}', setting.kind, value,
                            setting.default, finite)
        elif not more and not (isinstance(name, str) and takes_anything(kind)):
            raise SettingError(f'{what} has no setting "{name}"; '
                               f'{nearest(str(name), known)}.')
    for setting in known.values():
        if setting.required and setting.name not in settings and not partial:
            near = get_close_matches(setting.name, map(str, settings), 1)
            raise SettingError(f'{what} lacks its setting "{setting.name}", '
                               f'{described(setting.kind)}' +
                               (f'; nearest: {near[0]}.' if near else '.'))


def check_value(what: str,
                kind: Any,
                value: Any,
                default: Any = inspect.Parameter.empty,
                finite: bool = True) -> None:
    """Check one value.

    Args:
        what (str): What the error calls the setting.
        kind (Any): Its annotation.
        value (Any): What is given.
        default (Any): What is always valid.
        finite (bool): Whether numbers have to be. Defaults to True.

    Raises:
        SettingError: If it does not fit.
    """
    if value is default:
        return
    adapter = _adapter(kind, finite)
    if adapter is None:
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        raise SettingError(_explained(what, kind, value, error)) from None


def _strict(kind: Any) -> Any:
    """An annotation whose numbers and words are no other ones; but a list is
    as good as a tuple, which --cfg-options cannot make."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (int, float, str, bool):
        return Annotated[kind, Strict()]
    if not parts or origin is Literal:
        return kind
    if origin is Annotated:
        return Annotated[(_strict(parts[0]), *parts[1:])]
    parts = tuple(map(_strict, parts))
    if origin in (Union, UnionType):
        return Union[parts]
    try:
        return origin[parts]
    except TypeError:  # of no use to a config
        return kind


_ADAPTERS: Dict[Any, Optional[TypeAdapter]] = {}


def _adapter(kind: Any, finite: bool) -> Optional[TypeAdapter]:
    if kind is Any:
        return None
    key = id(kind), repr(kind), finite
    if key not in _ADAPTERS:
        try:
            _ADAPTERS[key] = TypeAdapter(
                _strict(kind),
                config=ConfigDict(
                    allow_inf_nan=not finite, arbitrary_types_allowed=True))
        except PydanticSchemaGenerationError:
            _ADAPTERS[key] = None
    return _ADAPTERS[key]


def _explained(what: str, kind: Any, value: Any,
               error: ValidationError) -> str:
    errors = error.errors(include_url=False)
    # What a validator of ours has to say is better than any description.
    own = [
        e for e in errors
        if isinstance(e.get('ctx', {}).get('error'), SettingError)
    ]
    if own:
        return f'{what}: {own[0]["ctx"]["error"]}'
    choices = _choices(kind)
    if choices and isinstance(value, str):
        return (f'{what} "{shorten(value)}" is unknown; '
                f'{nearest(value, choices)}.')
    where = ''
    parts = [
        str(part) for part in errors[0]['loc']
        if isinstance(part, int) or _is_key(part, value)
    ]
    if parts and isinstance(value, (Mapping, list, tuple)):
        where = f' (at {".".join(parts)}: {shown(errors[0]["input"])})'
    return (f'{what} must be {described(kind)}, but got {shown(value)}'
            f'{where}.')


def _is_key(part: Any, value: Any) -> bool:
    return isinstance(value, Mapping) and part in value


def _choices(kind: Any) -> List[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) is Union:
        parts = [_choices(p) for p in get_args(kind) if p is not type(None)]
        # Not where there is more than words to choose from.
        return [c for part in parts for c in part] if all(parts) else []
    return []


def shown(value: Any) -> str:
    """A value as errors show it."""
    return shorten(repr(value))


def shorten(text: str, most: int = 80) -> str:
    """A text in one line, and no longer than a line."""
    text = ' '.join(text.split())
    return text if len(text) <= most else f'{text[:most - 3]}...'


NAMES = {
    int: 'a whole number',
    float: 'a number',
    str: 'a string',
    bool: 'True or False',
    dict: 'a dict',
    type(None): 'None',
    Any: 'anything'
}


def described(kind: Any) -> str:
    """What a setting has to be, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in NAMES:
        return NAMES[kind]
    if origin is Annotated:
        for mark in parts[1:]:
            if isinstance(mark, Described):
                return mark.text + _range(parts[1:])
        return described(parts[0]) + _range(parts[1:])
    if origin is Literal:
        return ' or '.join(repr(choice) for choice in parts)
    if origin in (Union, UnionType):
        return ' or '.join(described(part) for part in parts)
    if origin in (tuple, Tuple) and Ellipsis not in parts:
        return f'{len(parts)} of {described(parts[0])}'
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f'a dict of {described(parts[1])}'
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f'a list of {described(parts[0])}'
    return getattr(kind, '__name__', str(kind))


def _range(marks: Sequence[Any]) -> str:
    words = []
    for mark in marks:
        if isinstance(mark, Gt):
            words.append(f'above {mark.gt}')
        elif isinstance(mark, Ge):
            words.append(f'from {mark.ge} on')
        elif isinstance(mark, Lt):
            words.append(f'below {mark.lt}')
        elif isinstance(mark, Le):
            words.append(f'up to {mark.le}')
        elif isinstance(mark, MinLen):
            words.append('that is not empty')
    return ' ' + ' and '.join(words) if words else ''


def nested(kind: Callable[[dict], Callable], text: str, **options) -> Any:
    """The annotation of a dict that is the settings of something else.

    Args:
        kind (Callable): Returns what takes given settings. Called when there
            are some, so that it may import.
        text (str): In words, what has to be given.
        **options: Of :func:`check`.
    """

    def validate(settings: dict) -> dict:
        check(
            kind(settings), {
                k: v
                for k, v in settings.items() if k != 'type'
            }, **options)
        return settings

    return Annotated[dict, AfterValidator(validate), Described(text)]


def checked(kind: type) -> type:
    """A class whose settings are checked when it is built, by whomever."""
    build = kind.__init__

    @functools.wraps(build)
    def init(self, *args, **kwargs):
        if type(self) is kind:
            given = dict(kwargs)
            if args:
                names = list(inspect.signature(build).parameters)[1:]
                given.update(zip(names, args))
            check(kind, given, name_of(kind))
        build(self, *args, **kwargs)

    kind.__init__ = init
    return kind


def name_of(kind: type) -> str:
    """As configs call a class."""
    package = kind.__module__.split('.')[0]
    return f'mmhkt.{kind.__name__}' if package == 'mmhkt' else kind.__name__


class CheckedRegistry(Registry):
    """mmengine's Registry, of classes whose settings are checked."""

    def _register_module(self, module, module_name=None, force=False) -> None:
        if inspect.isclass(module):
            module = checked(module)
        super()._register_module(module, module_name, force)
