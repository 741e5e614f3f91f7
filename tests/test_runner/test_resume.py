# Copyright (c) mmhkt authors. All rights reserved.
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from forking import Popen
from helpers import REPO, cut_off, digits_config, dump, read, run, same
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from mmhkt.registry import RUNNERS


def final(folder):
    return read(folder / 'epoch_3.pth')


@pytest.mark.slow
@pytest.mark.parametrize('method, workers', [('mmhkt.HKT', 0),
                                             ('mmhkt.LePoKet', 2)])
def test_killed_and_resumed_ends_with_the_same_weights(tmp_path, method,
                                                       workers):
    options = {
        'train_cfg.max_epochs': 3,
        'train_dataloader.num_workers': workers,
        'train_dataloader.dataset.indices': 384
    }
    whole = tmp_path / 'whole'
    run(digits_config(whole, method, **options))

    cut = tmp_path / 'cut'
    cfg = digits_config(cut, method, **options)
    cfg.custom_imports = dict(imports=['dawdle'])
    (tmp_path / 'dawdle.py').write_text(
        'import time\n'
        'from mmengine.hooks import Hook\n'
        'from mmengine.registry import HOOKS\n'
        '@HOOKS.register_module()\n'
        'class Dawdle(Hook):\n'
        '    def after_train_iter(self, runner, *args, **kwargs):\n'
        '        if runner.epoch == 1 and runner.iter % 6 > 2:\n'
        "            open('middle', 'w').close()\n"
        '            time.sleep(60)\n')
    cfg.custom_hooks = [dict(type='Dawdle')]
    config = dump(cfg, tmp_path / 'cut.py')
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    process = Popen(
        [sys.executable,
         str(REPO / 'tools/train.py'),
         str(config)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    started = time.time()
    while not (tmp_path / 'middle').exists():
        assert process.poll() is None and time.time() - started < 120
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (cut / 'epoch_1.pth').exists()
    assert not (cut / 'epoch_2.pth').exists()

    run(digits_config(cut, method, resume=True, **options))
    one, other = final(whole), final(cut)
    assert same(one['state_dict'], other['state_dict'])
    assert same(one['transfer']['state_dict'], other['transfer']['state_dict'])
    for part in ('optimizer', 'transfer'):
        a, b = one[part], other[part]
        a, b = (a, b) if part == 'optimizer' else (a['optimizer'],
                                                   b['optimizer'])
        for number, state in a['state'].items():
            assert torch.equal(state['momentum_buffer'],
                               b['state'][number]['momentum_buffer'])
    for key in ('train/loss', ):
        assert len(one['message_hub']['log_scalars'][key].data[0]) == len(
            other['message_hub']['log_scalars'][key].data[0])
    name = f'train/{method.split(".")[1].lower()}.inherited.loss'
    histories = [
        c['transfer']['message_hub']['log_scalars'][name].data[0]
        for c in (one, other)
    ]
    assert (histories[0] == histories[1]).all()


def test_schedule_goes_on_where_it_was(tmp_path):
    options = {'train_cfg.max_epochs': 4}
    cfg = digits_config(tmp_path, 'mmhkt.LePoKet', **options)
    cfg.train_cfg.max_epochs = 2
    cfg.method = dict(
        type='mmhkt.LePoKet',
        schedule=[dict(knob='intensity', end=4, unit='epoch')])
    runner = run(cfg)
    attention = runner.inheritance.methods[0].mixtures[0].attention
    assert attention.factor == pytest.approx(1 - 7 / 16)

    cfg = digits_config(tmp_path, cfg.method, resume=True, **options)
    runner = RUNNERS.build(cfg)
    factors = []
    call_hook = runner.call_hook

    def spy(name, **kwargs):
        call_hook(name, **kwargs)
        if name == 'before_train_iter':
            factors.append(
                runner.inheritance.methods[0].mixtures[0].attention.factor)

    runner.call_hook = spy
    runner.train()
    assert factors == pytest.approx([1 - i / 16 for i in range(8, 16)])


@pytest.mark.parametrize('scheduler', [
    dict(type='OneCycleLR', eta_max=.1, total_steps=8, by_epoch=False),
    dict(type='ReduceOnPlateauLR', monitor='accuracy/top1', by_epoch=True),
    dict(type='PolyLR', by_epoch=True, convert_to_iter_based=True),
])
def test_schedulers_of_the_learning_rate_resume(tmp_path, scheduler):
    """Also those whose state holds a function."""

    def train(folder, **options):
        cfg = digits_config(folder, **options)
        cfg.param_scheduler = scheduler
        run(cfg)

    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    train(whole)
    cut_off(whole, cut, 'epoch_2.pth')
    train(cut, resume=True)
    one, other = (read(folder / 'epoch_2.pth') for folder in (whole, cut))
    assert same(one['state_dict'], other['state_dict'])
    assert one['param_schedulers'] == other['param_schedulers']


@pytest.mark.parametrize('seed, of_the_rest', [(None, None), (3, 4)])
def test_the_seed_is_that_of_what_is_resumed(tmp_path, seed, of_the_rest):
    """Also of samplers, which are built before anything is loaded; where no
    seed is set, one was drawn."""
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    options = {'randomness.seed': seed}
    run(digits_config(whole, 'mmhkt.Alone', **options))
    cut_off(whole, cut, 'epoch_2.pth')
    options = {'randomness.seed': of_the_rest}
    run(digits_config(cut, 'mmhkt.Alone', resume=True, **options))
    one, other = (read(folder / 'epoch_2.pth') for folder in (whole, cut))
    assert same(one['state_dict'], other['state_dict'])


def test_checkpoints_of_another_name_and_place_are_resumed(tmp_path):
    options = {
        'default_hooks.checkpoint.out_dir': str(tmp_path / 'elsewhere'),
        'default_hooks.checkpoint.filename_tmpl': 'model_{:03d}.pth'
    }
    folder = tmp_path / 'run'
    run(digits_config(folder, 'mmhkt.Alone', **options))
    options['train_cfg.max_epochs'] = 3
    runner = RUNNERS.build(
        digits_config(folder, 'mmhkt.Alone', resume=True, **options))
    steps = []
    runner.register_hook(Count(steps))
    runner.train()
    assert steps == [8, 9, 10, 11]


class Count(Hook):

    def __init__(self, steps):
        self.steps = steps

    def before_train_iter(self, runner, *args, **kwargs):
        self.steps.append(runner.iter)


def test_partial_file_is_not_resumed(tmp_path):
    run(digits_config(tmp_path))
    (tmp_path / 'epoch_3.pth.partial').write_bytes(b'cut short')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'gone.pth'))
    runner = run(
        digits_config(tmp_path, resume=True, **{'train_cfg.max_epochs': 3}))
    assert runner.epoch == 3
    assert runner.iter == 12


