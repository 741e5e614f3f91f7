# Copyright (c) mmhkt authors. All rights reserved.
import re
from pathlib import Path
from typing import List, Union

from mmengine.config import Config


def checkpoints(folder: Union[str, Path], cfg: Config) -> List[Path]:
    """A run's checkpoints, the one to be resumed first: that noted last, then
    the newest.

    Args:
        folder (str | Path): The run's.
        cfg (Config): Its config, of which the checkpoint hook's ``out_dir``
            and ``filename_tmpl`` are read.
    """
    folder = Path(folder)
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    names = '|'.join(
        # The number, however it is written: {}, {:06d}.
        re.sub(r'\\\{.*?\\\}', r'\\d+', re.escape(name))
        for name in ('epoch_{}.pth', 'iter_{}.pth',
                     hook.get('filename_tmpl') or 'epoch_{}.pth'))
    places = [folder]
    if hook.get('out_dir'):
        places.append(Path(hook['out_dir'], folder.resolve().name))
    found = sorted(
        (path for place in places if place.is_dir()
         for path in place.iterdir() if re.fullmatch(names, path.name)),
        key=lambda path: (path.stat().st_mtime, path.name),
        reverse=True)
    file = folder / 'last_checkpoint'
    if file.is_file():
        noted = Path(file.read_text(errors='replace').strip())
        # By its name alone: the folder may have been moved since.
        found.sort(key=lambda path: path.name != noted.name)
    return found
