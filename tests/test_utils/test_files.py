# Copyright (c) mmhkt authors. All rights reserved.
import os

import pytest

from mmhkt.utils.files import replaced, write_text


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'file'
    write_text(path, 'before')
    with pytest.raises(RuntimeError):
        with replaced(path) as partial:
            partial.write_text('half')
            raise RuntimeError
    assert path.read_text() == 'before'
    write_text(path, 'after')
    assert path.read_text() == 'after'


def test_two_processes_write_partial_files_of_their_own(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    with replaced(path, unique=True) as mine:
        monkeypatch.setattr(os, 'getpid', lambda: -1)
        with replaced(path, unique=True) as other:
            assert mine != other
            other.write_text('whole')
        mine.write_text('whole')
        assert path.read_text() == 'whole'
    assert [p.name for p in tmp_path.iterdir()] == ['file']
