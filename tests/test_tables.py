"""Tables: wrapped to a terminal's width and never cut; whole, and without codes, in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

ROWS = """[
    {"model": "some/very-long-model-name", "n": 1234567, "about": "words " * 30, "none": None},
    {"model": "b", "n": 5, "about": "short", "none": None},
]"""
WIDE = "[{f'column_{i}': f'value number {i}' for i in range(12)}]"


def shown(rows, columns, **env):
    """What a terminal of that width is sent."""
    child, terminal = pty.fork()
    if child == 0:
        code = f"from dasd_data.cli.tables import print_table; input(); print_table({rows})"
        given = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        os.execvpe(sys.executable, [sys.executable, "-c", code], {**given, "TERM": "xterm", **env})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    os.write(terminal, b"go\n")
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.waitpid(child, 0)
    return seen.decode().split("\r\n", 1)[1]


def test_cells_wrap_and_nothing_is_cut():
    """Half of a name or number would be shown, and read as the whole."""
    text = shown(ROWS, 60, TERM="dumb")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert "…" not in text
    assert text.count("words") == 30
    assert "1,234,567" in text
    assert [line.split("│")[1] for line in lines if "│" in line][-1].endswith("        5 ")


def test_too_many_columns_become_one_list_a_row():
    """Eighteen columns of one letter each say nothing."""
    text = shown(WIDE, 80, TERM="dumb")
    assert all(f"column_{i}" in text and f"value number {i}" in text for i in range(12))
    assert text.startswith("── row 1 ")


@pytest.mark.parametrize(("env", "codes"), [({"TERM": "dumb"}, False), ({}, True)])
def test_a_dumb_terminal_gets_no_codes(env, codes):
    """Editors and logs would show escape codes."""
    assert ("\x1b[" in shown(ROWS, 80, **env)) is codes


def test_no_color_means_no_colour():
    """The wish of whoever cannot read coloured text would be ignored."""
    assert "\x1b[3" not in shown(ROWS, 80, NO_COLOR="1").replace("\x1b[3m", "")


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}])
def test_a_pipe_gets_every_cell_in_one_line(capsys, monkeypatch, env):
    """`| grep` would miss what is wrapped or cut."""
    from dasd_data.cli.tables import print_table

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    print_table(eval(ROWS))
    out = capsys.readouterr().out
    assert "words " * 30 in out
    assert len(out.splitlines()) == 4
    assert ("\x1b" in out) is bool(env)
