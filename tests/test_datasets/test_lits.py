# Copyright (c) mmhkt authors. All rights reserved.
"""The converter of LiTS and the data set that reads what it writes."""
import hashlib
import json
import os
import signal
from functools import partial

import cv2
import numpy as np
import pytest

from mmhkt.datasets import LiTSDataset, LoadSlices

pytest.importorskip('nibabel', reason='nibabel is not installed')

import nibabel  # noqa: E402
from lits_helpers import read_crop  # noqa: E402
from lits_helpers import convert, pair, save, voxels

from mmhkt.cli.prepare_lits import parse_args  # noqa: E402
from mmhkt.prepare import lits  # noqa: E402
from mmhkt.prepare.lits import split  # noqa: E402


def image(out, number, z, kind='images'):
    return cv2.imread(
        str(out / kind / str(number) / f'{z:04d}.png'), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize('codes', ['RAS', 'LPS', 'LAS', 'SRA', 'PIR'])
def test_slices_by_hand(tmp_path, codes):
    """However the axes lie: slices to the head, rows to the back, columns to
    the left, and the window."""
    hu, labels = voxels()
    pair(
        tmp_path / 'in/Training Batch 1',
        117,
        hu,
        labels,
        codes=codes,
        spacing=(0.5, 0.75, 2.))
    manifest = convert(tmp_path / 'in', tmp_path / 'out')
    entry = manifest['volumes']['117']
    assert entry['slices'] == 4 and entry['size'] == [5, 6]
    assert entry['spacing'] == [0.75, 0.5, 2.]
    for z in range(4):
        expected, mask = np.zeros((5, 6)), np.zeros((5, 6))
        for row in range(5):
            for column in range(6):
                at = 5 - column, 4 - row, z
                expected[row, column] = (min(max(hu[at], -200), 250) +
                                         200) / 450 * 255
                mask[row, column] = labels[at]
        written = image(tmp_path / 'out', 117, z)
        assert written.dtype == np.uint8
        assert np.array_equal(written, np.rint(expected))
        assert np.array_equal(image(tmp_path / 'out', 117, z, 'masks'), mask)
        assert [count[z] for count in entry['labels']] == [(mask == 1).sum(),
                                                           (mask == 2).sum()]


def test_window_and_spacing_are_settable(tmp_path):
    hu = np.full((8, 8, 2), 50, np.int16)
    hu[:4] = 150
    labels = (hu == 50).astype(np.uint8)
    pair(tmp_path / 'in', 1, hu, labels, spacing=(0.5, 1., 3.))
    manifest = convert(tmp_path / 'in', tmp_path / 'out', '--window', '-50',
                       '150', '--spacing', '2')
    entry = manifest['volumes']['1']
    # Right to left: first the half of 50 HU.
    assert entry['size'] == [4, 2] and entry['spacing'] == [2., 2., 3.]
    assert image(tmp_path / 'out', 1, 0).tolist() == [[128, 255]] * 4
    assert image(tmp_path / 'out', 1, 0, 'masks').tolist() == [[1, 0]] * 4
    assert manifest['settings']['window'] == [-50., 150.]


def test_manifest_has_checksums(tmp_path):
    pair(tmp_path / 'in', 3, *voxels())
    manifest = convert(tmp_path / 'in', tmp_path / 'out')
    sums = manifest['volumes']['3']['sha256']
    for kind in ('volume', 'segmentation'):
        content = (tmp_path / 'in' / f'{kind}-3.nii.gz').read_bytes()
        assert sums[kind] == hashlib.sha256(content).hexdigest()
    for kind in ('images', 'masks'):
        total = hashlib.sha256()
        for path in sorted((tmp_path / 'out' / kind / '3').iterdir()):
            total.update(path.read_bytes())
        assert sums[kind] == total.hexdigest()


def test_split_by_patient_with_a_seed():
    numbers = [str(n) for n in range(20)]
    first = split(numbers, 0.2, 0.1, seed=0)
    assert first == split(numbers[::-1], 0.2, 0.1, seed=0)
    assert first != split(numbers, 0.2, 0.1, seed=1)
    assert sorted(first) == sorted(numbers)
    names = list(first.values())
    assert [names.count(n) for n in ('train', 'val', 'test')] == [14, 4, 2]
    assert split(['7'], 0.15, 0.15, seed=0) == {'7': 'train'}


def test_resumes(tmp_path):
    for number in range(3):
        pair(tmp_path / 'in', number, *voxels(number))
    first = convert(tmp_path / 'in', tmp_path / 'out')
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / 'out').rglob('*')}

    # As if it had been killed while it wrote volume 1.
    (tmp_path / 'out/volumes/1.json').unlink()
    (tmp_path / 'out/manifest.json').unlink()
    (tmp_path / 'out/images/1/0002.png').write_bytes(b'half')
    assert convert(tmp_path / 'in', tmp_path / 'out') == first
    for path, time in files.items():
        again = path.stat().st_mtime_ns != time
        if path.is_file() and path.name != 'manifest.json':
            assert again == ('1' in (path.parent.name, path.stem))

    # What it was asked for has changed, or the source.
    wide = convert(tmp_path / 'in', tmp_path / 'out', '--window', '-500',
                   '500')
    assert (wide['volumes']['0']['sha256']['images']
            != first['volumes']['0']['sha256']['images'])
    pair(tmp_path / 'in', 0, *voxels(9, (6, 5, 7)))
    assert convert(tmp_path / 'in',
                   tmp_path / 'out')['volumes']['0']['slices'] == 7


