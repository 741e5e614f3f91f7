# Copyright (c) mmhkt authors. All rights reserved.
"""Our tools in processes that need not import torch again.

A process of its own costs a tool six seconds of imports. Where not the start
is tested but what comes after it, the process is forked from the one that runs
the tests, which has imported everything.
"""
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from unittest import mock

import torch

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


class Popen(subprocess.Popen):
    """Begins Python with one of our tools by a fork, everything else as ever.

    The tool's own processes begin so too.
    """

    def __init__(self, args, *, env=None, pass_fds=(), **kwargs):
        python, *words = map(str, args)
        if python == sys.executable and (TOOLS in Path(words[0]).parents
                                         or words[:2] == ['-m', 'mmhkt']):
            # What is to be run before the program, and does not return.
            kwargs['preexec_fn'] = partial(_become, words, env, pass_fds)
        super().__init__(args, env=env, pass_fds=pass_fds, **kwargs)


def forking():
    """Within this context :mod:`subprocess` forks our tools."""
    return mock.patch.object(subprocess, 'Popen', Popen)


def _become(words, env, pass_fds) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _let_go(pass_fds)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, 'w', buffering=1, closefd=False)
    sys.stderr = open(2, 'w', buffering=1, closefd=False)
    subprocess.Popen = Popen
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    path = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    sys.path[:0] = [str(TOOLS), *filter(None, path)]
    # The threads of the process that was forked are not there.
    torch.set_num_threads(1)
    code = 0
    try:
        if words[0] == '-m':
            sys.argv[:] = words[1:]
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv[:] = words
            runpy.run_path(words[0], run_name='__main__')
    except SystemExit as end:
        code = end.code
        if not isinstance(code, (int, type(None))):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        threading._shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _let_go(pass_fds) -> None:
    """Close what only the process that was forked needs; in its place
    nothing is opened, since objects of that process still know it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir('/proc/self/fd')):
        if number > 2 and number not in pass_fds and number != nothing:
            try:
                os.dup2(nothing, number, inheritable=False)
            except OSError:  # of the listing itself
                pass