def test_resuming_another_method_is_refused(tmp_path):
    run(digits_config(tmp_path, 'mmhkt.Alone'))
    cfg = digits_config(
        tmp_path, 'mmhkt.HKT', resume=True, **{'train_cfg.max_epochs': 3})
    with pytest.raises(ValueError, match=r"\['HKT'\].*\['Alone'\].*load_from"):
        run(cfg)


def test_load_from_starts_another_method(tmp_path):
    alone = tmp_path / 'alone'
    run(digits_config(alone, 'mmhkt.Alone'))
    cfg = digits_config(tmp_path / 'hkt', load_from=str(alone / 'epoch_2.pth'))
    runner = RUNNERS.build(cfg)
    start = {}
    call_hook = runner.call_hook

    def spy(name, **kwargs):
        if name == 'before_train':
            start.update({
                k: v.clone()
                for k, v in runner.model.state_dict().items()
            })
        call_hook(name, **kwargs)

    runner.call_hook = spy
    runner.train()
    assert same(start, read(alone / 'epoch_2.pth')['state_dict'])


def test_plain_runner_resumes_our_checkpoint(tmp_path):
    """Whoever has no mmhkt goes on with the child alone."""
    run(digits_config(tmp_path))
    cfg = digits_config(tmp_path, resume=True, **{'train_cfg.max_epochs': 3})
    cfg.runner_type = 'Runner'
    runner = run(cfg)
    assert runner.epoch == 3


