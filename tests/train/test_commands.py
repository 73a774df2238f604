"""The trainer's commands: what they print, and how they end."""

import json
import os
import platform
import runpy
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.train.conftest import OFFLOAD, ZERO3, chat_row, write_config, write_split
from train import data, plan, sft
from train.config import ConfigError, load
from train.estimate import Shape
from train.rows import load_template
from train.watch import Watch

LONG = [chat_row(f"long{i}", "one " * 300) for i in range(7)]
CURVES = Path(__file__).parents[2] / "examples" / "loss_curves.py"


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    split = write_split(tmp_path / "split", [chat_row(f"r{i}", "one two") for i in range(8)])
    return write_config(tmp_path / "c.toml", data=[{"path": str(split)}])


def call(main: Callable[[], None], *arguments: Any) -> None:
    sys.argv[1:] = map(str, arguments)
    main()


@pytest.fixture(autouse=True)
def _own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train"])


def test_plan_prints_packs_and_an_estimate(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before renting GPUs one wants steps, memory and hours."""
    call(plan.main, "--config", configured, "--devices", 4)
    out = capsys.readouterr().out
    assert "8 rows" in out and "1 packs (81.2% full), 1 steps" in out
    assert "estimate on 4 H100" in out and "hours at 35% MFU" in out


def test_an_error_is_one_line_and_an_exit_code(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback hides the remedy."""
    with pytest.raises(SystemExit) as ended:
        call(plan.main, "--config", configured, "cutof=3")
    assert ended.value.code == 2
    assert "did you mean 'cutoff'" in capsys.readouterr().err


def test_a_machine_without_compiler_is_told(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DeepSpeed's own message is a traceback out of a build that failed."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        call(sft.main, "--config", configured)
    assert ended.value.code == 2
    assert "g++ and ninja" in capsys.readouterr().err


def test_curves_show_every_loss_of_every_run(tmp_path: Path) -> None:
    """A run that is missing from the chart compares nothing."""
    for name, first in (("low", 2.0), ("high", 3.0)):
        (tmp_path / name).mkdir()
        rows = [
            {"step": 0, "eval/m/math": first},
            {"step": 1, "loss": first - 1},
            {"step": 1, "eval/m/math": 0.5},
        ]
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curves = runpy.run_path(str(CURVES))
    call(curves["main"], tmp_path / "low", tmp_path / "high", "--out", tmp_path / "loss.html")
    points = curves["chart"]([tmp_path / "low", tmp_path / "high"]).to_dict()["data"]["values"]
    assert {(p["run"], p["step"], p["of"], p["loss"]) for p in points} == {
        ("low", 0, "m/math", 2.0), ("low", 1, "training", 1.0), ("low", 1, "m/math", 0.5),
        ("high", 0, "m/math", 3.0), ("high", 1, "training", 2.0), ("high", 1, "m/math", 0.5),
    }  # fmt: skip
    assert "vega" in (tmp_path / "loss.html").read_text()


def test_a_missing_tracker_names_its_package(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run would train for days and show nothing; and the others would wait for process 0."""
    monkeypatch.setattr(sft, "find_spec", lambda name: None)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(SystemExit):
        call(sft.main, "--config", configured, "report=wandb")
    said = capsys.readouterr().err
    assert "pip install wandb" in said and platform.node() in said, "the first of its machine tells"
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit):
        call(sft.main, "--config", configured, "report=wandb")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("age", "cuda", "settings", "told"), [
    (1800, False, ZERO3, True), (60, False, ZERO3, False),
    (1800, True, ZERO3, False), (1800, True, OFFLOAD, True),
])  # fmt: skip
def test_the_lock_of_a_killed_compile_is_named(
    configured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, age: int, cuda: bool,
    settings: Path, told: bool,
) -> None:  # fmt: skip
    """DeepSpeed waits for it for ever, and says nothing."""
    lock = tmp_path / "py311" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - age,) * 2)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("shutil.which", lambda name: name)
    config = load(configured, [f"deepspeed={settings}"])
    with pytest.raises(ConfigError, match=str(lock)) if told else nullcontext():
        sft.check(config)


@pytest.fixture
def watch(configured: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A watch of process 0 that reports to a tracker of the test's."""
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    monkeypatch.setitem(sys.modules, "trackio", Tracker("trackio"))
    split = write_split(configured.parent / "long", LONG)
    config = load(configured, ["report=trackio", f"data={configured.parent / 'split'},{split}"])
    made = plan.make(config, data.load(config, load_template(config)))
    return Watch(config, made, Shape(1, 1, 1), 0)


class Tracker(ModuleType):
    """What trackio and W&B have in common."""

    def init(self, **about: Any) -> None:
        """A run begins."""
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.finished = False

    def log(self, row: dict[str, Any], step: int) -> None:
        """One row."""
        self.rows.append((step, row))

    def finish(self) -> None:
        """The run is over."""
        self.finished = True


def test_a_tracker_gets_every_row_and_an_end(watch: Watch) -> None:
    """What it has not sent yet is lost, if nobody tells it to finish."""
    watch.step(1, 1e-5, 0.5, 2.0, 0.0)
    watch.evaluation(1, {"made/math": 3.0})
    tracker: Any = sys.modules["trackio"]
    assert not tracker.finished
    watch.close("done")
    assert tracker.finished
    (_, row), (step, losses) = tracker.rows
    assert (row["loss"], row["lr"], row["grad_norm"]) == (2.0, 1e-5, 0.5)
    assert (step, losses) == (1, {"step": 1, "eval/made/math": 3.0})


def test_a_step_does_not_last_while_a_checkpoint_is_written(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens/s and MFU of the step after would be those of the disk."""
    clock = iter([100.0, 103.0, 110.0, 110.0, 164.0, 166.0, 166.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch.say("begin")
    watch.step(1, 1e-5, 0.5, 2.0, 0.0)  # 3 s; it is said at 110
    watch.say("saved")
    watch.evaluation(1, {})
    watch.step(2, 1e-5, 0.5, 2.0, 0.0)
    rows = [json.loads(line) for line in watch.log.read_text().splitlines()]
    assert [row["seconds"] for row in rows if "seconds" in row] == [3.0, 2.0]


def test_all_dropped_rows_are_named(configured: Path, watch: Watch) -> None:
    """A plan shows five of a reason; of 5,000, the others would have to be guessed."""
    lines = (watch.log.with_name("dropped.jsonl")).read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == {row["response_id"] for row in LONG}
    assert all("cut-off of 256" in json.loads(line)["reason"] for line in lines)
