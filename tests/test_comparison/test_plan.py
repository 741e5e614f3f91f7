# Copyright (c) mmhkt authors. All rights reserved.
from pathlib import Path

import pytest
from helpers import CONFIGS, REPO
from mmengine.config import Config

from mmhkt.comparison.entries import other_recipes
from mmhkt.comparison.metrics import higher_is_better, metric_of
from mmhkt.comparison.plan import check_parents, comparison_fields, make_plan
from mmhkt.comparison.run_configs import write_configs
from mmhkt.registry import METHODS
from mmhkt.utils.config import ConfigError, plain
from mmhkt.utils.settings import SettingError, settings_of

DIGITS = CONFIGS / 'hkt/hkt_resnet20_resnet8-narrow_digits.py'


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes a comparison and gives its path."""
    monkeypatch.chdir(tmp_path)

    def write(comparison, more=''):
        path = tmp_path / 'my.py'
        path.write_text(
            f"_base_ = '{DIGITS}'\ncomparison = dict({comparison})\n{more}")
        return str(path)

    return write


def planned(path, **options):
    plan = make_plan([path], **options)
    return plan, [entry.name for entry in plan.entries]


def test_runs_and_their_configs(config):
    path = config("methods=['mmhkt.HKT', dict(type='mmhkt.LePoKet'), "
                  "['mmhkt.HKT', dict(type='mmhkt.LePoKet')]], seeds=[3, 1]")
    plan, names = planned(path)
    assert names == ['alone', 'hkt', 'lepoket', 'hkt+lepoket']
    assert [entry.label for entry in plan.entries
            ] == ['Alone', 'HKT', 'LePoKet', 'HKT + LePoKet']
    assert (plan.title, plan.reference, plan.seeds) == ('my', 'alone', [3, 1])
    # Seed by seed.
    assert [str(run.folder) for run in plan.runs[3:5]] == [
        'work_dirs/my/hkt+lepoket/seed_3', 'work_dirs/my/alone/seed_1'
    ]
    write_configs(plan)
    assert [run.score_parent
            for run in plan.runs] == [False, True] + 6 * [False]
    base = plain(Config.fromfile(DIGITS))
    for run in plan.runs:
        cfg = plain(Config.fromfile(run.config_file))
        assert cfg.pop('custom_hooks') == [
            dict(type='mmhkt.RecordHook'),
            dict(type='mmhkt.ExamplesHook', number=4)
        ]
        assert cfg.pop('work_dir') == str(run.folder)
        assert cfg.pop('method') == plain(run.entry.cfg.method)
        assert cfg.pop('randomness') == dict(
            seed=run.seed, deterministic=False)
        # The first one that has a parent looks how good it is.
        looks = (cfg.get('default_hooks') or {}).pop('extraction', {})
        assert looks.get('score_parent', False) == run.score_parent
        assert cfg == {
            k: v
            for k, v in base.items() if k not in ('method', 'randomness')
        }


def test_all_methods(config):
    names = planned(config("methods='all'"))[1]
    assert sorted(names) == sorted(name.lower()
                                   for name in METHODS.module_dict)


def test_names_of_ones_own(config):
    plan, names = planned(
        config("methods=dict(a='mmhkt.HKT', b=dict(type='mmhkt.HKT', "
               "weights=dict(native=2.))), reference='a'"))
    assert names == ['alone', 'a', 'b']
    assert plan.entries[2].label == 'b'
    assert plan.reference == 'a'


def test_command_line(config):
    path = config("methods=['mmhkt.HKT', 'mmhkt.LePoKet'], seeds=[0]")
    plan, names = planned(
        path,
        methods=['lepoket'],
        seeds=[5],
        work_dir='w',
        amp=True,
        options={'train_cfg.max_epochs': 7})
    assert names == ['alone', 'lepoket']
    assert [str(run.folder)
            for run in plan.runs] == ['w/alone/seed_5', 'w/lepoket/seed_5']
    cfg = plan.runs[0].config()
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.optim_wrapper.type != 'OptimWrapper'


def test_metric_that_the_config_keeps_its_best_by(config):
    alone = "methods=['mmhkt.Alone']"
    plan, _ = planned(config(alone))
    assert (plan.metric, plan.rule) == ('accuracy/top1', None)
    assert plan.judged_by == 'accuracy/top1 (higher is better)'
    best = ("default_hooks = dict(checkpoint=dict(save_best='EPE', "
            "rule='less'))")
    plan, _ = planned(config(alone, best))
    assert (plan.metric, plan.rule) == ('EPE', 'less')
    plan, _ = planned(config(f"{alone}, metric='accuracy/top1'", best))
    assert (plan.metric, plan.rule) == ('accuracy/top1', None)


def test_rule_alone_leaves_the_metric_as_it_was(config):
    path = config("methods=['mmhkt.HKT'], rule='less'")
    plan, _ = planned(path)
    assert (plan.metric, plan.rule) == ('accuracy/top1', 'less')


def test_a_metric_that_is_known_needs_no_rule(config):
    path = config(
        "methods=['mmhkt.HKT'], metric='EPE'",
        "val_evaluator = dict(type='mmhkt.EndPointError')\n"
        "default_hooks = dict(checkpoint=dict(save_best=None))\n")
    plan, _ = planned(path)
    assert (plan.metric, plan.rule) == ('EPE', 'less')


@pytest.mark.parametrize('hooks', ['None', 'dict(extraction=None)'])
def test_hooks_that_were_left_out(config, hooks):
    path = config("methods=['mmhkt.HKT']", f'default_hooks = {hooks}\n')
    plan, _ = planned(path)
    found = plan.runs[1].config().default_hooks.get('extraction')
    assert found == (None if 'extraction' in hooks else dict(
        type='mmhkt.ExtractionHook', score_parent=True))


def test_seeds_of_any_sequence(config):
    plan, _ = planned(config("methods=['mmhkt.HKT'], seeds=range(3)"))
    assert plan.seeds == [0, 1, 2]


def test_several_training_configs():
    alone = CONFIGS / 'alone/resnet8-narrow_digits.py'
    plan = make_plan([str(DIGITS), str(alone)], seeds=[0, 1])
    assert [entry.name for entry in plan.entries] == [
        'hkt_resnet20_resnet8-narrow_digits', 'resnet8-narrow_digits'
    ]
    assert plan.reference == 'resnet8-narrow_digits'
    assert str(plan.folder) == 'work_dirs/compare'
    assert plan.metric == 'accuracy/top1'
    assert make_plan([str(DIGITS)]).reference is None
    with pytest.raises(ConfigError, match='several configs are called'):
        make_plan([str(DIGITS), str(DIGITS)])


@pytest.mark.parametrize('evaluator, hook, judged', [
    (dict(type='Accuracy', topk=(1, 5)), {}, ('accuracy/top1', None)),
    (dict(type='IoUMetric', iou_metrics=['mIoU']), {}, ('mIoU', None)),
    (dict(type='IoUMetric', iou_metrics=['mDice'], prefix='a'), {},
     ('a/mDice', None)),
    ([dict(type='Mine'), dict(type='mmhkt.EndPointError')], {},
     ('EPE', 'less')),
    (dict(type='mmhkt.VolumeDice'), {}, ('mDice', None)),
    (dict(type='Mine'), {}, (None, None)),
    (dict(type='IoUMetric'), dict(save_best='aAcc'), ('aAcc', None)),
    (dict(type='IoUMetric'), dict(save_best='auto'), ('mIoU', None)),
    (dict(type='Mine'), dict(save_best='fid', rule='less'), ('fid', 'less')),
])
def test_metric_of_the_task(evaluator, hook, judged):
    """Segmentation was judged by the pixels, the first score logged."""
    cfg = Config(
        dict(val_evaluator=evaluator, default_hooks=dict(checkpoint=hook)))
    assert metric_of(cfg) == judged


def test_plain_configs_are_the_child_alone(config, tmp_path):
    """They were trained to the end, and then got no report."""
    plain_config = ("_base_ = '{}'\nrunner_type = None\nmethod = None\n"
                    "parent = None\n{}")
    paths = {}
    for name, more in dict(
            mine='',
            again='train_dataloader = dict(num_workers=1)',
            wider='model = dict(backbone=dict(stem_channels=9))',
            other='train_dataloader = dict(batch_size=9)',
            elsewhere="val_dataloader = dict(dataset=dict(split='train'))",
            scored='val_evaluator = dict(topk=(1, 2))').items():
        paths[name] = str(tmp_path / f'{name}.py')
        Path(paths[name]).write_text(plain_config.format(DIGITS, more))
    plan = make_plan([paths['mine'], str(DIGITS), paths['again']])
    assert plan.reference == 'mine'
    for run in plan.runs[::2]:
        cfg = run.config()
        assert cfg.runner_type == 'mmhkt.InheritanceRunner'
        assert cfg.method.type == 'mmhkt.Alone'
    assert make_plan([paths['mine']]).reference == 'mine'
    for name, message in dict(
            wider='different children: model.backbone.stem_channels',
            other='different images: train_dataloader.batch_size',
            elsewhere='different validations: val_dataloader.dataset.split',
            scored='different validations: val_evaluator.topk').items():
        with pytest.raises(ConfigError, match=message):
            make_plan([paths['mine'], paths[name]])


def test_another_recipe_is_said(tmp_path):
    """It is allowed, but then it is not the method alone that differs."""
    plain_config = ("_base_ = '{}'\nrunner_type = None\nmethod = None\n"
                    "parent = None\n{}")
    paths = []
    for name, more in dict(
            mine='',
            tuned='optim_wrapper = dict(optimizer=dict(lr=0.7))\n'
            'custom_hooks = [dict(type="EMAHook")]').items():
        paths.append(str(tmp_path / f'{name}.py'))
        Path(paths[-1]).write_text(plain_config.format(DIGITS, more))
    entries = make_plan(paths).entries
    found = other_recipes(entries)
    assert list(found) == ['tuned']
    assert {'custom_hooks.0.type',
            'optim_wrapper.optimizer.lr'} <= {*found['tuned']}
    assert other_recipes(entries[:1]) == {}


@pytest.mark.parametrize('more, message', [
    ('runner_type = None', "no runner that knows it; add runner_type = 'mmh"),
    ('runner_type = None\nmethod = None', None),
    ('method = None', 'no method; for the child alone add method = dict'),
    ("runner_type = 'FlexibleRunner'", 'runs by FlexibleRunner do not'),
])
def test_runners_that_are_not_ours(tmp_path, more, message):
    path = tmp_path / 'my.py'
    path.write_text(f"_base_ = '{DIGITS}'\n{more}")
    if message is None:
        make_plan([str(path)])
        return
    with pytest.raises(ConfigError, match=message):
        make_plan([str(path)])


def test_parent_is_scored_unless_that_is_turned_off(config):
    plan, _ = planned(config("methods=['mmhkt.HKT'], score_parent=False"))
    assert not any(run.score_parent for run in plan.runs)


@pytest.mark.parametrize('comparison, message', [
    ("method=['mmhkt.HKT']", 'no setting "method"; nearest: methods'),
    ('seeds=[0]', 'methods is missing'),
    ("methods='HKT'", "or 'all'.*, but got 'HKT'"),
    ('methods=[1]', '1 is no method'),
    ("methods=['mmhkt.HTK']", 'no method "mmhkt.HTK"; nearest: mmhkt.HKT'),
    ("methods=[dict(type='mmhkt.HKT', weight=1)]",
     'has no setting "weight"; nearest: weights'),
    ("methods=[dict(type='mmhkt.HKT', weights=dict(x=1))]",
     'has no loss term "x"'),
    ("methods=['mmhkt.HKT', 'mmhkt.HKT']", 'hkt is listed twice.*a dict'),
    ("methods={'a/b': 'mmhkt.HKT'}", '"a/b" cannot be the name'),
    ("methods={'parent': 'mmhkt.HKT'}", '"parent" cannot be the name'),
    ("methods={'alone': 'mmhkt.HKT'}", '"alone" has to be mmhkt.Alone'),
    ("methods=['mmhkt.HKT'], seeds=[]",
     r'seeds must be .* not empty, but got \[\]'),
    ("methods=['mmhkt.HKT'], seeds=[1, 1]", 'not all different'),
    ("methods=['mmhkt.HKT'], seeds=[-1]", r'seeds must be .*, but got \[-1\]'),
    ("methods=['mmhkt.HKT'], reference='htk'", '"htk" is unknown.*: hkt'),
    ("methods=['mmhkt.HKT'], rule='higher'", '"higher" is unknown'),
    ("methods=['mmhkt.HKT'], margin=0", 'margin must be a number above 0'),
    ("methods=['mmhkt.HKT'], margin='1'", 'margin must be a number above 0'),
    ("methods=['mmhkt.HKT'], metric='fid'", "Set rule to 'greater' or"),
])
def test_mistakes_in_a_comparison(config, comparison, message):
    with pytest.raises(ConfigError, match=message):
        planned(config(comparison))


@pytest.mark.parametrize('options, message', [
    (dict(methods=['htk']), '"htk" is unknown; nearest: hkt'),
    (dict(seeds=[2, 2]), 'not all different'),
    (dict(options={'method.weights.native': 2}), 'those of comparison'),
])
def test_mistakes_on_the_command_line(config, options, message):
    with pytest.raises(ConfigError, match=message):
        planned(config("methods=['mmhkt.HKT']"), **options)


def test_a_config_that_cannot_be_compared(config):
    with pytest.raises(ConfigError, match='no val_cfg'):
        planned(config("methods=['mmhkt.HKT']", 'val_cfg = None'))
    with pytest.raises(ConfigError, match="runner_type='mmhkt.Inheritance"):
        planned(config("methods=['mmhkt.HKT']", 'runner_type = None'))
    with pytest.raises(ConfigError, match='hkt needs a parent'):
        planned(config("methods=['mmhkt.HKT']", 'parent = None'))


def test_absent_parent_is_seen_before_anything_runs(config):
    plan, _ = planned(config("methods=['mmhkt.HKT']"))
    with pytest.raises(ConfigError, match='no parent checkpoint .*train_par'):
        check_parents(plan)


@pytest.mark.parametrize('name, nearest', [
    ('mmhkt::alone/resnet21_digits.py', 'mmhkt::alone/resnet20_digits.py'),
    ('resnet50_8xb16_cifar11', 'resnet50_8xb16_cifar10'),
])
def test_a_parent_of_no_config_is_seen_before_anything_runs(
        config, name, nearest):
    plan, _ = planned(
        config(
            "methods=['mmhkt.HKT']", 'parent = dict(_delete_=True, '
            f"config='{name}', random_weights=True)"))
    with pytest.raises((ValueError, FileNotFoundError),
                       match=f'no .*{name}.*; nearest: {nearest}'):
        check_parents(plan)


def test_parent_that_is_trained_too(config):
    plan, _ = planned(config("methods=['mmhkt.HKT'], train_parent=True"))
    check_parents(plan)
    assert str(plan.parent.folder) == 'work_dirs/my/parent'
    assert plan.everything[0] == plan.parent
    assert not any(run.score_parent for run in plan.runs)
    cfg = plan.parent.config()
    assert cfg.model.backbone.depth == 20
    assert cfg.randomness.seed == 0
    for run in plan.runs:
        assert run.config(
        ).parent.checkpoint == 'work_dirs/my/parent/child.pth'
    # What a run would stumble upon when its parent is trained at last.
    wrong, _ = planned(
        config("methods=['mmhkt.HKT'], train_parent=True",
               'default_hooks = dict(mixture=dict(intervall=3))'))
    with pytest.raises(SettingError, match='"intervall".*nearest: interval'):
        check_parents(wrong)
    with pytest.raises(ConfigError, match='train_parent needs'):
        planned(
            config("methods=['mmhkt.HKT'], train_parent=True",
                   'parent = None'))


def test_parent_of_the_zoo_gets_our_runner(config):
    plan, _ = planned(
        config(
            "methods=['mmhkt.HKT'], train_parent=True",
            "parent = dict(config='mmpretrain::resnet/"
            "resnet18_8xb16_cifar10.py')"))
    cfg = plan.parent.config()
    assert cfg.runner_type == 'mmhkt.InheritanceRunner'
    assert cfg.method.type == 'mmhkt.Alone'


def test_changed_config_is_refused_and_nothing_is_written(config):
    path = config("methods=['mmhkt.HKT'], seeds=[0]")
    write_configs(planned(path)[0])
    before = planned(path)[0].runs[1].config_file.read_text()

    changed, _ = planned(
        path, seeds=[9, 0], options={'train_cfg.max_epochs': 21})
    with pytest.raises(
            ConfigError,
            match='alone, seed 0: .*: train_cfg.max_epochs. Choose another'):
        write_configs(changed)
    assert planned(path)[0].runs[1].config_file.read_text() == before
    assert not changed.runs[0].folder.exists()  # of seed 9

    with pytest.raises(ConfigError, match='optim_wrapper.type'):
        write_configs(planned(path, amp=True)[0])
    write_configs(planned(path, amp=True, work_dir='another')[0])

    # More methods and seeds are no change of those that are there.
    write_configs(
        planned(
            config("methods=['mmhkt.HKT', 'mmhkt.LePoKet'], seeds=[0, 1]"))[0])


def test_where_features_are_kept_is_no_setting_of_a_run(config):
    path = config("methods=['mmhkt.HKT'], seeds=[0]")
    for cache in (None, 'here', 'there', None):
        options = {} if cache is None else {'parent.cache': cache}
        plan, _ = planned(path, options=options)
        write_configs(plan)
        cfg = Config.fromfile(plan.runs[1].config_file)
        assert cfg.parent.get('cache') == cache


def test_a_removed_folder_may_be_of_another_config(config):
    path = config("methods=['mmhkt.HKT'], seeds=[0]")
    plan, _ = planned(path)
    write_configs(plan)
    for run in plan.runs:
        run.folder.rmdir()
    changed, _ = planned(path, options={'train_cfg.max_epochs': 21})
    write_configs(changed)
    assert Config.fromfile(plan.runs[0].config_file).train_cfg.max_epochs == 21


def test_moved_folder(config, tmp_path):
    path = config("methods=['mmhkt.HKT'], seeds=[0], train_parent=True")
    write_configs(planned(path, work_dir='one')[0])
    (tmp_path / 'one').rename(tmp_path / 'two')
    plan, _ = planned(path, work_dir='two')
    write_configs(plan)
    cfg = Config.fromfile(plan.runs[1].config_file)
    assert cfg.work_dir == 'two/hkt/seed_0'
    assert cfg.parent.checkpoint == 'two/parent/child.pth'


@pytest.mark.parametrize('metric, rule, higher', [
    ('accuracy/top1', None, True),
    ('mIoU', None, True),
    ('my_loss', None, False),
    ('fid', 'less', False),
    ('my_loss', 'greater', True),
])
def test_which_way_is_better(metric, rule, higher):
    assert higher_is_better(metric, rule) == higher


def test_every_setting_is_in_the_docs():
    """With its default, where that is a value."""
    text = (REPO / 'docs/comparison.md').read_text(encoding='utf-8')
    table = text.partition('## Settings')[2].partition('\n## ')[0]
    rows = {
        row.split('|')[1].strip(' `'): row.rpartition(' | ')[2].strip(' |`')
        for row in table.splitlines() if row.startswith('| `')
    }
    settings = settings_of(comparison_fields)
    assert list(rows) and set(rows) == set(settings)
    for name, written in rows.items():
        default = settings[name].default
        if default is not None:
            assert written == str(
                list(default) if isinstance(default, tuple) else default)
