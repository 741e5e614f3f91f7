# Copyright (c) mmhkt authors. All rights reserved.
import pickle
import shutil

import cv2
import mmcv
import numpy as np
import pytest
from flow_helpers import (write_chairs_tree, write_flow, write_frame,
                          write_hd1k_tree, write_kitti_tree, write_sintel_tree,
                          write_things_tree)

from mmhkt.datasets import FlowArrays, TorchvisionFlow


def epe_of_no_flow(pair):
    return np.linalg.norm(pair['gt_flow'][pair['valid']], axis=1).mean()


@pytest.fixture
def chairs(tmp_path):
    write_chairs_tree(tmp_path)
    return tmp_path


@pytest.fixture
def sintel(tmp_path):
    write_sintel_tree(tmp_path)
    return tmp_path


@pytest.fixture
def kitti(tmp_path):
    write_kitti_tree(tmp_path)
    return tmp_path


class TestRealFiles:

    def test_kitti(self, shared_data, tmp_path):
        real = shared_data / 'flow' / 'kitti'
        for folder, name, source in (('image_2', '10',
                                      'frame1'), ('image_2', '11', 'frame2'),
                                     ('flow_occ', '10', 'flow_gt')):
            target = tmp_path / 'KittiFlow/training' / folder
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(real / f'{source}.png', target / f'000000_{name}.png')
        pair = TorchvisionFlow('KittiFlow', data_root=str(tmp_path))[0]
        assert pair['img1'].shape == (375, 1242, 3)
        assert pair['sparse'] and round(pair['valid'].mean(), 2) == 0.16
        assert round(float(epe_of_no_flow(pair)), 1) == 51.0
        theirs, valid = mmcv.sparse_flow_from_bytes(
            (real / 'flow_gt.png').read_bytes())
        assert np.array_equal(pair['valid'], valid > 0)
        assert np.array_equal(pair['gt_flow'][pair['valid']],
                              theirs[valid > 0])

    def test_chairs(self, shared_data, tmp_path):
        """The samples as they are, with the names of the whole set."""
        folder = tmp_path / 'FlyingChairs' / 'data'
        folder.mkdir(parents=True)
        real = shared_data / 'flow' / 'chairs'
        for path in real.iterdir():
            number, kind = path.stem.split('-')
            name = dict(gt='flow', img0='img1', img1='img2')[kind]
            shutil.copy(path, folder / f'{number}_{name}{path.suffix}')
        (folder.parent / 'FlyingChairs_train_val.txt').write_text('1\n' * 3)
        pairs = list(TorchvisionFlow('FlyingChairs', data_root=str(tmp_path)))
        for i, pair in enumerate(pairs):
            assert pair['img1'].shape == (384, 512, 3)
            assert pair['valid'].all() and not pair['sparse']
            assert np.array_equal(pair['gt_flow'],
                                  mmcv.flowread(str(real / f'{i:07d}-gt.flo')))
            assert np.array_equal(
                pair['img2'],
                mmcv.imread(real / f'{i:07d}-img1.ppm', channel_order='rgb'))
        errors = [round(float(epe_of_no_flow(pair)), 3) for pair in pairs]
        assert errors == [6.053, 4.506, 4.353]

    @pytest.mark.parametrize('name, size, error',
                             [('sintel', (436, 1024), 2.80),
                              ('rubberwhale', (388, 584), 1.26)])
    def test_arrays(self, shared_data, name, size, error):
        pairs = FlowArrays(
            f'flow_{name}.npz', data_root=str(shared_data / 'flow'))
        assert len(pairs) == 1 and pairs[0]['subset'] == f'flow_{name}'
        assert pairs[0]['img1'].shape == (*size, 3)
        assert round(float(epe_of_no_flow(pairs[0])), 2) == error


def test_chairs(chairs):
    train = TorchvisionFlow('FlyingChairs', data_root=str(chairs))
    assert [pair['gt_flow'].mean() for pair in train] == [0, 2]
    assert [pair['img2'].mean() for pair in train] == [2, 22]
    val, = TorchvisionFlow('FlyingChairs', data_root=str(chairs), split='val')
    assert val['img_path'].endswith('00001_img1.ppm')
    assert val['flow_path'].endswith('00001_flow.flo')
    assert val['subset'] == 'FlyingChairs'
    assert len(pickle.loads(pickle.dumps(train))[1]['img1']) == 16


