# Copyright (c) mmhkt authors. All rights reserved.
import os
import shutil
import threading
from collections import OrderedDict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from mmhkt.utils import load_strictly, read_checkpoint, weights_of
from mmhkt.utils.checkpoint import Unreadable


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4), fc=nn.Linear(4,
                                                                        10)))


@pytest.fixture
def file(tmp_path, net):
    path = tmp_path / 'resnet20_best.pth'
    torch.save(dict(state_dict=net.state_dict(), meta=dict(epoch=3)), path)
    return path


class Evil:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return shutil.copy, (__file__, str(self.path))


class Stranger:
    pass


# --------------------------------------------------------------------- read


@pytest.mark.parametrize('kind', [str, lambda path: path])
def test_read(file, net, kind):
    checkpoint = read_checkpoint(kind(file))
    assert checkpoint['meta'] == dict(epoch=3)
    for name, value in net.state_dict().items():
        assert torch.equal(checkpoint['state_dict'][name], value)


def test_read_at_home(file, monkeypatch):
    monkeypatch.setenv('HOME', str(file.parent))
    assert 'state_dict' in read_checkpoint(f'~/{file.name}')


def test_missing_file_names_the_nearest(file):
    (file.parent / 'notes.txt').write_text('')
    with pytest.raises(FileNotFoundError) as error:
        read_checkpoint(file.parent / 'resnet20_bset.pth')
    assert 'resnet20_bset.pth' in str(error.value)
    assert 'nearest: resnet20_best.pth.' in str(error.value)
    with pytest.raises(FileNotFoundError, match='valid: .*notes.txt'):
        read_checkpoint(file.parent / 'xyz')


def test_a_folder_is_no_file(file):
    (file.parent / 'run').mkdir()
    with pytest.raises(FileNotFoundError, match='no checkpoint ".*run"'):
        read_checkpoint(file.parent / 'run')


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_checkpoint(tmp_path / 'nowhere' / 'a.pth')
    for word in ('nowhere" does not exist', 'working folder', os.getcwd()):
        assert word in str(error.value)


@pytest.mark.parametrize('trusted', [True, False])
@pytest.mark.parametrize('part', [0.3, 0.9, 0.999])
def test_truncated(file, part, trusted):
    whole = file.read_bytes()
    file.write_bytes(whole[:int(len(whole) * part)])
    with pytest.raises(ValueError, match='best.pth" cannot be read: it is tr'):
        read_checkpoint(file, trusted)


@pytest.mark.parametrize('content', [
    b'', b'hello', b'PK\x03\x04 no zip', b'<html><body>404</body></html>',
    b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
])
def test_other_files(tmp_path, content):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='a.pth" cannot be read'):
        read_checkpoint(path)


@pytest.mark.parametrize('held', [torch.zeros(3), [1, 2], 5])
def test_what_is_no_dict(tmp_path, held):
    torch.save(held, tmp_path / 'a.pth')
    with pytest.raises(ValueError) as error:
        read_checkpoint(tmp_path / 'a.pth')
    assert f'holds a {type(held).__name__}, not a dict' in str(error.value)


def test_code_needs_the_opt_in_and_is_not_run_without(tmp_path):
    trace = tmp_path / 'trace'
    torch.save(dict(state_dict={}, x=Evil(trace)), tmp_path / 'a.pth')
    with pytest.raises(ValueError) as error:
        read_checkpoint(tmp_path / 'a.pth')
    for word in ('a.pth', 'shutil.copy', 'pickle', 'any code', 'trusted=True'):
        assert word in str(error.value)
    assert not trace.exists()
    read_checkpoint(tmp_path / 'a.pth', trusted=True)
    assert trace.exists()


