# Copyright (c) mmhkt authors. All rights reserved.
"""Sphinx: `make docs`."""
import posixpath
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmhkt.utils.config import quieten  # noqa: E402
from mmhkt.version import __version__  # noqa: E402

quieten()

project = 'mmhkt'
author = 'mmhkt authors'
copyright = '2026, mmhkt authors'
release = __version__

extensions = [
    'myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon',
    'sphinx.ext.viewcode'
]
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'mmhkt {release}'

myst_enable_extensions = ['dollarmath', 'colon_fence']
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_typehints = 'none'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# A link out of docs/ leads to a file of the repository, which is no page.
OUTSIDE = re.compile(r'\[([^\]]+)\]\(((?:\.\./)+[^)]+)\)')


def name_files(app, page, source) -> None:
    """Write such links as the names of the files."""

    def named(link):
        path = posixpath.normpath(
            posixpath.join('docs', posixpath.dirname(page), link[2]))
        inside = path.startswith('docs/')
        return link[0] if inside else f'{link[1]} (`{path}`)'

    source[0] = OUTSIDE.sub(named, source[0])


def setup(app) -> None:
    app.connect('source-read', name_files)
