# Copyright (c) mmhkt authors. All rights reserved.
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

from mmengine.hooks import CheckpointHook

from mmhkt.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, in whose run a checkpoint is there always.

    The runner puts it in the place of mmengine's. What it does differently:

    - an old checkpoint is removed when the new one is there whole, so that
      ``max_keep_ckpts=1`` survives being killed while it saves;
    - nothing outside of the run's own folder is removed, whatever a resumed
      file says of checkpoints.

    The arguments are those of :class:`mmengine.hooks.CheckpointHook`.
    """

    def before_train(self, runner) -> None:
        """Take over, of what a resumed file notes, what is the run's own."""
        info = runner.message_hub.runtime_info
        ids = info.get('keep_ckpt_ids')
        if ids is not None:
            own = [i for i in ids if type(i) is int and i >= 0]
            info['keep_ckpt_ids'] = own
        super().before_train(runner)
        for name in [n for n in info if n.startswith('best_ckpt')]:
            path = self._own(info[name])
            if path is None:
                info.pop(name)
            else:
                info[name] = path
            if name == 'best_ckpt':
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[name.removeprefix('best_ckpt_')] = (
                    path)

    def _own(self, path: Any) -> Optional[str]:
        """The file of that name in this run's folder, if it is there."""
        name = Path(path).name if isinstance(path, str) else ''
        own = self.file_backend.join_path(self.out_dir, name)
        return own if name and self.file_backend.exists(own) else None

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._removing_later():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        with self._removing_later():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_later(self) -> Iterator:
        # None in a validation before the training.
        backend = getattr(self, 'file_backend', None)
        if backend is None or isinstance(backend, _Later):  # within another
            yield
            return
        self.file_backend = later = _Later(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        # Not where saving has failed.
        later.remove_all()


class _Later:
    """A file backend that removes nothing before it is told to."""

    def __init__(self, backend):
        self._backend = backend
        self._removals: List[Callable] = []

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._removals.append(lambda: self._backend.remove(path))

    def rmtree(self, path: str) -> None:
        self._removals.append(lambda: self._backend.rmtree(path))

    def remove_all(self) -> None:
        for removal in self._removals:
            removal()