@pytest.mark.parametrize('gone', ['images/0/0002.png', 'masks/0/0003.png'])
def test_a_volume_without_all_its_slices_is_cut_again(tmp_path, gone):
    for number in range(2):
        pair(tmp_path / 'in', number, *voxels(number))
    first = convert(tmp_path / 'in', tmp_path / 'out')
    content = (tmp_path / 'out' / gone).read_bytes()
    (tmp_path / 'out' / gone).unlink()
    # Another file is none of the slices.
    (tmp_path / 'out' / gone).with_name('other.png').touch()
    time = (tmp_path / 'out/images/1/0000.png').stat().st_mtime_ns
    assert convert(tmp_path / 'in', tmp_path / 'out') == first
    assert (tmp_path / 'out' / gone).read_bytes() == content
    assert (tmp_path / 'out/images/1/0000.png').stat().st_mtime_ns == time


def test_patients_do_not_move_from_one_split_to_another(tmp_path):
    for number in range(6):
        pair(tmp_path / 'in', number, *voxels(number))
    first = convert(tmp_path / 'in', tmp_path / 'out')
    for number in range(6, 12):
        pair(tmp_path / 'in', number, *voxels(number))
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / 'out').rglob('*')}
    new = split([str(n) for n in range(12)], 0.15, 0.15, seed=0)
    moved = sum(entry['split'] != new[number]
                for number, entry in first['volumes'].items())
    assert moved
    # Nothing is written, whatever else it is asked for.
    for args in ((), ('--window', '-500', '500')):
        with pytest.raises(
                SystemExit,
                match=f'{moved} of the 6 patients in .*manifest.json would '
                'move .*--resplit'):
            convert(tmp_path / 'in', tmp_path / 'out', *args)
    assert files == {
        p: p.stat().st_mtime_ns
        for p in (tmp_path / 'out').rglob('*')
    }
    again = convert(tmp_path / 'in', tmp_path / 'out', '--resplit')
    assert {n: v['split'] for n, v in again['volumes'].items()} == new
    with pytest.raises(SystemExit, match='--seed are not what they were'):
        convert(tmp_path / 'in', tmp_path / 'out', '--seed', '1')
    # One that nobody has trained with may come into any.
    (tmp_path / 'out/manifest.json').unlink()
    convert(tmp_path / 'in', tmp_path / 'out', '--seed', '1')


def test_a_changed_file_of_equal_size_is_cut_again(tmp_path):
    hu, labels = voxels()
    pair(tmp_path / 'in', 0, hu, labels, suffix='.nii')
    first = convert(tmp_path / 'in', tmp_path / 'out')
    pair(tmp_path / 'in', 0, hu.clip(-100, 100), labels, suffix='.nii')
    again = convert(tmp_path / 'in', tmp_path / 'out')
    assert again['volumes']['0']['bytes'] == first['volumes']['0']['bytes']
    assert again['volumes']['0']['sha256'] != first['volumes']['0']['sha256']
    # One that has only been copied is not.
    time = (tmp_path / 'out/images/0/0000.png').stat().st_mtime_ns
    for path in (tmp_path / 'in').iterdir():
        path.touch()
    assert convert(tmp_path / 'in', tmp_path / 'out') == again
    assert (tmp_path / 'out/images/0/0000.png').stat().st_mtime_ns == time


