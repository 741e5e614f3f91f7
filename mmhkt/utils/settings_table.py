# Copyright (c) mmhkt authors. All rights reserved.
"""The settings tables of the docs, from the signatures themselves.

``python -m mmhkt.utils.settings_table > docs/settings.md``
"""
import inspect
from typing import Dict, Iterator

from .settings import Setting, described, name_of, settings_of, takes_anything

HEAD = """# Settings

Made by `python -m mmhkt.utils.settings_table` from the signatures that checks
and errors are made from too. What a setting means stands in the docstring of
its class, to which the heading leads.
"""


def tables(groups: Dict[str, list]) -> str:
    """All tables.

    Args:
        groups (dict[str, list[type]]): Heading -> classes.

    Returns:
        str: Markdown.
    """
    lines = [HEAD]
    for heading, kinds in groups.items():
        lines += [f'## {heading}', '']
        for kind in kinds:
            lines += [*table(kind), '']
    return '\n'.join(lines)


def table(kind: type) -> Iterator[str]:
    """The lines of a class's table."""
    path = inspect.getsourcefile(inspect.unwrap(kind)).rpartition('mmhkt/')[2]
    yield f'### [`{name_of(kind)}`](../mmhkt/{path})'
    yield ''
    own = [s for s in settings_of(kind).values() if not s.foreign]
    if own:
        yield '| setting | what it can be | default |'
        yield '|---|---|---|'
    for setting in own:
        text = described(setting.kind).replace('|', '\\|')
        yield f'| `{setting.name}` | {text} | {default_of(setting)} |'
    if not own:
        yield 'None.'
    elif takes_anything(kind) or len(own) < len(settings_of(kind)):
        yield ''
        yield 'And those of the class that it extends.'


def default_of(setting: Setting) -> str:
    """As the table shows it."""
    if setting.required:
        return 'has to be given'
    return f'`{setting.default!r}`'.replace('|', '\\|')


def ours() -> Dict[str, list]:
    """All that configs of ours can set."""
    import mmhkt.hooks  # noqa: F401  fills the registries
    import mmhkt.methods  # noqa: F401
    from mmhkt.inheritance import GeneticAttention
    from mmhkt.methods import Schedule
    from mmhkt.models import Parent
    from mmhkt.registry import HOOKS, METHODS

    def of_ours(registry) -> list:
        return [
            kind for kind in registry.module_dict.values()
            if kind.__module__.startswith('mmhkt.')
        ]

    return {
        'Parent, attention, schedules': [Parent, GeneticAttention, Schedule],
        'Methods': of_ours(METHODS),
        'Hooks': of_ours(HOOKS)
    }


if __name__ == '__main__':
    print(tables(ours()), end='')
