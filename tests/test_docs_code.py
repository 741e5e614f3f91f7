# Copyright (c) mmhkt authors. All rights reserved.
"""The code of README and guide, run as it is printed."""
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import venv

import numpy as np
import pytest
import torch
from forking import forking
from helpers import REPO, digits_config, run, tool
from mmengine.config import Config
from packing import build, copy_of_the_tree
from PIL import Image

from mmhkt.comparison import costs
from mmhkt.comparison.plan import make_plan
from mmhkt.models import Parent, build_network
from mmhkt.models.build import from_zoo
from mmhkt.registry import METHODS
from mmhkt.runner.inheritance_runner import build_methods
from mmhkt.utils.config import load_config

GUIDE = REPO / 'docs/guide'
README = REPO / 'README.md'


def blocks(path, language):
    return re.findall(rf'```{language}\n(.*?)```', path.read_text(), re.DOTALL)


def files_of(path, folder):
    """Write the blocks that begin with a file's name."""
    for text in blocks(path, 'python'):
        name = re.match(r'# (\S+\.py)', text)
        if name:
            (folder / name[1]).write_text(text)


def typed(lines, folder, environment, **replaced):
    """Type commands into a shell, in an empty folder."""
    for before, after in replaced.items():
        lines = lines.replace(before, after)
    done = subprocess.run(['bash', '-ec', lines],
                          cwd=folder,
                          env=environment,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """A shell of a fresh virtual environment with mmhkt from a wheel.

    With MMHKT_FRESH set all is installed as the README says it. Else what
    mmhkt depends on is that of these tests, which takes seconds, not minutes.
    """
    folder = tmp_path_factory.mktemp('fresh')
    build(copy_of_the_tree(folder / 'tree'), 'build_wheel', folder)
    shutil.rmtree(folder / 'tree')
    wheel, = folder.glob('*.whl')
    fresh = bool(os.environ.get('MMHKT_FRESH'))
    venv.create(folder / 'venv', with_pip=fresh)
    site, = (folder / 'venv').glob('lib/python*/site-packages')
    environment = {
        **os.environ, 'OMP_NUM_THREADS': '1',
        'PATH': f'{folder}/venv/bin:{os.environ["PATH"]}'
    }
    environment.pop('PYTHONPATH', None)
    if fresh:
        lines = re.findall('^pip install .*', README.read_text(), re.M)
        assert [line for line in lines if '".[' in line]
        typed('\n'.join(lines), folder, environment, **{'".[': f'"{wheel}['})
    else:
        # As a plain path: what is linked there by an editable install is not.
        path = sysconfig.get_paths()['purelib']
        (site / 'dependencies.pth').write_text(path)
        subprocess.run([
            sys.executable, '-m', 'pip', '--python',
            folder / 'venv/bin/python', 'install', '--quiet', '--no-deps',
            '--no-index', wheel
        ],
                       check=True,
                       capture_output=True)
    text = typed('python -c "import mmhkt; print(mmhkt.__file__)"', folder,
                 environment)
    assert str(site) in text
    return environment


def command(path, line):
    path.write_text(f'#!/bin/sh\n{line}\n')
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def pictures(folder, counts, size=72, masks=None):
    """Squares of one colour a class on noise."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for k, name in enumerate(('ash', 'beech', 'maple', 'oak')):
            target = folder / split / name
            target.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(256, size=(size, size, 3), dtype=np.uint8)
                image[20:50, 20:50] = [(0, 0, 0), (255, 0, 0), (0, 255, 0),
                                       (0, 0, 255)][k]
                Image.fromarray(image).save(target / f'{i:04d}.png')


def weights_instead_of_a_download(folder, page):
    """A ``curl`` that brings random weights of the network named."""
    cfg = load_config('mmpretrain::resnet/resnet18_8xb32_in1k.py')
    torch.save(
        dict(state_dict=build_network(cfg).state_dict()), folder / 'weights')
    name = re.search(r'curl -LO \S+/(\S+\.pth)', page.read_text())[1]
    (folder / 'shim').mkdir()
    command(folder / 'shim/curl', f'cp {folder}/weights {name}')
    return str(folder / 'shim')


@pytest.mark.slow
def test_start(environment, tmp_path):
    """Five minutes, of the README and of the guide: the same commands."""
    page = GUIDE / 'start.md'
    lines = ''.join(blocks(page, 'shell'))
    first = [
        line.partition(' #')[0].strip()
        for line in blocks(README, 'shell')[0].splitlines()
    ]
    assert first == lines.splitlines()
    text = typed(lines, tmp_path, environment)
    assert 'Pairing' in text
    assert (tmp_path / 'child.onnx').exists()
    assert 'largest difference' in ' '.join(text.split())


@pytest.mark.slow
def test_own_classification_data(environment, tmp_path):
    page = GUIDE / 'classification.md'
    pictures(tmp_path / 'data/leaves', dict(train=8, val=4))
    shim = weights_instead_of_a_download(tmp_path, page)
    files_of(page, tmp_path)
    text = typed(''.join(blocks(page, 'shell')), tmp_path, {
        **environment, 'PATH': f'{shim}:{environment["PATH"]}'
    })
    assert 'Pairing' in text and 'accuracy/top1' in text
    text = ' '.join(text.split())
    assert 'on real images, batches of 1 and 4' in text
    assert float(text.rpartition(' ')[2]) <= 1e-4
    assert (tmp_path / 'work_dirs/leaves/epoch_3.pth').exists()


def typed_here(page, folder, steps=None, **options):
    """Type a page's commands without waiting for Python to begin.

    Args:
        page (Path): Of the guide.
        folder (Path): Where they are typed.
        steps (int, optional): How long trainings are instead.
        options: What else is set where something is trained.
    """
    options.update({'train_cfg.max_iters': steps})
    short = [f'{key}={value}' for key, value in options.items()]
    printed = []
    for line in ''.join(blocks(page, 'shell')).splitlines():
        words = shlex.split(re.sub(r'iter_\d+', f'iter_{steps}', line))
        if words[1] == 'train':
            words += ['--cfg-options', *short]
        with forking():
            done = subprocess.run([sys.executable, '-m', *words],
                                  cwd=folder,
                                  capture_output=True,
                                  text=True)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        printed.append(' '.join(done.stdout.split()))
    return printed


@pytest.mark.slow
def test_own_segmentation_data(tmp_path):
    page = GUIDE / 'segmentation.md'
    files_of(page, tmp_path)
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('images', 'masks'):
            (tmp_path / 'data/parts' / kind / split).mkdir(parents=True)
        for i in range(2):
            mask = rng.integers(3, size=(6, 8), dtype=np.uint8)
            mask[0, 0] = 255
            mask = np.kron(mask, np.ones((30, 30), np.uint8))
            name = f'data/parts/{{}}/{split}/000{i}'
            Image.fromarray(mask).save(tmp_path /
                                       (name.format('masks') + '.png'))
            Image.fromarray(mask).convert('RGB').save(
                tmp_path / (name.format('images') + '.jpg'))
    _, pairing, _, tested, exported = typed_here(
        page,
        tmp_path,
        steps=2,
        **{
            'train_cfg.val_interval': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
        })
    assert 'Pairing' in pairing and 'mIoU' in tested
    assert 'on real images, batches of 1 and 2' in exported
    assert float(exported.rpartition(' ')[2]) <= 1e-4


@pytest.mark.slow
def test_flow(tmp_path):
    for name in ('first', 'second'):
        Image.new('RGB', (192, 160)).save(tmp_path / f'{name}.png')
    typed_here(
        GUIDE / 'flow.md',
        tmp_path,
        steps=1,
        **{
            'train_cfg.val_interval': 1,
            'train_dataloader.batch_size': 1,
            'val_dataloader.dataset.length': 1,
        })
    assert Image.open(tmp_path / 'flow.png').width >= 192


def test_pairs_of_the_questions(tmp_path):
    """What ``pair`` shows without data and weights, of README's config."""
    files_of(README, tmp_path)
    line, = re.findall('`mmhkt (pair .*?)`',
                       (GUIDE / 'questions.md').read_text())
    with forking():
        done = subprocess.run([sys.executable, '-m', 'mmhkt', *line.split()],
                              cwd=tmp_path,
                              capture_output=True,
                              text=True)
    assert done.returncode == 0, done.stderr
    assert 'backbone.layer4' in done.stdout


def test_networks_of_other_houses():
    pytest.importorskip('timm')
    for text in blocks(GUIDE / 'networks.md', 'python'):
        cfg = {}
        exec(text, cfg)
        if 'parent' in cfg:
            settings = {**cfg['parent'], 'checkpoint': None}
            network = Parent(**settings, random_weights=True).network
        else:
            network = build_network(
                Config(dict(model=cfg['model'], default_scope='mmpretrain')))
        assert network(torch.randn(1, 3, 64, 64)).shape == (1, 10)


@pytest.mark.slow
def test_python(environment, tmp_path):
    """Both scripts; and the README's lines are those of the first."""
    page = GUIDE / 'python.md'
    files_of(page, tmp_path)
    text = typed('python digits_by_hand.py && python by_name.py', tmp_path,
                 environment)
    assert float(re.search(r'([\d.]+) % of digits', text)[1]) > 60
    assert list(torch.load(tmp_path / 'child.pth'))[0] == '0.0.weight'
    assert text.count('Pairing') == 2


def test_notebook_is_the_script():
    book = json.loads((REPO / 'docs/notebooks/digits.ipynb').read_text())
    code = [
        ''.join(c['source']) for c in book['cells'] if c['cell_type'] == 'code'
    ]
    script, = [
        b for b in blocks(GUIDE / 'python.md', 'python')
        if b.startswith('# digits_by_hand.py')
    ]
    assert ''.join('\n'.join(code).split()) == ''.join(
        script.partition('\n')[2].split())


def test_ten_lines_of_python(tmp_path, monkeypatch):
    """The README's, with two small networks and three batches."""
    text, = [b for b in blocks(README, 'python') if 'mmhkt.inherit' in b]
    assert len([t for t in text.splitlines() if t.strip()]) <= 11

    def network(width):
        return torch.nn.Sequential(
            torch.nn.Sequential(
                torch.nn.Conv2d(3, width, 3, 2, 1), torch.nn.ReLU()),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
            torch.nn.Linear(width, 3))

    child = network(4)
    images = torch.randn(5, 3, 8, 8)
    loader = [(images, torch.tensor([0, 1, 2, 0, 1]))] * 3
    before = child[3].weight.detach().clone()
    names = dict(
        torch=torch,
        child=child,
        parent=network(8),
        images=images,
        loader=loader,
        epochs=1)
    monkeypatch.chdir(tmp_path)
    exec(text, names)
    assert names['loss'].step == 3 and names['loss'].child is child
    assert not torch.equal(before, child[3].weight)
    network(4).load_state_dict(torch.load('child.pth'))  # the plain child


def test_ten_lines_of_config(tmp_path):
    text, = [
        b for b in blocks(README, 'python') if b.startswith('# my_child.py')
    ]
    (tmp_path / 'my_child.py').write_text(text)
    assert len([t for t in text.splitlines() if t.strip()]) <= 10
    cfg = load_config(tmp_path / 'my_child.py')
    assert cfg.model.backbone.depth == 18
    config, address = from_zoo(cfg.parent.config)
    assert config.model.backbone.depth == 50 and address.endswith('.pth')
    assert Parent.from_cfg(dict(
        cfg.parent, random_weights=True)).network.backbone.depth == 50


def test_everything_typed(tmp_path):
    """It is the default of the pair beside it."""
    plain, typed_ = blocks(GUIDE / 'config.md', 'python')
    names = {}
    exec(typed_, names)
    method, = build_methods(names['method'])
    default = METHODS.build(dict(type='mmhkt.HKT'))
    assert method.attention == default.attention
    assert method.weights == default.weights
    assert method.schedule == default.schedule
    assert method.bound == default.bound


@pytest.mark.slow
def test_new_method_appears_in_the_comparison(tmp_path, monkeypatch):
    """One file and one config, and nothing else is touched."""
    monkeypatch.setattr(costs, 'ROUNDS', 2)
    files_of(GUIDE / 'adding_a_method.md', tmp_path)
    tool(
        'compare.py',
        'compare_imitation.py',
        '--seeds',
        '0',
        '--work-dir',
        'work',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.indices=128',
        'comparison.train_parent=False',
        'parent.checkpoint=None',
        'parent.random_weights=True',
        cwd=tmp_path,
        env={
            **os.environ, 'PYTHONPATH': str(tmp_path)
        })
    table = json.loads((tmp_path / 'work/comparison.json').read_text())
    assert [m['name']
            for m in table['methods']] == ['alone', 'imitation', 'hkt']
    for method in table['methods']:
        assert [run['state'] for run in method['runs']] == ['finished']
    for name in ('comparison.md', 'comparison.csv', 'comparison.html'):
        assert 'imitation' in (tmp_path / 'work' / name).read_text().lower()


def test_two_methods_of_a_name(tmp_path):
    """A list of methods; one of a name is numbered."""
    runner = run(
        digits_config(tmp_path, [
            dict(type='mmhkt.HKT', weights=dict(native=1)),
            dict(type='mmhkt.HKT', sites='last')
        ]))
    names = runner.message_hub.log_scalars
    assert {'train/hkt0.inherited.loss',
            'train/hkt1.inherited.loss'} <= set(names)
    assert 'train/native.loss' in names


@pytest.mark.parametrize('page', ['README.md', 'docs/guide/comparison.md'])
def test_comparison(page, tmp_path):
    files_of(README, tmp_path)
    files_of(REPO / page, tmp_path)
    plan = make_plan([str(tmp_path / 'my_comparison.py')])
    assert [entry.label
            for entry in plan.entries] == ['Alone', 'KD', 'DKD', 'KD + HKT']
    assert plan.seeds == [0, 1000, 2000]


PAGES = [
    README, REPO / 'CONTRIBUTING.md', *sorted((REPO / 'docs').glob('*.md')),
    *sorted(GUIDE.glob('*.md'))
]


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for link in re.findall(r'\]\(((?!http)[^)]+)\)', text):
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor and target.suffix == '.md':
            headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
            assert anchor in [
                re.sub(r'[^\w -]', '', h).lower().replace(' ', '-')
                for h in headings
            ], link


def test_every_command_of_the_pages_is_one():
    from mmhkt.cli import COMMANDS
    for page in PAGES:
        for name in re.findall(r'^(?:\$ )?mmhkt (\S+)',
                               '\n'.join(blocks(page, r'\w*')), re.M):
            assert name in COMMANDS, (page, name)
