# Copyright (c) mmhkt authors. All rights reserved.
from method_helpers import stages_model

from mmhkt.methods import HKT, KD, FitNet, GatedHKT
from mmhkt.models.pairing import pairing


def cells(table):
    return list(zip(*(column._cells for column in table.columns)))


def test_pairing():
    model = stages_model(HKT(), FitNet(sites='head'))
    rows = cells(pairing(model))
    assert rows[:3] == [
        ('hkt', f'backbone.stage{i}', f'4x{s}x{s}', f'backbone.stage{i}',
         f'6x{s}x{s}', 'invert regression 6 to 4', '0')
        for i, s in enumerate((8, 4, 2))
    ]
    name, child, shape, parent, other, adapter, extra = rows[3]
    assert (name, child, shape, parent, other) == ('fitnet', 'neck', '4',
                                                   'neck', '6')
    count = sum(p.numel() for p in model.methods[1].parameters())
    assert extra == f'{count:,}' and count > 0
    notes = pairing(model).caption.split('\n')
    assert notes[0] == 'native loss x 0'
    assert f'learned in training only: {count} parameters' in notes
    assert notes[-1].startswith("the parent's input is re-normalised: ")


def test_pairing_says_what_runs_twice():
    for methods, line in (
        ((HKT(), ), 'hkt runs once more: nothing'),
        ((HKT(), KD(sees='own')),
         'hkt runs once more: child from backbone.stage0'),
        ((GatedHKT(), ), 'gatedhkt runs once more: head'),
    ):
        assert line in pairing(stages_model(*methods)).caption
