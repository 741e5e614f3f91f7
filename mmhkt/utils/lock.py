# Copyright (c) mmhkt authors. All rights reserved.
"""Who works in a folder, as the operating system knows it.

The lock of a run is handed on to the training process, and by it to whatever
it starts. So it is held exactly as long as one of them lives, also where
whoever started them was killed.

The package filelock cannot do that, by design: it closes its file in what is
forked, and unlocks for all when the one who locked lets go. Its lock would be
gone while the workers of a training that was killed still write.
"""
import fcntl
import os
import time
from pathlib import Path
from typing import Optional

NAME = '.lock'
# In the environment of a run: the folder that was locked for it.
LOCKED = 'MMHKT_LOCKED'


def acquire(folder: Path) -> Optional[int]:
    """Lock a folder.

    Returns:
        int, optional: A file descriptor; the lock is released when all copies
        of it are closed. None if another process has the folder locked.
    """
    file = os.open(Path(folder, NAME), os.O_RDWR | os.O_CREAT, 0o644)
    # Who only looks, as `is_locked`, holds it for a moment.
    for pause in (0.05, 0.2, 0.5, 0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            time.sleep(pause)
        except OSError:  # a file system without locks
            return file
    os.close(file)
    return None


def is_locked(folder: Path) -> bool:
    """Whether any process has the folder locked; writes nothing."""
    try:
        file = os.open(Path(folder, NAME), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False
