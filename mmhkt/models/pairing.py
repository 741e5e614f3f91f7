# Copyright (c) mmhkt authors. All rights reserved.
"""What is said of child and parent before the first step."""
from typing import TYPE_CHECKING, Optional, Sequence, Tuple

from rich.table import Table

from mmhkt.inheritance import Extraction, Site, left_out
from mmhkt.methods import Method

if TYPE_CHECKING:
    from .inheritance import Inheritance


def pairing(inheritance: 'Inheritance') -> Table:
    """The sites of all methods: shapes, adapters and costs."""
    table = Table(title='Pairing', caption_justify='left')
    for column in ('method', 'child', 'shape', 'parent', 'shape', 'adapter',
                   'extra parameters'):
        table.add_column(column, no_wrap=column in ('child', 'parent'))
    methods, parent = inheritance.methods, inheritance.parent
    notes = [f'native loss x {methods[0].weights["native"]:g}']
    sees_own = methods[0].weights['native'] > 0 or any(method.sees == 'own'
                                                       for method in methods)
    for method in methods:
        rows = method.describe()
        for site, row in zip(method.sites, rows):
            table.add_row(method.name, site.child, str(site.child_layout),
                          site.parent, str(site.parent_layout), row['adapter'],
                          f'{row["parameters"]:,}')
        reruns: Sequence[str] = dict.fromkeys(row['reruns'] for row in rows)
        if not sees_own:
            # Its pass is the child's one.
            reruns = ['nothing'] if rows else []
        notes += [f'{method.name} runs once more: {r}' for r in reruns]
        notes += method.notes()
    notes += inheritance.counts
    extra = sum(p.numel() for p in inheritance.transfer_parameters())
    notes.append(f'learned in training only: {extra:,} parameters')
    if parent is not None:
        if parent.extraction.reordered:
            notes.append("the parent's logits are read in the order of the "
                         "child's classes, by their names")
        notes.append("the parent's input is re-normalised: "
                     f'{parent.renormalise.extra_repr()}')
    table.caption = '\n'.join(notes)
    return table


def count_stages(method: Method, sites: Sequence[Site], child: Extraction,
                 parent: Extraction) -> Tuple[str, Optional[str]]:
    """How many of the stages a method pairs, in words; and, if the child has
    more, what is to be said loudly."""
    missing = left_out((site.child for site in sites), child.trunk)
    spare = left_out((site.parent for site in sites), parent.trunk)
    count = len(child.trunk.stages) - len(missing)
    if child.trunk.plain:
        count = len(sites)
    text = f'{method.name}: {count}'
    if missing:
        text += f' of {count + len(missing)}'
    text += f' stage{"s"[:count != 1]} of the child'
    if spare:
        text += (f'; the parent\'s {", ".join(s.site for s in spare)} is not '
                 'asked')
    if not missing:
        return text, None
    lacking = ', '.join(f'"{s.site}" ({s.layout})' for s in missing)
    return text, (
        f'{method.name} PAIRS {count} OF THE {count + len(missing)} STAGES of '
        f'the child: the parent, which has {len(parent.trunk.stages)}, has '
        f'none left for {lacking}. To choose yourself type '
        f"method.sites=[dict(child='{missing[0].site}', parent='"
        f"{parent.trunk.stages[0].site}'), ...]; `mmhkt pair CONFIG --list` "
        'shows what can be typed.')
