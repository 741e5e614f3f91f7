# Copyright (c) mmhkt authors. All rights reserved.
"""The pictures of all runs, put beside each other."""
import base64
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import cv2
from typing_extensions import NotRequired, TypedDict

from mmhkt.utils.files import Damaged, read_json
from .plan import Plan, Run

# Where :class:`mmhkt.hooks.ExamplesHook` puts them, within a run's folder.
FOLDER = 'examples'
INDEX = 'examples.json'
# Width of a picture in the page, in pixels: about two for each that a column
# is wide, for fine screens.
WIDTH = 400
QUALITY = 85


def read_examples(folder: Path) -> Optional[dict]:
    """What a run has drawn; None where there is nothing.

    Args:
        folder (Path): The run's.
    """
    path = Path(folder, FOLDER, INDEX)
    examples = read_json(path, example_fields)
    for sample in examples['samples'] if examples else ():
        for drawn in sample.values():
            for name in drawn['files'] if isinstance(drawn, dict) else ():
                if Path(name).name != name:
                    raise Damaged(f'"{path}" is damaged: "{name}" is no file '
                                  'beside it.')
    return examples


class Drawn(TypedDict):
    """The pictures of one sample, beside the index."""
    caption: str
    files: List[str]


class Sample(TypedDict):
    """What is drawn of one sample."""
    name: str
    image: NotRequired[Optional[Drawn]]
    truth: NotRequired[Optional[Drawn]]
    parent: NotRequired[Optional[Drawn]]
    child: NotRequired[Optional[Drawn]]


def example_fields(classes: Sequence[Tuple[str, list]],
                   samples: Sequence[Sample], note: Optional[str]) -> None:
    """What :class:`mmhkt.hooks.ExamplesHook` writes down."""


def collect_examples(plan: Plan) -> Optional[dict]:
    """Put the pictures of each method's first seed beside each other.

    Args:
        plan (Plan): What was run.

    Returns:
        dict | None: ``seed``, ``note``, ``classes`` (name, RGB) and ``rows``,
        one a sample: its ``name`` and its ``cells``, each with a ``label``,
        a ``caption`` and ``files`` relative to the plan's folder, of image,
        ground truth, parent and every method that has drawn it. None where
        nothing was drawn.
    """
    runs = [run for run in plan.runs if run.seed == plan.seeds[0]]
    drawn = [(run, read_examples(run.folder)) for run in runs]
    drawn = [(run, examples) for run, examples in drawn if examples]
    if not drawn:
        return None
    classes = {}
    for _, examples in drawn:
        classes.update((name, colour) for name, colour in examples['classes'])
    rows = []
    for number, sample in enumerate(drawn[0][1]['samples']):
        # The same of all runs, unless their settings have changed since.
        same = [(run, examples['samples'][number]) for run, examples in drawn
                if [s['name']
                    for s in examples['samples']][number:number +
                                                  1] == [sample['name']]]
        cells = [
            _cell(plan, same, 'image', 'image'),
            _cell(plan, same, 'truth', 'ground truth'),
            _cell(plan, same, 'parent', 'parent'),
            *(_cell(plan, [pair], 'child', pair[0].entry.label)
              for pair in same)
        ]
        rows.append(
            dict(name=sample['name'], cells=[cell for cell in cells if cell]))
    return dict(
        seed=plan.seeds[0],
        note=next((e['note'] for _, e in drawn if e['note']), ''),
        classes=[[name, colour] for name, colour in classes.items()],
        rows=rows)


def _cell(plan: Plan, drawn: List[tuple], what: str,
          label: str) -> Optional[dict]:
    for run, sample in drawn:
        if sample.get(what):
            return dict(
                label=label,
                caption=sample[what]['caption'],
                files=[
                    _path(plan, run, name) for name in sample[what]['files']
                ])
    return None


def _path(plan: Plan, run: Run, name: str) -> str:
    return plan.within(Path(run.folder, FOLDER, name))


def data_uri(path: Path) -> Optional[str]:
    """A picture as a part of a page, no wider than :data:`WIDTH`.

    Args:
        path (Path): Of an image file.

    Returns:
        str | None: A ``data:`` address; None if it cannot be read.
    """
    image = cv2.imread(str(path))
    if image is None:
        return None
    height, width = image.shape[:2]
    if width > WIDTH:
        image = cv2.resize(
            image, (WIDTH, round(height * WIDTH / width)),
            interpolation=cv2.INTER_AREA)
    _, code = cv2.imencode('.webp', image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return 'data:image/webp;base64,' + base64.b64encode(code).decode()