def test_sintel(sintel):
    both = TorchvisionFlow('Sintel', data_root=str(sintel), pass_name='both')
    paths = [pair['img_path'] for pair in both]
    assert len(paths) == 8 and paths == sorted(paths)
    assert [pair['img1'].mean() for pair in both] == [0, 1] * 4
    assert [pair['gt_flow'].mean() for pair in both] == [1, 2] * 4

    final, = TorchvisionFlow(
        'Sintel',
        data_root=str(sintel),
        pass_name='final',
        only='/ambush_2/.*1.png',
        subset='b')
    assert final['img_path'].endswith(
        '/training/final/ambush_2/frame_0001.png')
    assert final['subset'] == 'b'
    for pair in TorchvisionFlow(
            'Sintel', data_root=str(sintel), split='test', pass_name='clean'):
        assert set(pair) == {
            'img1', 'img2', 'img_path', 'scene', 'subset', 'sample_idx'
        }
        assert pair['subset'] == 'Sintel-clean'
    # The same ones in both passes
    assert [pair['scene']
            for pair in both] == 2 * (2 * ['alley_1'] + 2 * ['ambush_2'])


def test_kitti(kitti):
    pairs = TorchvisionFlow('KittiFlow', data_root=str(kitti), indices=[1])
    assert len(pairs) == 1 and pairs[0]['sparse']
    assert 'scene' not in pairs[0]
    assert pairs[0]['valid'][::2].all() and not pairs[0]['valid'][1::2].any()
    assert (pairs[0]['gt_flow'][::2] == 3).all()
    test = TorchvisionFlow('KittiFlow', data_root=str(kitti), split='test')
    assert 'gt_flow' not in test[0]


def test_things(tmp_path):
    write_things_tree(tmp_path)
    pairs = list(TorchvisionFlow('FlyingThings3D', data_root=str(tmp_path)))
    seen = [(p['img1'].mean(), p['img2'].mean(), p['gt_flow'].mean())
            for p in pairs]
    assert sorted(seen) == [(0, 1, 1), (1, 0, -2), (1, 2, 2), (2, 1, -3)]
    both = TorchvisionFlow(
        'FlyingThings3D',
        data_root=str(tmp_path),
        pass_name='both',
        camera='left')
    assert len(both) == 8
    assert {pair['scene'] for pair in both} == {'A/0000'}


def test_hd1k(tmp_path):
    write_hd1k_tree(tmp_path)
    pairs = TorchvisionFlow('HD1K', data_root=str(tmp_path))
    assert len(pairs) == 2 and pairs[0]['sparse']
    assert pairs[0]['scene'] == '000000'


