# Copyright (c) mmhkt authors. All rights reserved.
"""Every option of every command, with what it cannot be."""
import pytest
from cli_helpers import NOWHERE, module_of

from mmhkt.cli.arguments import Parser

WRONG = ['x', '', ' ', 'nan', 'inf', '-1', '0', '0.5', '1e400', '9' * 400, '1']
# What each may rightly be of those.
NUMBER = {'0', '1', '9' * 400}
RIGHT = {
    '--window': {'-1', '0', '0.5', '1'},
    '--spacing': {'0.5', '1'},
    '--scale': {'0.5', '1'},
    '--val': {'0', '0.5'},
    '--test': {'0', '0.5'},
    '--wait-time': {'0', '0.5', '1'},
    '--seed': {'0', '1'},
    '--seeds': {'0', '1'},
    '--warmup': NUMBER,
    '--samples': NUMBER,
    '--local_rank': NUMBER,
    '--iters': NUMBER - {'0'},
    '--jobs': NUMBER - {'0'},
    '--shape': NUMBER - {'0'},
    '--workers': NUMBER - {'0'},
    '--interval': NUMBER - {'0'},
    '--images': {'9' * 400},
}


class Seen(Exception):
    """The parser of a command."""


@pytest.fixture
def options(monkeypatch):
    """The options of a command that take a number."""

    def look(command):

        def see(self, *_):
            raise Seen(self)

        with monkeypatch.context() as patch:
            patch.setattr(Parser, 'parse_args', see)
            with pytest.raises(Seen) as seen:
                module_of(command).parse_args([])
        return [
            action for action in seen.value.args[0]._actions
            if getattr(action.type, '__module__', '') == 'mmhkt.cli.arguments'
        ]

    return look


def refused(capsys, command, *more):
    """What is said where arguments are refused, None where not."""
    try:
        module_of(command).parse_args([*NOWHERE[command], *more])
    except SystemExit as end:
        assert end.code == 2
        return capsys.readouterr().err
    return None


@pytest.mark.parametrize('command', NOWHERE)
def test_no_wrong_number_is_taken(command, options, capsys):
    """And what is said is one line, with the option, the value and what it
    can be."""
    for action in options(command):
        option = action.option_strings[0]
        taken = set()
        for value in WRONG:
            values = [value] * (action.nargs if action.nargs == 2 else 1)
            if option == '--window':  # the lower one first
                values[1] = '2'
            # As one word, or else a negative number is an option.
            given = [f'{option}={values[0]}'
                     ] if len(values) == 1 else [option, *values]
            text = refused(capsys, command, *given)
            if text is None:
                taken.add(value)
                continue
            assert text.startswith('mmhkt: ') and text.count('\n') == 1, text
            assert option in text and len(text) < 400, text
            if value not in ('9' * 400, ) and option != '--images':
                assert 'must be' in text or 'wants' in text, text
        assert taken == RIGHT[option], (command, option)


@pytest.mark.parametrize('command', NOWHERE)
def test_a_misspelt_option_is_named_with_the_nearest(command, capsys):
    text = refused(capsys, command, '--hlep')
    assert text.startswith('mmhkt: there is no --hlep; nearest: ')
    assert '--help' in text and text.count('\n') == 1


@pytest.mark.parametrize('command', ['train', 'test', 'compare', 'pair'])
@pytest.mark.parametrize('pair, said', [
    ('train_cfg.max_epochs', "'train_cfg.max_epochs' is no KEY=VALUE"),
    ('=3', "'=3' is no KEY=VALUE"),
    ('seeds=[0,(1]', 'Imbalanced brackets'),
])
def test_a_pair_that_is_none(command, pair, said, capsys):
    text = refused(capsys, command, '--cfg-options', 'a=1', pair)
    assert text.startswith('mmhkt: ') and text.count('\n') == 1
    assert said in text and '--cfg-options' in text


def test_all_numbers_are_checked(options):
    """None is an int or a float, which takes NaN and what is negative."""
    for command in NOWHERE:
        module = module_of(command)
        with open(module.__file__, encoding='utf-8') as file:
            text = file.read()
        assert 'type=int' not in text and 'type=float' not in text, command
    assert len(options('prepare-lits')) == 6
