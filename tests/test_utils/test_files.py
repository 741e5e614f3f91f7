# Copyright (c) mmhkt authors. All rights reserved.
import os

import pytest

from mmhkt.utils.files import remove_partial, replaced, write_text


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
    """Also of texts."""
    path = tmp_path / 'file'
    other = tmp_path / f'file.{os.getpid() + 1}.partial'
    other.touch()
    write_text(path, 'mine')
    assert other.exists()
    other.unlink()
    with replaced(path, unique=True) as mine:
        monkeypatch.setattr(os, 'getpid', lambda: -1)
        with replaced(path, unique=True) as other:
            assert mine != other
            other.write_text('whole')
        mine.write_text('whole')
        assert path.read_text() == 'whole'
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_only_what_a_training_left_is_removed(tmp_path):
    for name in ('epoch_3.pth.partial', 'record.json.12.partial',
                 'last_checkpoint.partial', 'film.mp4.partial'):
        (tmp_path / name).touch()
    (tmp_path / 'thesis.pth.partial').mkdir()
    remove_partial(tmp_path)
    assert {path.name
            for path in tmp_path.iterdir()
            } == {'film.mp4.partial', 'thesis.pth.partial'}
