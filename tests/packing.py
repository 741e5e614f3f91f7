# Copyright (c) mmhkt authors. All rights reserved.
"""Builds the package as pip would."""
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_of_the_tree(target):
    """A copy of what is packed, since building writes into the tree."""
    for name in ('configs', 'mmhkt', 'tools'):
        shutil.copytree(
            ROOT / name,
            target / name,
            ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, target)
    return target


def build(checkout, what, target):
    """What pip does, without a download: call the build backend."""
    target.mkdir(exist_ok=True)
    code = (f'from setuptools import build_meta; '
            f'print(build_meta.{what}({str(target)!r}))')
    run = subprocess.run([sys.executable, '-c', code],
                         cwd=checkout,
                         capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stderr
    return target / run.stdout.split()[-1]