def test_foreign_classes_are_named(tmp_path, monkeypatch):
    # Pickle looks a class up by its module, which is none under importlib.
    monkeypatch.setattr(Stranger, '__module__', 'collections')
    monkeypatch.setattr('collections.Stranger', Stranger, raising=False)
    torch.save(dict(x=Stranger()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'\(collections.Stranger\)'):
        read_checkpoint(tmp_path / 'a.pth')
    found = read_checkpoint(tmp_path / 'a.pth', trusted=True)
    assert type(found['x']) is Stranger


def test_what_only_pickle_reads_is_not_called_damaged(tmp_path):
    torch.save(dict(x=np.array([None])), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='ObjectDType') as error:
        read_checkpoint(tmp_path / 'a.pth')
    assert not isinstance(error.value, Unreadable)


def test_checkpoints_of_openmmlab_need_no_opt_in(tmp_path, net):
    """The log history and NumPy's arrays and scalars are harmless."""
    hub = MessageHub('mmhkt_test_checkpoint')
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalar('train/lr', np.float64(0.1))
    hub.update_info('iter', 3)
    meta = dict(
        epoch=np.int64(3),
        dataset_meta=dict(
            classes=('a', 'b'), palette=np.array([[1, 2, 3]], dtype=np.uint8)),
        mean=np.zeros(2, dtype=np.float32),
        flags=np.array([True, False]),
        names=np.array(['a', 'b']),
        counts=np.array([1], dtype=np.int16),
        since=np.array(['2020-01-01'], dtype='M8[D]'))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.rand(2, 3, 1, 4)).sum().backward()
    optimizer.step()
    torch.save(
        dict(
            meta=meta,
            state_dict=net.state_dict(),
            message_hub=hub.state_dict(),
            history=HistoryBuffer([1., 2.], [1, 1]),
            optimizer=optimizer.state_dict(),
            param_schedulers=[dict(last_step=2)]), tmp_path / 'a.pth')
    found = read_checkpoint(tmp_path / 'a.pth')
    assert found['meta']['epoch'] == 3
    assert found['meta']['dataset_meta']['palette'].tolist() == [[1, 2, 3]]
    assert found['meta']['flags'].tolist() == [True, False]
    assert found['meta']['names'].tolist() == ['a', 'b']
    assert found['meta']['counts'].dtype == np.int16
    assert found['history'].mean() == 1.5
    scalars = found['message_hub']['log_scalars']
    assert scalars['train/loss'].current() == 0.5
    load_strictly(net, weights_of(found), 'it')


def test_what_is_allowed_is_allowed_there_alone(file):
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(file)
    assert set(torch.serialization.get_safe_globals()) == before


def test_published_weights(shared_data):
    path = shared_data / 'checkpoints' / 'resnet20-12fca82f.th'
    weights = weights_of(read_checkpoint(path))
    assert weights['linear.weight'].shape == (10, 64)


# ------------------------------------------------------------------ weights

ONE = torch.ones(1)


def test_weights_under_state_dict_or_bare():
    for checkpoint in ({'a.b': ONE}, dict(state_dict={'a.b': ONE}, meta={})):
        weights = weights_of(checkpoint)
        assert list(weights) == ['a.b'] and weights['a.b'] is ONE


@pytest.mark.parametrize(
    'revise_keys, expected',
    [
        (None, ['linear.w', 'a.module.w']),
        ((), ['module.linear.w', 'a.module.w']),
        # one after another
        ([(r'^module\.linear', 'head.fc'),
          (r'^head', 'top')], ['top.fc.w', 'a.module.w']),
        ([(r'(\w+)\.w$', r'\1.weight')
          ], ['module.linear.weight', 'a.module.weight']),
    ])
def test_revise_keys(revise_keys, expected):
    checkpoint = {'module.linear.w': ONE, 'a.module.w': ONE}
    args = () if revise_keys is None else (revise_keys, )
    assert list(weights_of(checkpoint, *args)) == expected
    assert list(checkpoint) == ['module.linear.w', 'a.module.w']


# --------------------------------------------------------------------- load


