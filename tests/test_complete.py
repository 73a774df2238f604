"""Shell completion, asked as the shells ask; once in a real bash."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCORES = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}


@pytest.fixture
def complete(command):
    """complete(line): what bash is offered for it."""

    def ask(line):
        env = {
            **os.environ,
            "_DASD_DATA_COMPLETE": "bash_complete",
            "COMP_LINE": line,
            "COMP_WORDBREAKS": " \"'><=;|&(:",
        }
        done = command(env=env)
        assert (done.returncode, done.stderr) == (0, "")
        return [reply.partition(",")[2] for reply in done.stdout.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dasd-data bui", ["build"]),
        ("X=1 dasd-data stat", ["status"]),
        ("dasd-data build --vi", ["--view"]),
        ("dasd-data build --view low_t", ["low_t_das", "low_t_rs"]),
        ("dasd-data build --view=low_t_d", ["low_t_das"]),
        ("dasd-data build --view mi", ["mine"]),
        ("dasd-data show responses", ["responses", "responses_scored"]),
        ("dasd-data build --set be", ["beta="]),
        ("dasd-data build --set budget.c", ["budget.code="]),
        ("dasd-data build --set scope=", ["within_question", "pool"]),
        ("dasd-data build --set scope=p", ["pool"]),
        ("dasd-data build --set=scope=p", ["pool"]),
        ("dasd-data build --view mine --set my", ["my_own="]),
        ("dasd-data sql x --set teacher=t", ["teacher", "teacher-model"]),
        ("dasd-data sql x --set student=al", ["alias"]),
        ("dasd-data filter --only str", ["structure"]),
        ("dasd-data select a --rank-by ran", ["random"]),
        ("dasd-data completion z", ["zsh"]),
        ("dasd-data nothing --x", []),
    ],
)  # fmt: skip
def test_names_are_completed(complete, made, response, line, offered):
    """Names would have to be typed, or looked up."""
    catalog = made(response("a", scores=SCORES))
    Path("dasd.toml").write_text('catalog = "dasd.catalog"\n[scorers]\nalias = "teacher"\n')
    own = '/*\n[parameters]\nmy_own = { type = "number" }\n*/\nSELECT response_id FROM responses'
    (catalog.path / "views" / "mine.sql").write_text(own)
    assert complete(line) == offered


def test_a_file_that_is_no_view_hides_no_other(complete, made, response):
    """One badly named file would empty completion."""
    folder = made(response("a", scores=SCORES)).path / "views"
    (folder / "bad name.sql").write_text("SELECT response_id FROM responses")
    (folder / "broken.sql").write_text("/* = */ SELECT 1")
    (folder / "folder.sql").mkdir()
    (folder / "gone.sql").symlink_to("nowhere")
    (folder / "mine.sql").write_text("SELECT response_id FROM responses")
    shipped = ["high_t_das", "high_t_rs", "low_t_das", "low_t_rs", "select"]
    assert complete("dasd-data build --view ") == [*shipped, "mine"]
    assert {"mine", "responses", "ranked"} <= set(complete("dasd-data show "))


@pytest.mark.parametrize("damage", ["none", "settings", "variable", "log"])
def test_whatever_is_wrong_completion_is_silent(complete, made, monkeypatch, damage):
    """A stack trace would be printed into the line that is being typed."""
    if damage == "settings":
        Path("dasd.toml").write_text("catalog = 1")
    if damage == "variable":
        monkeypatch.setenv("DASD_CATALOGUE", "x")
    if damage == "log":
        log = made().path / "tables" / "snapshots" / "_delta_log"
        for entry in log.iterdir():
            entry.write_text("{")
    for line in ("dasd-data build --set teacher=", "dasd-data build --view "):
        complete(line)


def test_completing_commands_and_views_imports_nothing_heavy(command):
    """Every press of TAB would take seconds."""
    heavy = "{'torch', 'duckdb', 'numba', 'pyarrow', 'polars', 'numpy', 'transformers'}"
    before = f"import os, sys\nend = os._exit\nos._exit = lambda code: end(len({heavy} & set(sys.modules)))"
    for line in ("dasd-data b", "dasd-data build --view low", "dasd-data build --set be"):
        env = {**os.environ, "_DASD_DATA_COMPLETE": "bash_complete", "COMP_LINE": line}
        done = command(before=before, env=env)
        assert (done.returncode, bool(done.stdout)) == (0, True)


def test_the_names_of_filters_are_those_there_are():
    """A new filter would not be offered."""
    from builders.commands.filter import NAMES
    from builders.filters import FILTERS

    assert tuple(FILTERS) == NAMES


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(command, tmp_path, shell):
    """A shell would complain at every start."""
    done = command("completion", shell)
    assert done.returncode == 0
    assert "_DASD_DATA_COMPLETE" in done.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(done.stdout)
    checked = subprocess.run([shell, "-n", "script"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_completes_words_with_equals_signs(tmp_path):
    """Bash cuts words at `=`: replies that repeat what it keeps would double it."""
    script = tmp_path / "bin" / "dasd-data"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom dasd_data.cli import main\nmain()\n")
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    child, terminal = pty.fork()
    if child == 0:
        env = {**os.environ, "PATH": path, "PS1": "$ ", "TERM": "dumb"}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)
    os.write(terminal, b'eval "$(dasd-data completion bash)"; echo rea""dy\n')
    _until(terminal, "ready")
    os.write(terminal, b"dasd-data build --set scope=p\t")
    seen = _until(terminal, "scope=pool")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    assert "scope=scope" not in seen


def _until(terminal, text):
    seen, end = "", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65_536).decode(errors="replace")
    return seen
