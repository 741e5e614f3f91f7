# Copyright (c) mmhkt authors. All rights reserved.
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

SCRIPT = """
import logging, os, sys
log = logging.getLogger('a run')
log.addHandler(logging.FileHandler(sys.argv[1], 'w'))
import mmhkt.comparison.cluster
log.warning('it went on')
assert os.environ.get('SUBMITIT_LOG_LEVEL') == 'INFO'
"""


def test_log_files_of_what_ran_before_stay_open(tmp_path):
    # Not by importing it, which closes log files.
    if find_spec('submitit') is None:
        pytest.skip('submitit is not installed')
    file = tmp_path / 'log.txt'
    subprocess.run([sys.executable, '-c', SCRIPT, file],
                   env={
                       **os.environ, 'SUBMITIT_LOG_LEVEL': 'INFO'
                   },
                   check=True)
    assert file.read_text() == 'it went on\n'
