# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt.inherit`` in loops that are not mmengine's."""
import copy
from collections import namedtuple
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers import CONFIGS
from mmengine.config import Config
from torch import nn

import mmhkt
from mmhkt.inheritance import Dissection, Trunk
from mmhkt.models import Parent, PlainClassifier, build_network

DIGITS = str(CONFIGS / 'alone/resnet8-narrow_digits.py')


class Plain(nn.Module):
    """Nothing of OpenMMLab's: two stages and a head."""

    def __init__(self, width, classes=3):
        super().__init__()
        self.stem = self.block(3, width, 1)
        self.late = self.block(width, 2 * width, 2)
        self.fc = nn.Linear(2 * width, classes)

    @staticmethod
    def block(before, after, stride):
        return nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x):
        return self.fc(self.late(self.stem(x)).mean((2, 3)))


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])


def train(loss, batch, steps):
    optimizer = torch.optim.SGD(loss.parameters(), 0.01)
    seen = []
    with loss:
        for _ in range(steps):
            optimizer.zero_grad()
            total = loss(*batch)
            total.backward()
            optimizer.step()
            seen.append({k: float(v.detach()) for k, v in loss.terms.items()})
    return seen


def test_plain_modules_and_the_plain_child(batch):
    child, parent = Plain(4), Plain(16)
    before = copy.deepcopy(parent.state_dict())
    keys, own = list(child.state_dict()), child.fc.weight.detach().clone()
    loss = mmhkt.inherit(child, parent, batch[0], steps=4)
    method = loss.inheritance.methods[0]
    assert [(s.child, s.parent)
            for s in method.sites] == [('model.stem', 'model.stem'),
                                       ('model.late', 'model.late')]
    seen = train(loss, batch, 4)
    assert all('hkt.hint.loss' in terms for terms in seen)
    assert loss.child is child and list(child.state_dict()) == keys
    assert not torch.equal(child.fc.weight, own)
    assert not any(
        m._forward_hooks or m._forward_pre_hooks or 'forward' in vars(m)
        for m in child.modules())
    # The parent stays what it was, its running statistics too.
    assert all(
        torch.equal(before[k], v) for k, v in parent.state_dict().items())
    with pytest.raises(RuntimeError, match='with loss'):
        loss(*batch)


def test_one_parent_of_two_children(batch):
    torch.manual_seed(0)
    parent = Parent(module=Plain(16), random_weights=True)
    torch.manual_seed(1)
    first = mmhkt.inherit(Plain(4), parent, batch[0], steps=4)
    torch.manual_seed(1)
    second = mmhkt.inherit(
        Plain(4), parent, batch[0], 'mmhkt.KD', mean=[9, 9, 9], std=[2, 2, 2])
    torch.manual_seed(1)
    apart = mmhkt.inherit(Plain(4), parent.network, batch[0], steps=4)
    # What the second child is does not reach what the first one reads.
    assert train(first, batch, 4) == train(apart, batch, 4)
    assert 'kd.distillation.loss' in train(second, batch, 1)[0]
    assert first.inheritance.parent.network is parent.network
    folded = Parent(module=Plain(16), random_weights=True, fold_norms=True)
    mmhkt.inherit(Plain(4), folded, batch[0], steps=4)
    with pytest.raises(ValueError, match='make a second Parent'):
        mmhkt.inherit(Plain(4), folded, batch[0], steps=4)


Padded = namedtuple('Padded', ['nothing', 'logits', 'feature'])


class Several(Plain):
    """Returns more than its logits."""

    def __init__(self, width, give):
        super().__init__(width)
        self.give = give

    def forward(self, x):
        feature = self.late(self.stem(x)).mean((2, 3))
        return self.give(feature, self.fc(feature))


@pytest.mark.parametrize('give', [
    lambda feature, logits: dict(feature=feature, logits=logits),
    namedtuple('Named', ['feature', 'logits']),
    lambda feature, logits: Padded(None, logits, feature),
])
def test_logits_by_their_name(batch, give):
    torch.manual_seed(0)
    parent = Several(16, lambda feature, logits: logits)
    losses = []
    for one in (parent.give, give):
        parent.give = one
        torch.manual_seed(1)
        loss = mmhkt.inherit(Several(4, one), parent, batch[0], 'mmhkt.KD')
        losses.append(train(loss, batch, 2))
    assert losses[0] == losses[1]


@pytest.mark.parametrize('role', ['child', 'parent'])
def test_logits_without_a_name_are_refused(batch, role, monkeypatch):
    networks = dict(child=Plain(4), parent=Plain(16))
    networks[role] = Several(8, lambda feature, logits: (feature, logits))
    child, parent = networks['child'], networks['parent']
    with pytest.raises(ValueError, match=f'The {role} .* called "logits"'):
        mmhkt.inherit(child, parent, batch[0], 'mmhkt.KD')
    # Of no concern where none are compared, and said where HKT goes without.
    sites = [dict(child='model.late', parent='model.late')]
    texts = []
    monkeypatch.setattr('mmhkt.api.print_log',
                        lambda text, **options: texts.append(text))
    mmhkt.inherit(child, parent, batch[0], dict(type='mmhkt.AT', sites=sites))
    assert texts == []
    mmhkt.inherit(child, parent, batch[0], steps=4)
    assert 'hkt leaves the logits out' in texts[0]