def test_load(net):
    weights = {
        name: torch.full_like(value, 2)
        for name, value in net.state_dict().items()
    }
    load_strictly(net, weights, 'it')
    assert all((value == 2).all() for value in net.state_dict().values())


def test_the_counter_of_batches_may_be_absent(net):
    weights = weights_of({
        name: value + 1
        for name, value in net.state_dict().items()
        if not name.endswith('num_batches_tracked')
    })
    load_strictly(net, weights, 'it')
    assert torch.equal(net.bn.weight, torch.full((4, ), 2.))


def problem(net, weights):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError) as error:
        load_strictly(net, weights, 'The file "a.pth"')
    # nothing is loaded in part
    assert all(
        torch.equal(value, before[name])
        for name, value in net.state_dict().items())
    assert str(error.value).startswith(
        'The file "a.pth" does not fit the network. Weights ')
    return str(error.value).split('Weights ')[1]


def test_missing(net):
    weights = {name: value + 1 for name, value in net.state_dict().items()}
    del weights['fc.weight'], weights['bn.running_var']
    assert problem(net, weights) == ('2 missing: bn.running_var, fc.weight.')


def test_foreign(net):
    weights = dict(net.state_dict(), extra=ONE)
    assert problem(net, weights) == '1 foreign: extra.'


def test_reshaped(net):
    weights = dict(net.state_dict())
    weights['fc.weight'] = torch.zeros(100, 4)
    assert problem(net, weights) == (
        '1 of another shape: fc.weight (100, 4) instead of (10, 4).')


def test_another_prefix_gets_a_hint(net):
    weights = {
        f'student.{name}': value
        for name, value in net.state_dict().items()
    }
    found = problem(net, weights)
    # the counter of batches is foreign, but not missing
    assert '8 missing: conv.weight, conv.bias, bn.weight, bn.bias, ...' in (
        found)
    assert '9 foreign: student.conv.weight, ' in found
    assert '("student.conv.weight" is foreign; nearest: conv.weight; ' in found
    assert 'see revise_keys' in found


def test_all_three_at_once(net):
    weights = dict(net.state_dict(), extra=ONE)
    weights['fc.bias'] = torch.zeros(3)
    del weights['conv.bias']
    found = problem(net, weights)
    for word in ('1 missing: conv.bias', '1 foreign: extra',
                 'fc.bias (3,) instead of (10,)'):
        assert word in found


class Malware:

    def __reduce__(self):
        return os.mkdir, ('created_by_a_checkpoint', )


def test_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, more=Malware()), 'a.pth')
    with pytest.raises(ValueError, match=r'\((posix|nt)\.mkdir\) and could'):
        read_checkpoint('a.pth')
    assert not os.path.exists('created_by_a_checkpoint')


def test_addresses_that_end_alike_are_two_files(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        torch.save(dict(w=torch.tensor(ord(name))), tmp_path / name / 'best')
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = [
            read_checkpoint(
                f'http://127.0.0.1:{server.server_port}/{name}/best')['w']
            for name in ('a', 'b')
        ]
        server.shutdown()
    assert found == [ord('a'), ord('b')]


@pytest.mark.parametrize(
    'damage',
    [
        lambda whole: whole[:len(whole) // 2],
        # one bit of the tensor
        lambda whole: whole.replace(b'\x07' * 8, b'\x07' * 7 + b'\x06'),
    ])
def test_a_download_that_is_damaged_is_fetched_anew(tmp_path, monkeypatch,
                                                    damage):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    path = tmp_path / 'best.pth'
    weights = dict(w=torch.full((64, ), 7, dtype=torch.uint8))
    torch.save(weights, path)
    whole = path.read_bytes()
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/best.pth'
        path.write_bytes(damage(whole))
        with pytest.raises(ValueError, match='is removed, so that the next'):
            read_checkpoint(address)
        path.write_bytes(whole)
        assert torch.equal(read_checkpoint(address)['w'], weights['w'])
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):

    def log_message(self, *args):
        pass