@pytest.mark.parametrize('workers', [0, 2])
def test_iteration_based_run_resumes_to_the_same_weights(tmp_path, workers):
    """An infinite sampler and mixup, resumed in the middle of a pass."""

    def config(folder, max_iters, **options):
        cfg = digits_config(
            folder, 'mmhkt.LePoKet', **{
                'train_dataloader.num_workers': workers,
                **options
            })
        cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
        cfg.model.train_cfg = dict(augments=dict(type='Mixup', alpha=0.8))
        cfg.model.head.loss = dict(type='CrossEntropyLoss', use_soft=True)
        cfg.train_cfg = dict(
            type='IterBasedTrainLoop', max_iters=max_iters, val_interval=100)
        cfg.param_scheduler = None
        cfg.method = dict(
            type='mmhkt.LePoKet',
            schedule=[dict(knob='intensity', end=10, unit='iter')])
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', by_epoch=False, interval=6)
        return cfg

    run(config(tmp_path / 'whole', 12))
    run(config(tmp_path / 'cut', 6))
    run(config(tmp_path / 'cut', 12, resume=True))
    one, other = (
        read(tmp_path / name / 'iter_12.pth') for name in ('whole', 'cut'))
    assert same(one['state_dict'], other['state_dict'])
    assert same(one['transfer']['state_dict'], other['transfer']['state_dict'])


def test_the_text_of_a_config_in_a_checkpoint_is_not_run(tmp_path):
    """mmengine's resume runs what stands under meta['config']."""
    run(digits_config(tmp_path, **{'train_cfg.max_epochs': 1}))
    file, marker = tmp_path / 'epoch_1.pth', tmp_path / 'marker'
    checkpoint = read(file)
    checkpoint['meta']['config'] = f'open({str(marker)!r}, "w")\na = 1\n'
    torch.save(checkpoint, file)
    runner = run(digits_config(tmp_path, resume=True))
    assert runner.epoch == 2 and not marker.exists()


def test_a_schedule_goes_on_with_another_batch_size(tmp_path):
    """At the part of the training that is done, not at the iteration."""
    method = dict(
        type='mmhkt.HKT',
        schedule=[dict(knob='intensity', start=1.0, stop=0.0, end=1.0)])
    options = {'train_cfg.max_epochs': 4, 'default_hooks.logger.interval': 1}
    cfg = digits_config(tmp_path, method, **options)
    cfg.custom_hooks = [dict(type=EarlyStop, epoch=2)]
    run(cfg)
    cfg = digits_config(
        tmp_path,
        method,
        resume=True,
        **{
            **options, 'train_dataloader.batch_size': 128
        })
    cfg.custom_hooks = [dict(type=EarlyStop, epoch=2)]
    hook, = [h for h in run(cfg).hooks if isinstance(h, EarlyStop)]
    # 2 of 4 epochs are done; an epoch has 2 iterations now.
    assert hook.factors == [0.5, 0.375, 0.25, 0.125]


class EarlyStop(Hook):
    """Ends a training after some epochs, as if it had been killed."""
    priority = 'LOWEST'

    def __init__(self, epoch):
        self.epoch = epoch
        self.factors = []

    def after_train_iter(self, runner, batch_idx, **kwargs):
        attention = runner.inheritance.methods[0].mixtures[0].attention
        self.factors.append(attention.factor)

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            runner.train_loop.stop_training = True


# --------------------------------------------------- files that are not whole


def test_the_only_checkpoint_stays_until_the_next_is_whole(
        tmp_path, monkeypatch):
    """As when the run is killed, or the disk is full, while it saves."""
    cfg = digits_config(tmp_path, 'mmhkt.Alone')
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    save, saved = torch.save, []

    def fails(checkpoint, file, *args, **kwargs):
        saved.append(file)
        if checkpoint['meta'].get('epoch') == 2:
            raise OSError(28, 'No space left on device')
        save(checkpoint, file, *args, **kwargs)

    monkeypatch.setattr(torch, 'save', fails)
    with pytest.raises(OSError, match='No space'):
        run(cfg)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.glob('epoch_*')] == ['epoch_1.pth']
    assert not list(tmp_path.glob('*.partial'))
    cfg = digits_config(tmp_path, 'mmhkt.Alone', resume=True)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    assert run(cfg).epoch == 2
    assert [p.name for p in tmp_path.glob('epoch_*')] == ['epoch_2.pth']


