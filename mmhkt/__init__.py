# Copyright (c) mmhkt authors. All rights reserved.
from .dependencies import check_dependencies, installed_version
from .version import __version__

check_dependencies()


def _register_config_packages() -> None:
    """Tell mmengine where ``mmhkt::`` and ``mmseg::`` configs lie.

    Its table maps an import name to a distribution, from which it derives the
    folder. A name that is no distribution is looked up as a module instead,
    and the folder is then the one that is really imported.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    # `mmhkt` is a distribution too. Its folder is found for the originals'
    # mmengine only if the install is not an editable one; a module inside the
    # package always leads there.
    MODULE2PACKAGE['mmhkt'] = 'mmhkt.version'
    if installed_version('onedl-mmsegmentation') is not None:
        MODULE2PACKAGE['mmseg'] = 'mmseg'


_register_config_packages()


def __getattr__(name: str):
    # Not before it is asked for: it imports torch and all of OpenMMLab.
    if name in ('inherit', 'InheritedLoss'):
        from . import api
        return getattr(api, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


__all__ = ['InheritedLoss', '__version__', 'inherit']