def test_same_loss_as_without_mmhkt(batch):
    """KD by hand: cross entropy and Hinton's term."""
    child, parent = Plain(4), Plain(8).eval()
    loss = mmhkt.inherit(child, parent, batch[0],
                         dict(type='mmhkt.KD', temperature=2.0))
    weights = loss.inheritance.methods[0].weights
    assert len(weights) == 2
    with loss:
        total = loss(*batch)
    logits = child(batch[0])
    with torch.no_grad():
        target = (parent(batch[0]) / 2).softmax(1)
    kd = F.kl_div(
        (logits / 2).log_softmax(1), target, reduction='batchmean') * 4
    right = weights.pop('native') * F.cross_entropy(logits, batch[1])
    right = right + weights.popitem()[1] * kd
    torch.testing.assert_close(total, right)


def test_what_needs_the_training_set_is_refused(batch):
    with pytest.raises(ValueError, match='CRD has to know all training'):
        mmhkt.inherit(Plain(4), Plain(16), batch[0], 'mmhkt.CRD')


def test_schedules_follow_the_steps(batch):
    loss = mmhkt.inherit(
        Plain(4), Plain(8), batch[0],
        dict(
            type='mmhkt.KD',
            weights=dict(native=1),
            schedule=[dict(knob='weights.native', start=1.0, stop=0.0)]), 4)
    weights = []
    method = loss.inheritance.methods[0]
    with loss:
        for _ in range(4):
            loss(*batch)
            weights.append(method.weight('native'))
    assert weights == [1.0, 0.75, 0.5, 0.25]
    with pytest.raises(ValueError, match='hkt changes .* steps='):
        mmhkt.inherit(Plain(4), Plain(8), batch[0])


def test_it_goes_on_where_it_was_saved(batch):

    def inherit():
        return mmhkt.inherit(
            Plain(4), Plain(8), batch[0],
            dict(
                type='mmhkt.KD', schedule=[dict(knob='weights.distillation')]),
            4)

    loss, again = inherit(), inherit()
    with loss:
        for _ in range(3):
            loss(*batch)
    again.load_state_dict(loss.state_dict())
    with again:
        again(*batch)
    assert again.step == 4
    # The fourth of four steps: a quarter is left.
    assert again.inheritance.methods[0].factors['distillation'] == 0.25


@pytest.mark.parametrize('schedule, needs', [
    (dict(unit='iter', begin=2), True),
    (dict(unit='iter', end=4, least_iters=9), True),
    (dict(unit='iter', end=4), False),
    (dict(unit='iter', begin=2, rule='constant', start=0), False),
])
def test_what_ends_with_the_training_needs_its_length(batch, schedule, needs):
    method = dict(
        type='mmhkt.KD', schedule=[dict(schedule, knob='weights.native')])
    if needs:
        with pytest.raises(ValueError, match='kd changes .* steps='):
            mmhkt.inherit(Plain(4), Plain(8), batch[0], method)
        return
    with mmhkt.inherit(Plain(4), Plain(8), batch[0], method) as loss:
        for _ in range(4):
            loss(*batch)
    expected = 0.1 / 4 if 'end' in schedule else 0
    assert loss.inheritance.methods[0].weight('native') == pytest.approx(
        expected)


def test_looking_at_other_images_changes_nothing(batch):
    loss = mmhkt.inherit(Plain(4), Plain(8), batch[0], steps=10)
    method = loss.inheritance.methods[0]
    with loss:
        loss(*batch)
        before = copy.deepcopy(method.state_dict())
        loss.eval()
        with torch.no_grad():
            for _ in range(5):
                loss(2 * batch[0], batch[1])
        assert loss.step == 1 and 'hkt.hint.loss' in loss.terms
        after = method.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
        loss.train()
        loss(*batch)
    assert loss.step == 2
    assert method.mixtures[0].attention.factor == pytest.approx(1 - 1 / 7)


def test_configs_and_own_losses(batch):
    """A child from a config, a parent with its own normalisation."""
    cfg = Config.fromfile(DIGITS)
    network = build_network(cfg)
    loss = mmhkt.inherit(DIGITS, Parent(network), torch.randn(2, 3, 8, 8),
                         'mmhkt.FitNet')
    assert type(loss.child) is type(network)
    labels = torch.tensor([3, 9])
    assert len(train(loss, (torch.randn(2, 3, 8, 8), labels), 1)) == 1

    with pytest.raises(ValueError, match='mean='):
        mmhkt.inherit(Plain(4, 10), network, batch[0], 'mmhkt.KD')
    loss = mmhkt.inherit(
        Plain(4, 10),
        network,
        batch[0],
        'mmhkt.KD',
        loss=lambda logits, labels: logits.sum() * 0 + 70,
        mean=[127.5] * 3,
        std=[127.5] * 3)
    # (x * 127.5 + 127.5 - 77.89) / 95.83
    torch.testing.assert_close(
        loss.inheritance.parent.images(torch.ones(1, 3, 1, 1)),
        torch.full((1, 3, 1, 1), (255 - 77.89) / 95.83))
    assert train(loss, batch, 1)[0]['native.loss'] == pytest.approx(7)


