# Copyright (c) mmhkt authors. All rights reserved.
"""Which OpenMMLab is installed.

Two families of distributions provide the import names ``mmengine``, ``mmcv``,
``mmpretrain`` and ``mmseg``, and pip installs both over each other without a
word. What then fails, fails far from its cause; so it is looked at here.
"""
from importlib import metadata
from typing import Dict, Optional, Tuple

from packaging.version import Version

# family -> import name -> {distribution: lowest version}
FAMILIES: Dict[str, Dict[str, Dict[str, str]]] = {
    'onedl': {
        'mmengine': {
            'onedl-mmengine': '0.10.12'
        },
        'mmcv': {
            'onedl-mmcv': '2.3.6'
        },
        'mmpretrain': {
            'onedl-mmpretrain': '1.3.6'
        },
        'mmseg': {
            'onedl-mmsegmentation': '1.4.2'
        },
    },
    'openmmlab': {
        'mmengine': {
            'mmengine': '0.10.7'
        },
        'mmcv': {
            'mmcv-lite': '2.1.0',
            'mmcv': '2.1.0',
            'mmcv-full': '2.1.0'
        },
        'mmpretrain': {
            'mmpretrain': '1.2.0'
        },
        'mmseg': {
            'mmsegmentation': '1.2.2'
        },
    },
}
OPTIONAL = ('mmseg', )


def install(family: str = 'onedl') -> str:
    """The command that installs a family, of packages that are on PyPI."""
    lowest = [next(iter(d.items())) for d in FAMILIES[family].values()]
    return 'pip install ' + ' '.join(f'"{name}>={version}"'
                                     for name, version in lowest)


def installed_version(distribution: str) -> Optional[str]:
    """The version of an installed distribution, None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def find_providers() -> Dict[str, Dict[str, Tuple[str, str]]]:
    """Find what provides each import name.

    Returns:
        Dict[str, Dict[str, Tuple[str, str]]]: For every import name the
        distributions that provide it, each with its family and version.
    """
    providers: Dict[str, Dict[str, Tuple[str, str]]] = {}
    for family, names in FAMILIES.items():
        for name, distributions in names.items():
            found = providers.setdefault(name, {})
            for distribution in distributions:
                version = installed_version(distribution)
                if version is not None:
                    found[distribution] = (family, version)
    return providers


def check_dependencies() -> None:
    """Refuse an environment whose OpenMMLab packages cannot work together.

    Raises:
        ImportError: If a needed package is missing or too old, if two
            distributions provide the same one, or if the families are mixed.
            The message ends with the command that repairs it.
    """
    providers = find_providers()

    for name, found in providers.items():
        if len(found) > 1:
            # Removing one deletes files of the other, hence the reinstall.
            raise ImportError(
                f'{" and ".join(found)} are both installed and overwrite each '
                f'other\'s "{name}". Remove both and install one: pip '
                f'uninstall -y {" ".join(found)} && {install()}')

    families: Dict[str, list] = {}
    for found in providers.values():
        for distribution, (family, _) in found.items():
            families.setdefault(family, []).append(distribution)
    if len(families) > 1:
        onedl, originals = families['onedl'], families['openmmlab']
        raise ImportError(
            f'{onedl[0]} and {originals[0]} are of two families that do not '
            f'work together. Keep one: pip uninstall -y {" ".join(originals)} '
            f'&& {install()}')

    family = next(iter(families), 'onedl')
    repair = install(family)
    for name, found in providers.items():
        wanted = FAMILIES[family][name]
        if not found and name not in OPTIONAL:
            raise ImportError(
                f'mmhkt needs "{name}", which {next(iter(wanted))} provides: '
                f'{repair}')
        for distribution, (_, version) in found.items():
            if Version(version) < Version(wanted[distribution]):
                raise ImportError(
                    f'{distribution} {version} is too old, mmhkt needs '
                    f'{wanted[distribution]} or later: {repair}')
