"""How commands end that the user interrupts."""

import pytest

from pixelgpt_fairseq.errors import command


@pytest.mark.parametrize(
    ("interruption", "line"),
    [
        (KeyboardInterrupt(), "interrupted: finished files stay, unfinished ones are removed\n"),
        (KeyboardInterrupt("a.partial keeps half"), "interrupted: a.partial keeps half\n"),
    ],
)
def test_an_interrupted_command_says_in_one_line_what_is_left(interruption, line, capsys):
    @command
    def main():
        raise interruption

    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 130
    assert capsys.readouterr().err == line