def test_names_of_the_zoo():
    with pytest.raises(ValueError, match='no model "resnet5".*resnet'):
        Parent('resnet5')
    parent = Parent('resnet50_8xb16_cifar10', random_weights=True)
    assert parent.cfg.model.backbone.depth == 50


def test_networks_by_their_name():
    network = PlainClassifier(
        dict(type='torchvision.models.mobilenet_v2', num_classes=4))
    dissection = Dissection(network, torch.rand(1, 3, 64, 64), 'child', '')
    assert Trunk(dissection).ways == ['', 'model', 'model.features']
    assert 'features.0.0.weight' in network.state_dict()
    with pytest.raises(ValueError, match='makes no network'):
        PlainClassifier(dict(type='torchvision.models.resnet'))


def test_labels_of_the_other_tasks():
    flow = torch.zeros(1, 2, 4, 4)
    flow[0, 0, 1, 2] = float('nan')
    from mmhkt.models.tasks import OpticalFlow, Segmentation
    sample, = OpticalFlow(nn.Identity()).samples(flow)
    assert sample.valid.sum() == 15 and not sample.valid[1, 2]
    mask = torch.tensor([[[0, 1], [2, 255]]])
    sample, = Segmentation(nn.Identity()).samples(mask)
    assert torch.equal(sample.gt_sem_seg.data, mask)


class Two(nn.Module):

    def __init__(self):
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.stage(x).mean((2, 3)))


def other_images(**normalised):
    return PlainClassifier(Two(), data_preprocessor=normalised)


def test_normalisation_that_only_divides():
    images = torch.rand(2, 3, 8, 8)
    unit = dict(mean=[0.] * 3, std=[255.] * 3)
    with pytest.raises(ValueError, match='say by mean='):
        mmhkt.inherit(Two(), other_images(**unit), images, 'mmhkt.KD')
    far = other_images(mean=[120.] * 3, std=[60.] * 3)
    loss = mmhkt.inherit(Two(), far, images, 'mmhkt.KD', **unit)
    found = loss.inheritance.parent.images(images)
    torch.testing.assert_close(found, (images * 255 - 120) / 60)


def test_a_child_in_eval_mode_is_said():
    loss = mmhkt.inherit(Two().eval(), Two(), torch.rand(2, 3, 8, 8),
                         'mmhkt.KD')
    texts = []
    with pytest.MonkeyPatch.context() as patch, loss:
        patch.setattr('mmhkt.api.print_log',
                      lambda text, **options: texts.append(text))
        for _ in range(2):
            loss(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    assert len(texts) == 1 and 'eval mode' in texts[0]


class InPlace(nn.Module):
    """What a stage returned is overwritten outside of it."""

    def __init__(self, inplace, width=4):
        super().__init__()
        self.inplace = inplace
        self.one = nn.Conv2d(3, width, 3, 2)
        self.two = nn.Conv2d(width, 2 * width, 3, 2)
        self.fc = nn.Linear(2 * width, 5)

    def forward(self, x):
        for stage in (self.one, self.two):
            x = F.relu(stage(x), inplace=self.inplace)
        return self.fc(x.mean((2, 3)))


def test_hints_outlive_a_mixture_where_features_are_overwritten():
    """While something is mixed in, it is the mixture that is overwritten."""
    torch.manual_seed(0)
    parent, images = InPlace(False, 8), torch.rand(2, 3, 16, 16)
    child, losses = InPlace(False), []
    for inplace in (False, True):
        copied = InPlace(inplace)
        copied.load_state_dict(child.state_dict())
        torch.manual_seed(1)
        loss = mmhkt.inherit(copied, parent, images, steps=10)
        optimizer = torch.optim.SGD(loss.parameters(), 0.01)
        with loss:
            for _ in range(10):
                optimizer.zero_grad()
                losses.append(loss(images, torch.tensor([0, 1])))
                losses[-1].backward()
                optimizer.step()
        assert any('hint' in name for name in loss.terms)
    assert losses[:10] == losses[10:]


@pytest.mark.parametrize('loss', [
    nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits,
    partial(F.binary_cross_entropy_with_logits, reduction='mean')
])
def test_classes_that_do_not_exclude_each_other(loss):
    """Of a plain parent nothing but the child's loss tells it."""
    inherited = mmhkt.inherit(
        Two(), Two(), torch.rand(2, 3, 8, 8), loss=loss, steps=10)
    method = inherited.inheritance.methods[0]
    assert method.weights['logits'] > 0
    assert method.teacher.independent
