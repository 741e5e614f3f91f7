# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt`` and ``python -m mmhkt``."""
import os
import subprocess
import sys

import pytest
from helpers import REPO

from mmhkt.cli import COMMANDS, main
from mmhkt.utils.config import load_config
from mmhkt.version import __version__

# What may not be imported for a help text; each takes seconds.
HEAVY = ('torch', 'torchvision', 'mmcv', 'mmpretrain', 'mmseg', 'matplotlib',
         'scipy', 'cv2')
HELP = f"""
import resource, sys
from mmhkt.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
print([name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize(
    'args', [[], *([name] for name in COMMANDS), ['prepare', 'lits']],
    ids=' '.join)
def test_help_is_quick_and_fits_the_terminal(args):
    for _ in range(3):  # the first may find nothing in the disk's cache
        done = subprocess.run([sys.executable, '-c', HELP, *args, '--help'],
                              env={
                                  **os.environ, 'COLUMNS': '80'
                              },
                              cwd=REPO,
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        *text, seconds, heavy = done.stdout.splitlines()
        if float(seconds) < 1:
            break
    assert text[0].startswith(' '.join(['usage: mmhkt', *args]))
    assert max(map(len, text)) <= 80
    assert heavy == '[]'
    assert float(seconds) < 1  # of CPU time, user and system


def test_all_commands_are_named(capsys):
    main([])
    text = capsys.readouterr().out
    assert all(f'\n  {name} ' in text for name in COMMANDS)
    main(['--version'])
    assert capsys.readouterr().out == f'mmhkt {__version__}\n'


def test_unknown_command():
    with pytest.raises(SystemExit) as error:
        main(['trian', 'config.py'])
    assert str(error.value).startswith(
        'mmhkt: there is no command "trian"; nearest: train')


def test_module_and_tools_are_the_command(tmp_path):
    for command in (['-m', 'mmhkt', 'train'], [str(REPO / 'tools/train.py')]):
        done = subprocess.run([sys.executable, *command, 'no.py'],
                              cwd=tmp_path,
                              capture_output=True,
                              text=True)
        assert done.returncode == 1
        assert done.stderr.startswith('mmhkt: there is no config no.py')


def test_parents_are_found_from_anywhere(tmp_path, monkeypatch):
    """Beside the config that names them, or beside one it is based on."""
    below = tmp_path / 'a' / 'b'
    below.mkdir(parents=True)
    (tmp_path / 'a/parent.py').write_text("model = dict(type='P')")
    (tmp_path / 'a/base.py').write_text("parent = dict(config='parent.py')")
    (below / 'child.py').write_text("_base_ = '../base.py'")
    monkeypatch.chdir(below)
    for path in ('child.py', tmp_path / 'a/base.py'):
        assert load_config(load_config(path).parent.config).model.type == 'P'
    (tmp_path / 'a/base.py').write_text("parent = dict(config='parents.py')")
    with pytest.raises(FileNotFoundError) as error:
        load_config('child.py')
    text = str(error.value)
    assert 'no parent.config parents.py (looked in ., .. and' in text
    assert 'nearest: parent.py' in text and '\n' not in text
