# Copyright (c) mmhkt authors. All rights reserved.
"""Writes docs/coverage.md, and the counts in the README, from the survey.

    python tools/maintenance/coverage_page.py docs/coverage.json \\
        docs/coverage.md README.md
"""
import json
import re
import sys
from pathlib import Path
from typing import Tuple

HEAD = """# Coverage: each family of the zoos

Of every family of the installed zoos, told apart by folder, backbone and head,
the smallest configuration that can be built is tried as the parent of a
ResNet-18 and as the child of a ResNet-50 (PSPNet in segmentation; what was
changed in it stands beside it): sites are found, and a training step has
finite gradients, with HKT's default and one method each that compares logits
(KD), stages (FitNet) and pooled features (RKD). Weights and images are random:
this says what runs, not what helps. "4 of 5" are the sites of HKT beside the
stages of the family's network; "blocks" are a plain transformer's.

`make coverage` tries all again and writes this page (an hour on one core);
what it found is in [coverage.json](coverage.json).
"""


def works(row: dict, role: str) -> bool:
    """Whether the default does; what heads do not have is left out aloud."""
    return 'HKT' in row.get(role, {}).get('works', ())


def cell(row: dict, role: str) -> str:
    found = row.get(role, {})
    if not works(row, role):
        return 'no'
    stages = found['stages'][role == 'parent']
    of = 'blocks' if stages is None else f'of {stages}'
    text = f'{found["sites"]} {of}'
    refused = [name for name in found.get('refused', ())]
    return text + (f'; not {", ".join(refused)}' if refused else '')


def why(row: dict) -> str:
    """One reason for each thing that does not."""
    reasons = [row['error']] if 'error' in row else []
    for role in ('parent', 'child'):
        reasons += row.get(role, {}).get('refused', {}).values()
    shown = dict.fromkeys(
        re.sub(r'\s+', ' ', reason).replace('|', '/') for reason in reasons)
    return ' '.join(shown)


def families(rows: dict) -> dict:
    return {
        name: row
        for name, row in sorted(rows.items()) if isinstance(row, dict)
    }


def counts(rows: dict) -> Tuple[int, int, int]:
    """Families, and how many work as parent and as child."""
    found = families(rows).values()
    return (len(found), *(sum(works(row, role) for row in found)
                          for role in ('parent', 'child')))


def page(table: dict) -> str:
    parts = [HEAD]
    for zoo, rows in table.items():
        total, parents, children = counts(rows)
        left = rows['families'] - total
        later = f' {left} more have not been tried yet.' if left else ''
        parts.append(f'\n## {zoo} {rows["version"]}\n\n{parents} of {total} '
                     f'work as parent, {children} as child.{later}\n\n'
                     '| family | configuration | as parent | as child | '
                     'what does not, and why |\n|---|---|---|---|---|\n')
        for name, row in families(rows).items():
            parts.append(f'| {name} | {row["config"]} | '
                         f'{cell(row, "parent")} | {cell(row, "child")} | '
                         f'{why(row)} |\n')
    return ''.join(parts)


def sentence(table: dict) -> str:
    """For the README."""
    return '; '.join('{}: {} families, {} as parent, {} as child'.format(
        zoo, *counts(rows)) for zoo, rows in table.items())


def main(source: str, target: str, readme: str) -> None:
    table = json.loads(Path(source).read_text())
    Path(target).write_text(page(table))
    text = Path(readme).read_text()
    Path(readme).write_text(
        re.sub(
            r'(<!-- coverage -->).*?(<!-- /coverage -->)',
            lambda m: m[1] + sentence(table) + m[2],
            text,
            flags=re.S))


if __name__ == '__main__':
    main(*sys.argv[1:])
