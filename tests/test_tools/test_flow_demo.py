# Copyright (c) mmhkt authors. All rights reserved.
"""``tools/flow_demo.py`` on rendered frames, with a random network."""

import cv2
import numpy as np
import pytest
import torch
from example_helpers import FLOW
from helpers import CONFIGS, tool

from mmhkt.cli.flow import main
from mmhkt.datasets import SyntheticFlow
from mmhkt.models import build_network
from mmhkt.utils.config import load_config

SIZE = (64, 81)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Frames, videos and weights."""
    folder = tmp_path_factory.mktemp('demo')
    pair = SyntheticFlow(length=1, size=SIZE)[0]
    for i in (1, 2):
        cv2.imwrite(str(folder / f'{i}.png'), pair[f'img{i}'][..., ::-1])
    cv2.imwrite(str(folder / 'smaller.png'), pair['img1'][:50])
    cv2.imwrite(str(folder / 'tiny.png'), pair['img1'][:16, :16])
    (folder / 'broken.png').write_text('no picture')
    (folder / 'broken.avi').write_text('no video')
    for name, frames in (('four.avi', 4), ('one.avi', 1)):
        video = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter_fourcc(*'MJPG'), 10,
            SIZE[::-1])
        for i in range(frames):
            video.write(np.roll(pair['img1'], 3 * i, axis=1))
        video.release()
    torch.manual_seed(0)
    network = build_network(load_config(FLOW))
    torch.save(
        dict(state_dict=network.state_dict()), str(folder / 'child.pth'))
    return folder


@pytest.fixture
def demo(folder, monkeypatch):
    """Runs the tool in this process, which is quicker."""
    monkeypatch.setattr('mmhkt.utils.config.quieten', lambda: None)
    monkeypatch.chdir(folder)

    def run(*args, config=FLOW, checkpoint='child.pth'):
        given = ['--checkpoint', checkpoint] if checkpoint else []
        main([*args, '--config', str(config), *given])

    return run


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        more, frame = video.read()
        if not more:
            return frames
        frames.append(frame)


def test_pair(demo, folder, tmp_path, capsys):
    out = tmp_path / 'new' / 'pair.png'
    demo('1.png', '2.png', '--out', str(out))
    image = cv2.imread(str(out))
    # Wide: the flow is below.
    assert image.shape == (128, 81, 3)
    assert (image[:64] == cv2.imread(str(folder / '1.png'))).all()
    assert image[64:].min() < 128
    assert f'written: {out}, full saturation: ' in capsys.readouterr().out
    demo('1.png', '2.png', '--out', str(out), '--scale', '1e6')
    assert cv2.imread(str(out))[64:].min() > 250


def test_video(demo, tmp_path):
    out = tmp_path / 'flow.avi'
    demo('four.avi', '--out', str(out))
    frames = frames_of(out)
    # The codec of the input has cut off the odd column.
    assert [frame.shape for frame in frames] == [(128, 80, 3)] * 3
    assert [path.name for path in tmp_path.iterdir()] == ['flow.avi']
    demo('four.avi', '--out', str(tmp_path / 'folder'))
    names = sorted(path.name for path in (tmp_path / 'folder').iterdir())
    assert names == ['000000.png', '000001.png', '000002.png']


def test_warm_start_begins_from_the_flow_before(demo, tmp_path):
    images = []
    for name, more in (('cold', []), ('warm', ['--warm-start'])):
        demo('four.avi', '--out', str(tmp_path / name), '--scale', '5', *more)
        images.append([
            cv2.imread(str(path))
            for path in sorted((tmp_path / name).iterdir())
        ])
    cold, warm = images
    assert (cold[0] == warm[0]).all()
    assert (cold[1] != warm[1]).any()


@pytest.mark.parametrize('args, message', [
    (['1.png', 'absent.png'], 'there is no file absent.png'),
    (['1.png', 'broken.png'], 'broken.png cannot be read as an image'),
    (['1.png', 'smaller.png'], '1.png and smaller.png: the first frame is '
     '64x81 pixels, the second frame 50x81'),
    (['tiny.png', 'tiny.png'], 'too small for'),
    (['broken.avi'], 'broken.avi cannot be read as a video'),
    (['one.avi'], 'one.avi has one frame only'),
])
def test_inputs_that_cannot_do(demo, tmp_path, args, message):
    with pytest.raises(SystemExit, match=f'mmhkt: .*{message}'):
        demo(*args, '--out',
             str(tmp_path / ('x.png' if len(args) == 2 else 'x.mp4')))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('args', [
    ['1.png', '2.png', '1.png'],
    ['1.png', '2.png', '--warm-start'],
    ['1.png', '2.png', '--out', 'x.mp4'],
    ['four.avi', '--out', 'x.png'],
    ['four.avi', '--scale', '0'],
])
def test_arguments_that_make_no_sense(demo, args):
    with pytest.raises(SystemExit, match='2'):
        demo(*args)


def test_weights_and_configs_that_do_not_fit(demo):
    pair = ('1.png', '2.png')
    with pytest.raises(SystemExit, match='no weights are given'):
        demo(*pair, checkpoint=None)
    with pytest.raises(SystemExit, match='no checkpoint|does not exist|no fi'):
        demo(*pair, checkpoint='absent.pth')
    with pytest.raises(SystemExit, match='The checkpoint "child.pth"'):
        demo(*pair, config=CONFIGS / 'alone/raft-small_100k_sintel.py')
    with pytest.raises(SystemExit, match='no network for flow'):
        demo(*pair, config=CONFIGS / 'alone/resnet20_digits.py')


@pytest.mark.slow
def test_command_line(folder, tmp_path):
    done = tool(
        'flow_demo.py',
        folder / '1.png',
        folder / '2.png',
        '--config',
        'mmhkt::alone/raft-reduced-small_synthetic.py',
        '--checkpoint',
        folder / 'child.pth',
        cwd=tmp_path,
        fork=False)
    assert done.stdout.startswith('written: flow.png')
    assert (tmp_path / 'flow.png').is_file()