def damage(file, at=0.5):
    """Change one byte, as a bad disk does."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 0xff
    file.write_bytes(content)


def test_a_damaged_checkpoint_is_not_resumed_but_the_one_before(
        tmp_path, monkeypatch):
    run(digits_config(tmp_path, 'mmhkt.Alone'))
    damage(tmp_path / 'epoch_2.pth')
    options = {'train_cfg.max_epochs': 3, 'resume': True}
    warnings = []
    monkeypatch.setattr(MMLogger, 'warning',
                        lambda self, text, *_: warnings.append(text))
    loaded = RUNNERS.build(digits_config(tmp_path, 'mmhkt.Alone', **options))
    loaded.train()
    assert loaded._load_from == str(tmp_path / 'epoch_1.pth')
    assert any('epoch_2.pth" cannot be read' in text for text in warnings)
    for file in tmp_path.glob('epoch_*.pth'):
        file.write_bytes(b'PK')
    with pytest.raises(ValueError, match='No checkpoint in .* can be read'):
        run(digits_config(tmp_path, 'mmhkt.Alone', **options))


def test_a_note_of_a_lost_checkpoint_begins_anew(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_7.pth'))
    assert run(digits_config(tmp_path, 'mmhkt.Alone', resume=True)).epoch == 2


def test_where_a_run_begins_stays_until_there_is_more(tmp_path):
    """`--resume` forgets no `load_from`: a comparison gives it always."""
    run(digits_config(tmp_path / 'before', 'mmhkt.Alone'))
    begins = str(tmp_path / 'before/child.pth')
    options = {'resume': 'auto', 'load_from': begins}
    folder = tmp_path / 'after'
    runner = RUNNERS.build(digits_config(folder, 'mmhkt.Alone', **options))
    runner.load_or_resume()
    weights = read(begins)['state_dict']
    assert same(weights, runner.model.state_dict())
    assert run(digits_config(folder, 'mmhkt.Alone', **options)).epoch == 2
    options['train_cfg.max_epochs'] = 3
    runner = RUNNERS.build(digits_config(folder, 'mmhkt.Alone', **options))
    runner.train()
    assert runner._load_from == str(folder / 'epoch_2.pth')


def test_resuming_elsewhere_removes_nothing_there(tmp_path):
    first, second = tmp_path / 'a', tmp_path / 'b'
    run(digits_config(first, 'mmhkt.Alone'))
    precious = tmp_path / 'precious.pth'
    precious.write_text('mine')
    best, = first.glob('best_*')
    checkpoint = read(first / 'epoch_2.pth')
    info = checkpoint['message_hub']['runtime_info']
    assert info['best_ckpt'] == str(best)
    options = {'train_cfg.max_epochs': 3, 'resume': True}
    # As it is, and with what a foreign file could say.
    for number, change in enumerate(
        (dict(), dict(best_ckpt=str(precious)),
         dict(keep_ckpt_ids=['/../../precious', 1, '../x', None]))):
        info.update(best_score=-1., **change)
        torch.save(checkpoint, tmp_path / 'epoch_2.pth')
        run(
            digits_config(
                second / str(number),
                'mmhkt.Alone',
                load_from=str(tmp_path / 'epoch_2.pth'),
                **options))
        assert best.exists() and precious.exists()
        assert list((second / str(number)).glob('best_*'))


def test_weights_alone_are_not_resumed(tmp_path):
    run(digits_config(tmp_path, 'mmhkt.Alone'))
    best, = tmp_path.glob('best_*')
    for file in (best, tmp_path / 'child.pth'):
        with pytest.raises(ValueError, match='no .*optimizer.*load_from'):
            run(
                digits_config(
                    tmp_path, 'mmhkt.Alone', resume=True, load_from=str(file)))