def test_one_that_goes_wrong_does_not_cost_the_others(tmp_path, monkeypatch):
    """A process that is killed, or an error that nobody has foreseen."""
    for number in range(3):
        pair(tmp_path / 'in', number, *voxels(number))
    right = lits.read

    def wrong(path, affine=None):
        if path.name.startswith('volume-1'):
            os.kill(os.getpid(), signal.SIGKILL)
        if path.name.startswith('volume-2'):
            raise MemoryError('too large')
        return right(path, affine)

    monkeypatch.setattr(lits, 'read', wrong)
    with pytest.raises(SystemExit):
        convert(tmp_path / 'in', tmp_path / 'out')
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert list(manifest['volumes']) == ['0']
    assert 'was killed' in manifest['unusable']['1']
    assert 'MemoryError: too large' in manifest['unusable']['2']


def test_no_manifest_of_other_slices(tmp_path, monkeypatch):
    pair(tmp_path / 'in', 0, *voxels())
    convert(tmp_path / 'in', tmp_path / 'out')
    monkeypatch.setattr(lits, 'cut_all', lambda *_: 1 / 0)
    convert_again = partial(convert, tmp_path / 'in', tmp_path / 'out')
    with pytest.raises(ZeroDivisionError):
        convert_again()
    assert (tmp_path / 'out/manifest.json').exists()  # nothing has changed
    with pytest.raises(ZeroDivisionError):
        convert_again('--window', '-500', '500')
    assert not (tmp_path / 'out/manifest.json').exists()


def test_a_damaged_manifest_is_named(tmp_path):
    file = tmp_path / 'manifest.json'
    for text in ('{"volumes": {', '[]', '{"volumes": {"1": {"split": 3}}, '
                 '"slice": "a"}', '{"volumes": {}}'):
        file.write_text(text)
        with pytest.raises(ValueError, match='manifest.json'):
            LiTSDataset(data_root=str(tmp_path))


def nan(folder, hu, labels):
    hu = hu.astype(np.float32)
    hu[1, 2, 3] = np.nan
    pair(folder, 8, hu, labels)


def shapes(folder, hu, labels):
    save(folder / 'volume-8.nii', hu)
    save(folder / 'segmentation-8.nii', labels[:, :, :3])


def label(folder, hu, labels):
    labels[0, 0, 0] = 7
    pair(folder, 8, hu, labels)


def truncated(folder, hu, labels):
    pair(folder, 8, hu, labels, suffix='.nii')
    content = (folder / 'volume-8.nii').read_bytes()
    (folder / 'volume-8.nii').write_bytes(content[:-20])


def no_nifti(folder, hu, labels):
    pair(folder, 8, hu, labels, suffix='.nii')
    (folder / 'segmentation-8.nii').write_text('<html>Not found</html>')


def apart(folder, hu, labels):
    save(folder / 'volume-8.nii', hu)
    affine = np.eye(4)
    affine[0, 3] = 4
    save(folder / 'segmentation-8.nii', labels, affine=affine)


def four_axes(folder, hu, labels):
    pair(folder, 8, np.stack([hu, hu], 3), labels)


MISTAKES = {
    nan:
    'volume-8.nii.gz has 1 voxels that are no number',
    shapes:
    'volume-8.nii is of shape (6, 5, 4), segmentation-8.nii of',
    label:
    'segmentation-8.nii.gz has the labels 7; LiTS has 0, 1 and 2',
    truncated:
    'volume-8.nii cannot be read',
    no_nifti:
    'segmentation-8.nii cannot be read',
    apart:
    'segmentation-8.nii lies up to 4.0 mm from volume-8.nii',
    four_axes:
    'volume-8.nii.gz is of shape (6, 5, 4, 2)',
    lambda folder, hu, labels: pair(folder, 8, hu, labels * 0):
    'segmentation-8.nii.gz has no voxel of liver or tumour',
    lambda folder, hu, labels: save(folder / 'volume-8.nii', hu):
    'volume-8.nii has no segmentation-8.nii',
    lambda folder, hu, labels: save(folder / 'segmentation-8.nii', labels):
    'segmentation-8.nii has no volume-8.nii',
}


