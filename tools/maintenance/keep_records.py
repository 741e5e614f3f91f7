# Copyright (c) mmhkt authors. All rights reserved.
"""Copies what is small of a comparison's finished runs, to be committed.

    python tools/maintenance/keep_records.py work_dirs/NAME \\
        docs/comparisons/NAME

Copied back to ``work_dirs`` on another machine, the same command goes on with
what is left to run.
"""
import shutil
import sys
from pathlib import Path
from typing import List

from mmhkt.comparison.costs import COSTS
from mmhkt.comparison.entries import PARENT
from mmhkt.comparison.records import is_finished
from mmhkt.evaluation import IMAGES
from mmhkt.utils.files import replaced

REPORTS = ('comparison.md', 'comparison.csv', 'comparison.html', 'ladder.md',
           'ladder.csv', 'ladder.html', COSTS)
# Of a run: what it came to, and of each image of the test set.
RECORDS = ('record.json', IMAGES)


def keep(source: Path, target: Path) -> List[Path]:
    """Copy reports, costs and records of what is finished.

    Args:
        source (Path): A comparison's folder, of one or several budgets.
        target (Path): Where they go; what is there of the same name is
            replaced.

    Returns:
        list[Path]: What was written.
    """
    found = [path for name in REPORTS for path in source.rglob(name)]
    for record in source.rglob(RECORDS[0]):
        run = record.parent
        if is_finished(run):
            found.append(run.with_name(f'{run.name}.py'))
            names = RECORDS + ('child.pth', ) * (run.name == PARENT)
            found += [run / name for name in names if (run / name).exists()]
    written = []
    for path in sorted(found):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replaced(copy) as partial:
            shutil.copyfile(path, partial)
        written.append(copy)
    return written


if __name__ == '__main__':
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir():
        sys.exit('usage: keep_records.py COMPARISON_FOLDER TARGET_FOLDER')
    for file in keep(*map(Path, sys.argv[1:])):
        print(file)
