# Copyright (c) mmhkt authors. All rights reserved.
import errno
import fcntl
import os
import threading
import time

from mmhkt.utils import lock


def test_who_only_looks_keeps_nobody_out(tmp_path):
    (tmp_path / lock.NAME).touch()
    looking = os.open(tmp_path / lock.NAME, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)

    def end():
        time.sleep(0.1)
        os.close(looking)

    thread = threading.Thread(target=end)
    thread.start()
    held = lock.acquire(tmp_path)
    thread.join()
    assert held is not None and lock.is_locked(tmp_path)
    assert lock.acquire(tmp_path) is None
    os.close(held)
    assert not lock.is_locked(tmp_path)


def test_a_file_system_without_locks(tmp_path, monkeypatch):

    def flock(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    file = lock.acquire(tmp_path)
    assert file is not None and not lock.is_locked(tmp_path)
    os.close(file)