def test_what_cannot_be_used_is_reported(tmp_path, capsys):
    """Each by name, with what is wrong; the rest is converted."""
    source = tmp_path / 'in'
    for number, mistake in enumerate(MISTAKES, 100):
        mistake(tmp_path / 'one', *voxels())
        for path in (tmp_path / 'one').iterdir():
            name = path.name.replace('-8', f'-{number}')
            source.mkdir(exist_ok=True)
            path.rename(source / name)
    pair(source, 1, *voxels())
    with pytest.raises(SystemExit) as status:
        convert(source, tmp_path / 'out')
    assert status.value.code == 1
    printed = capsys.readouterr().out
    for number, message in enumerate(MISTAKES.values(), 100):
        assert message.replace('-8', f'-{number}') in printed
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert list(manifest['volumes']) == ['1']
    assert len(manifest['unusable']) == len(MISTAKES)


def test_affine_of_a_mask_can_be_ignored(tmp_path):
    apart(tmp_path / 'in', *voxels())
    assert '8' in convert(tmp_path / 'in', tmp_path / 'out',
                          '--ignore-mask-affine')['volumes']


def test_an_ignored_affine_does_not_turn_the_mask(tmp_path):
    """Slices are those of a mask that has the affine of its volume."""
    hu, labels = voxels()
    mirrored = np.diag([-1, -1, 1, 1.])
    for folder, affine in (('right', mirrored), ('wrong', np.eye(4)),
                           ('other', np.eye(4)[[1, 0, 2, 3]])):
        save(tmp_path / folder / 'volume-8.nii', hu, affine=mirrored)
        lies = tmp_path / folder / 'segmentation-8.nii'
        nibabel.save(nibabel.Nifti1Image(labels, affine), lies)
    expected = convert(tmp_path / 'right', tmp_path / 'right/out')
    for folder in ('wrong', 'other'):
        made = convert(tmp_path / folder, tmp_path / folder / 'out',
                       '--ignore-mask-affine')
        for kind in ('images', 'masks'):
            assert (made['volumes']['8']['sha256'][kind] == expected['volumes']
                    ['8']['sha256'][kind])
    # Shapes are compared all the same.
    save(tmp_path / 'wrong/segmentation-8.nii', labels[:, :, :3])
    with pytest.raises(SystemExit):
        convert(tmp_path / 'wrong', tmp_path / 'out', '--ignore-mask-affine')


def test_masks_that_an_ignored_affine_turned_are_cut_again(tmp_path):
    """Before records had a version; all others are still right."""
    pair(tmp_path / 'in', 0, *voxels())
    record = tmp_path / 'out/volumes/0.json'
    for flag, again in (('--resplit', False), ('--ignore-mask-affine', True)):
        convert(tmp_path / 'in', tmp_path / 'out', flag)
        old = json.loads(record.read_text())
        del old['version']
        record.write_text(json.dumps(old))
        time = (tmp_path / 'out/masks/0/0000.png').stat().st_mtime_ns
        convert(tmp_path / 'in', tmp_path / 'out', flag)
        now = (tmp_path / 'out/masks/0/0000.png').stat().st_mtime_ns
        assert (now != time) == again


def test_one_number_twice(tmp_path):
    for batch in ('one', 'two'):
        pair(tmp_path / 'in' / batch, 1, *voxels())
    with pytest.raises(SystemExit, match='are of one number; remove one'):
        convert(tmp_path / 'in', tmp_path / 'out')