class TestErrors:

    @pytest.mark.parametrize('length', [-1, -8, 11, 3])
    def test_flow_cut_short(self, chairs, length):
        """Known before anything is trained."""
        path = chairs / 'FlyingChairs/data/00002_flow.flo'
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match='00002_flow.flo is.* cut short'):
            TorchvisionFlow('FlyingChairs', data_root=str(chairs))
        # It is no pair of this split.
        TorchvisionFlow('FlyingChairs', data_root=str(chairs), split='val')

    def test_no_flo(self, chairs):
        path = chairs / 'FlyingChairs/data/00000_flow.flo'
        path.write_bytes(b'PIEG' + path.read_bytes()[4:])
        with pytest.raises(ValueError, match='00000_flow.flo is no .flo'):
            TorchvisionFlow('FlyingChairs', data_root=str(chairs))

    def test_sparse_flow_cut_short(self, kitti):
        path = kitti / 'KittiFlow/training/flow_occ/000001_10.png'
        path.write_bytes(path.read_bytes()[:-40])
        pairs = TorchvisionFlow('KittiFlow', data_root=str(kitti))
        with pytest.raises(
                ValueError, match='flow_occ/000001_10.png cannot be read'):
            pairs[1]

    def test_frame_cut_short(self, chairs):
        path = chairs / 'FlyingChairs/data/00000_img2.ppm'
        path.write_bytes(path.read_bytes()[:-100])
        pairs = TorchvisionFlow('FlyingChairs', data_root=str(chairs))
        with pytest.raises(
                ValueError,
                match='00000_img1.ppm, its second frame or .*truncated'):
            pairs[0]

    def test_nan(self, chairs):
        path = chairs / 'FlyingChairs/data/00000_flow.flo'
        write_flow(path, float('nan'))
        pairs = TorchvisionFlow('FlyingChairs', data_root=str(chairs))
        with pytest.raises(
                ValueError, match='00000_img1.ppm: the flow of 384 pixels'):
            pairs[0]

    def test_frames_differ(self, chairs):
        path = chairs / 'FlyingChairs/data/00000_img2.ppm'
        write_frame(path, size=(16, 20))
        pairs = TorchvisionFlow('FlyingChairs', data_root=str(chairs))
        with pytest.raises(
                ValueError,
                match='first frame is 16x24 pixels, the second frame 16x20'):
            pairs[0]

    def test_flow_of_another_size(self, chairs):
        path = chairs / 'FlyingChairs/data/00000_flow.flo'
        write_flow(path, size=(16, 20))
        pairs = TorchvisionFlow('FlyingChairs', data_root=str(chairs))
        with pytest.raises(ValueError, match='16x24 pixels, the flow 16x20'):
            pairs[0]

    def test_flow_missing(self, sintel):
        (sintel / 'Sintel/training/flow/alley_1/frame_0001.flo').unlink()
        with pytest.raises(ValueError, match='4 pairs of images, but 3 flows'):
            TorchvisionFlow('Sintel', data_root=str(sintel))

    @pytest.mark.parametrize(
        'name', ['flow_occ/000001_10.png', 'image_2/000001_11.png'])
    def test_what_does_not_belong_together(self, kitti, name):
        path = kitti / 'KittiFlow/training' / name
        path.rename(path.with_name(path.name.replace('1', '5', 1)))
        with pytest.raises(ValueError, match='would be taken for a pair'):
            TorchvisionFlow('KittiFlow', data_root=str(kitti))

    def test_frame_missing_in_between(self, sintel):
        folder = sintel / 'Sintel/training'
        for scene in ('ambush_2', 'alley_1'):
            (folder / 'clean' / scene / 'frame_0001.png').unlink()
            (folder / 'flow' / scene / 'frame_0001.flo').unlink()
        with pytest.raises(
                ValueError, match='frame_0002.png, .* would be taken'):
            TorchvisionFlow('Sintel', data_root=str(sintel))

    def test_chairs_in_part(self, chairs):
        for path in chairs.glob('FlyingChairs/data/00000_*'):
            path.unlink()
        with pytest.raises(
                ValueError, match='split of 3 pairs, but there are 2'):
            TorchvisionFlow('FlyingChairs', data_root=str(chairs))

    @pytest.mark.parametrize(
        'name',
        ['FlyingChairs', 'FlyingThings3D', 'HD1K', 'KittiFlow', 'Sintel'])
    def test_not_there(self, tmp_path, name):
        with pytest.raises(
                FileNotFoundError,
                match=f'{name} is not whole in the folder "{tmp_path}"'):
            TorchvisionFlow(name, data_root=str(tmp_path))

    def test_in_another_layout(self, tmp_path):
        """As where data_root is the data set's own folder."""
        for number in range(6):
            path = tmp_path / f'training/clean/alley_1/frame_{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with pytest.raises(
                FileNotFoundError,
                match='are Sintel/training/{clean,final,flow}/SCENE, and '
                'there is training/clean/alley_1/frame_0.png, .* and more'):
            TorchvisionFlow('Sintel', data_root=str(tmp_path))

    def test_unknown(self, chairs):
        with pytest.raises(ValueError, match='"Kitti" is unknown.*KittiFlow'):
            TorchvisionFlow('Kitti')
        with pytest.raises(ValueError, match='there is no pass_name'):
            TorchvisionFlow(
                'FlyingChairs', data_root=str(chairs), pass_name='clean')
        with pytest.raises(ValueError, match="none of 2 pairs .*only='x'"):
            TorchvisionFlow('FlyingChairs', data_root=str(chairs), only='x')

    def test_arrays(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='no_such.npz'):
            FlowArrays('no_such.npz', data_root=str(tmp_path))
        np.savez(tmp_path / 'a.npz', im1=np.zeros((4, 4, 3), np.uint8))
        (tmp_path / 'b.npz').write_bytes(b'PK broken')
        pairs = FlowArrays('*.npz', data_root=str(tmp_path))
        with pytest.raises(KeyError, match="a.npz: no array 'im2'"):
            pairs[0]
        with pytest.raises(ValueError, match='b.npz: not an .npz file'):
            pairs[1]


def test_a_folder_of_arrays_is_no_pattern(tmp_path):
    folder = tmp_path / 'set[1]'
    folder.mkdir()
    np.savez(
        folder / 'a.npz',
        im1=np.zeros((4, 4, 3), np.uint8),
        im2=np.zeros((4, 4, 3), np.uint8),
        flow=np.zeros((4, 4, 2), np.float32))
    for files in ('a.npz', '[ab].npz'):
        pair, = FlowArrays(files, data_root=str(folder))
        assert pair['img_path'] == str(folder / 'a.npz')
    # A whole path is a pattern as it is, with whatever data_root.
    (tmp_path / 'set1').mkdir()
    (folder / 'a.npz').rename(tmp_path / 'set1/a.npz')
    for root in ('elsewhere', '', None):
        assert len(FlowArrays(str(folder / '*.npz'), data_root=root)) == 1


def test_a_flow_of_8_bits_is_refused(kitti):
    """It would be read as -510 pixels everywhere."""
    path = next((kitti / 'KittiFlow/training/flow_occ').glob('*.png'))
    cv2.imwrite(str(path), np.full((16, 24, 3), 128, np.uint8))
    with pytest.raises(ValueError, match='PNG of 8 bits'):
        TorchvisionFlow('KittiFlow', data_root=str(kitti))
