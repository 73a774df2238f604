"""Which checkpoint a run goes on from, and how one gets its name."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.train.conftest import chat_row
from train import checkpoint
from train.config import Config, TrainError

Make = Callable[..., Config]


def leave(config: Config, step: int, plan: str = "abc") -> Path:
    """What a run of a configuration leaves after a step."""
    folder = Path(config.out) / "checkpoints" / f"step-{step:06}"
    folder.mkdir(parents=True)
    about = {"step": step, "plan": plan, "processes": 2, "configuration": config.identity}
    (folder / "train.json").write_text(json.dumps(about))
    return folder


def test_the_newest_whole_checkpoint_is_found(config: Make) -> None:
    """A run would begin again, or go on from half a checkpoint."""
    made = config([chat_row("a", "x")])
    assert checkpoint.find(made, "abc") == (None, {"step": 0})
    leave(made, 8)
    newest = leave(made, 12)
    (newest.parent / "step-000016").mkdir()
    path, about = checkpoint.find(made, "abc")
    assert (path, about["step"], about["processes"]) == (newest, 12, 2)


def test_a_checkpoint_of_another_plan_is_refused(config: Make) -> None:
    """Step 100 of one order of packs is not step 100 of another."""
    made = config([chat_row("a", "x")])
    leave(made, 8)
    with pytest.raises(TrainError, match=r"plan 'abc', now 'def'(.|\n)*another `out`"):
        checkpoint.find(made, "def")
    other = msgspec.structs.replace(made, gamma=1.0)
    with pytest.raises(TrainError, match=r"gamma 0\.0, now 1\.0"):
        checkpoint.find(other, "abc")


def test_a_checkpoint_that_cannot_be_read_is_named(config: Make) -> None:
    """One damaged file would end the run in a stack trace, with a sound checkpoint beside it."""
    made = config([chat_row("a", "x")])
    (leave(made, 8) / "train.json").write_text("{")
    with pytest.raises(TrainError, match=r"train\.json.*Remove this checkpoint"):
        checkpoint.find(made, "abc")


def test_data_that_only_moved_is_the_same(config: Make) -> None:
    """After a disk was renamed, a run of days would have to begin again."""
    made = config([chat_row("a", "x")])
    folder = leave(made, 8)
    entry = msgspec.structs.replace(made.data[0], path="/elsewhere", name="renamed")
    assert checkpoint.find(msgspec.structs.replace(made, data=[entry]), "abc")[0] == folder


def test_a_good_folder_is_there_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the export is written again, both would be gone."""
    final, part = tmp_path / "model", tmp_path / "model.part"
    for folder, text in ((final, "old"), (part, "new")):
        folder.mkdir()
        (folder / "weights").write_text(text)
    whole = []

    def rmtree(folder: Path, ignore_errors: bool = False) -> None:
        whole.append((final / "weights").exists() and (final / "weights").read_text())

    monkeypatch.setattr("shutil.rmtree", rmtree)
    checkpoint._publish(part, final, {"step": 1})
    assert whole == ["old", "new"]
    assert (tmp_path / "model.old" / "weights").read_text() == "old"
    assert json.loads((final / "train.json").read_text()) == {"step": 1}