def test_nothing_to_convert(tmp_path):
    with pytest.raises(SystemExit, match='no volume-N.nii or.*is no file'):
        convert(tmp_path, tmp_path / 'out')
    # As the Medical Segmentation Decathlon has them.
    for name in ('labelsTr/liver_0.nii.gz', 'imagesTr/liver_0.nii.gz'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(
            SystemExit,
            match='there is imagesTr/liver_0.nii.gz, labelsTr/liver_0.nii.gz'):
        convert(tmp_path, tmp_path / 'out')


@pytest.mark.parametrize('args', [('--window', '5', '5'), ('--spacing', '0'),
                                  ('--val', '0.6', '--test', '0.4'),
                                  ('--workers', '0')])
def test_impossible_arguments(args, capsys):
    with pytest.raises(SystemExit):
        parse_args(['in', 'out', *args])
    assert args[0] in capsys.readouterr().err


# ----------------------------------------------------------------- data set


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lits')
    for number in range(3):
        hu, labels = voxels(number)
        labels[..., 2] = 0
        pair(folder / 'in', number, hu, labels)
    convert(folder / 'in', folder / 'out', '--val', '0.34', '--test', '0')
    return folder / 'out'


def test_slices_of_a_split(root):
    train, val = (
        LiTSDataset(data_root=str(root), split=s) for s in ('train', 'val'))
    assert (len(train), len(val)) == (8, 4)
    assert train.metainfo['classes'] == ('background', 'liver', 'tumour')
    volumes = [{info['volume'] for info in data} for data in (train, val)]
    assert not volumes[0] & volumes[1]
    assert [info['slice'] for info in val] == [0, 1, 2, 3]
    assert all(info['slices'] == 4 for info in train)
    assert (root / 'masks' / val[1]['volume'] / '0001.png').samefile(
        val[1]['seg_map_path'])


def test_empty_slices_are_thinned_by_their_number(root):
    """0 and 2 are empty."""

    def kept(every):
        data = LiTSDataset(data_root=str(root), split='val', empty_every=every)
        return [info['slice'] for info in data]

    assert kept(1) == [0, 1, 2, 3]
    assert kept(2) == [0, 1, 2, 3]
    assert kept(3) == [0, 1, 3]


def test_neighbours_are_channels(root):
    data = LiTSDataset(data_root=str(root), split='val', neighbours=2)
    info = data[1]
    slices = [image(root, info['volume'], z) for z in (0, 0, 1, 2, 3)]
    loaded = LoadSlices().transform(dict(info))
    assert np.array_equal(loaded['img'], np.stack(slices, 2))
    assert loaded['ori_shape'] == loaded['img_shape'] == (5, 6)
    single = LiTSDataset(data_root=str(root), split='val')[3]
    assert LoadSlices().transform(dict(single))['img'].shape == (5, 6, 1)


def test_impossible_data_sets(root, tmp_path):
    with pytest.raises(FileNotFoundError, match='manifest.json; tools/datas'):
        LiTSDataset(data_root=str(tmp_path))
    with pytest.raises(ValueError, match='"vla" is unknown; nearest: val'):
        LiTSDataset(data_root=str(root), split='vla')
    for arguments in (dict(neighbours=-1), dict(empty_every=0)):
        with pytest.raises(ValueError, match='LiTSDataset wants'):
            LiTSDataset(data_root=str(root), **arguments)


def test_slices_that_are_not_there(tmp_path):
    path = str(tmp_path / '0000.png')
    with pytest.raises(FileNotFoundError, match='no slice .*0000.png'):
        LoadSlices().transform(dict(img_paths=[path]))
    cv2.imwrite(path, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='0000.png is no grey image'):
        LoadSlices().transform(dict(img_paths=[path]))


def test_real_volume(tmp_path, lits_crop):
    """The liver of LiTS' volume 117, against NumPy."""
    hu, labels = read_crop(lits_crop)
    pair(tmp_path / 'in', 117, hu, labels.astype(np.uint8), suffix='.nii')
    manifest = convert(tmp_path / 'in', tmp_path / 'out')
    entry = manifest['volumes']['117']
    assert [sum(c) for c in entry['labels']] == [485268, 130083]
    window = np.rint((hu.clip(-200, 250) + 200) * (255 / 450))
    data = LiTSDataset(data_root=str(tmp_path / 'out'))
    assert len(data) == 128
    for z in (0, 50, 127):
        loaded = LoadSlices().transform(dict(data[z]))['img'][..., 0]
        assert np.array_equal(loaded, window[::-1, ::-1, z].T)
