"""Real runs of DeepSpeed over gloo, in one and two processes: the same losses wherever they run.

Starting DeepSpeed costs most of such a run, so a few launches serve all tests.
"""

import contextlib
import fcntl
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3MoeConfig

from tests.train.conftest import OFFLOAD, TINY, chat_row, write_config, write_split
from tests.train.test_attention import EXPERTS, SMALL
from train import sft
from train.config import load

pytestmark = pytest.mark.slow
TRAJECTORY = 2e-6  # fp32's rounding, after the steps of a run
ROOT = Path(__file__).parents[2]
STEPS = 12


@dataclass
class Runs:
    """A folder with the configurations, exports and logs of all launches."""

    root: Path

    def log(self, name: str) -> list[dict[str, Any]]:
        """All lines of a run's log."""
        return [
            json.loads(line) for line in (self.root / name / "log.jsonl").read_text().splitlines()
        ]

    def steps(self, name: str) -> list[tuple[float, float]]:
        """Loss and gradient norm of every step."""
        return [(row["loss"], row["grad_norm"]) for row in self.log(name) if "loss" in row]

    def held_out(self, name: str) -> list[dict[str, float]]:
        """Before the first step and after the last."""
        rows = [row for row in self.log(name) if "loss" not in row]
        return [{k: v for k, v in rows[at].items() if k != "step"} for at in (0, -1)]

    def error(self, name: str) -> str:
        """What a run ended with."""
        return (self.root / f"{name}.error").read_text()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All launches, by the first worker of pytest-xdist that asks for them."""
    if not shutil.which("g++"):
        pytest.skip("DeepSpeed on a CPU compiles a part of itself, and there is no g++")
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "train-runs"
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "done").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            _launch_all(root)
            (root / "done").touch()
    return Runs(root)


def _launch_all(root: Path) -> None:
    """A run that is killed; one process, two processes, one process again."""
    _models(root)
    common = {"init_from": str(root / "dense"), "holdout": 0.2, "save_every": 2, "eval_every": 100,
              "epochs": STEPS, "cache": str(root / "cache")}  # fmt: skip
    rows = [chat_row(f"r{i}", "one two three four " * (1 + 7 * i % 5), domain=["math", "code"][i % 2])
            for i in range(30)]  # fmt: skip

    def make(name: str, more: dict[str, Any] | None = None, **keys: Any) -> str:
        """A run over all rows; `more` is for columns besides."""
        split = root / ("plain" if more is None else f"rows_{name}")
        if not split.exists():
            write_split(split, [{**row, **(more or {})} for row in rows])
        keys = {"data": [{"path": str(split), "name": "made"}], **common, **keys}
        return str(write_config(root / f"{name}.toml", **keys))

    def copy(name: str, new: str, step: int, **keys: Any) -> str:
        """A run that goes on from another's checkpoint."""
        shutil.copytree(root / name, root / new)
        for folder in (root / new / "checkpoints").glob("step-*"):
            if int(folder.name[5:]) > step:
                shutil.rmtree(folder)
        return make(new, **keys)

    unit = {"weight": 1.0, "masked": [], "sentence_ends": [3], "sentence_weights": [1.0]}
    short, moe = {"epochs": 2}, {"epochs": 4, "init_from": str(root / "moe")}
    offload = {"epochs": 4, "deepspeed": str(OFFLOAD)}
    with pytest.MonkeyPatch.context() as patch:  # a compiler, and no lock that stops everything
        patch.setenv("PATH", _environment()["PATH"])
        sft.check(load(Path(make("offload", **offload))))

    launcher = [sys.executable, "-c", "from deepspeed.launcher.runner import main; main()"]
    kill_after([*launcher, "--num_gpus", "1", "--module", "train.sft", "--config", make("killed")],
               root / "killed" / "log.jsonl", 3)  # fmt: skip

    worker = str(ROOT / "tests" / "train" / "worker.py")
    launch([*torchrun(1), worker, make("one"), make("unit", unit), make("moe1", **moe),
            make("brief", epochs=4), make("masked", {"masked": [[0, 20]]}, **short),
            make("zero", {"sentence_ends": [20], "sentence_weights": [0.0]}, **short),
            str(root / "offload.toml"), *_stages(root, make)])  # fmt: skip
    launch([*torchrun(2), worker, make("two"), make("slices", sequence_parallel=2),
            copy("killed", "moved", STEPS), copy("killed", "other", STEPS, lr=1.0),
            make("bf16", epochs=4, dtype="bfloat16"), make("moe2", **moe),
            make("moe_slices", **moe, sequence_parallel=2),
            copy("moe1", "moe_moved", 2, **moe), copy("offload", "offload_moved", 2, **offload),
            make("nan", init_from=str(root / "nan"), holdout=0.0, **short)])  # fmt: skip
    launch([*torchrun(1), worker, str(root / "killed.toml"), copy("two", "back", STEPS - 2)])


def _models(root: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    small = {**SMALL, "vocab_size": 1024}
    for name, config in (("dense", Qwen3Config(**small)), ("moe", Qwen3MoeConfig(**small, **EXPERTS)),
                         ("nan", Qwen3Config(**small))):  # fmt: skip
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        if name == "nan":  # only a row with this token meets it
            model.get_input_embeddings().weight.data[tokenizer.convert_tokens_to_ids("7")] = (
                torch.nan
            )
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)


def _stages(root: Path, make: Callable[..., str]) -> list[str]:
    """Three stages of the tiny student on what the tiny teacher wrote."""
    packed = (TINY.parent / "samples.jsonl.gz").read_bytes()
    samples = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    stages: dict[str, list[dict[str, Any]]] = {"low": [], "high": [], "mixed": []}
    for sample in samples[::2] + samples[1::2]:
        first, second = (choice["text"] for choice in sample["choices"][:2])
        stage = "low" if sample["temperature"] < 1 else "high"
        more = {"question_id": sample["question"], "domain": "all"}
        for number, text in enumerate((first, second)):
            row = chat_row(f"{sample['id']}-{number}", "", **more)
            row["messages"] = [{"role": "user", "content": sample["question"]},
                               {"role": "assistant", "content": text}]  # fmt: skip
            stages[stage].append(row)
        # Mixed policy: the student's answer up to half, and then the teacher's other answer.
        prefix, cut = len(second) // 2, len(first) // 2
        mixed = {
            **row,
            "messages": [
                row["messages"][0],
                {"role": "assistant", "content": second[:prefix] + first[cut:]},
            ],
        }
        stages["mixed"].append({**mixed, "masked": [[0, len(second[:prefix].encode())]]})
    paths, init = [], str(TINY)
    for name, rows in stages.items():
        entry = {"path": str(write_split(root / f"rows_{name}", rows[:150])), "name": name}
        paths.append(make(name, data=[entry], init_from=init, cutoff=1024, epochs=1, packs_per_step=4,
                          lr=5e-4, lr_min=5e-5, save_every=100))  # fmt: skip
        init = str(root / name / "model")
    return paths


def torchrun(processes: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]


def launch(command: list[str]) -> None:
    """Run to the end. Most of the time goes into a compile, where none was before."""
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def kill_after(command: list[str], log: Path, step: int) -> None:
    """Start a command in a session of its own, and kill -9 all of it after a step is logged."""
    errors, deadline = log.parent.with_suffix(".stderr"), time.monotonic() + 1800
    with errors.open("wb") as sink, subprocess.Popen(
        command, env=_environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=sink,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            while not log.exists() or f'{{"step": {step}, "loss"' not in log.read_text():
                assert process.poll() is None, errors.read_text()[-4000:]
                assert time.monotonic() < deadline, errors.read_text()[-4000:]
                time.sleep(0.01)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it ended before
                os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), os.environ["PATH"])))
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_losses_fall(runs: Runs) -> None:
    """The least that a trainer does."""
    losses = [loss for loss, _ in runs.steps("one")]
    assert len(losses) == STEPS
    assert losses[-1] < losses[0] - 0.3
    before, after = runs.held_out("one")
    assert before.keys() == after.keys() == {"eval/made/math", "eval/made/code"}
    assert all(after[name] < before[name] for name in before)


@pytest.mark.parametrize("name", ["two", "slices"])
def test_processes_and_slices_change_nothing(runs: Runs, name: str) -> None:
    """1 process x 4 packs, 2 x 2, and 2 that share every pack: the same steps, but for rounding."""
    for ours, theirs in zip(runs.steps(name), runs.steps("one"), strict=True):
        assert ours == pytest.approx(theirs, rel=TRAJECTORY)


def test_experts_are_balanced_alike_everywhere(runs: Runs) -> None:
    """The balance loss added per micro-batch would weigh 4 times as much on one process as on 4."""
    logs = [[(r["loss"], r["balance"], r["grad_norm"]) for r in runs.log(name) if "loss" in r]
            for name in ("moe1", "moe2", "moe_slices")]  # fmt: skip
    assert logs[0][0][1] == pytest.approx(0.2, rel=0.02), "0.1 x 2 experts of 4, when balanced"
    for other in logs[1:]:
        for ours, theirs in zip(other, logs[0], strict=True):
            assert ours == pytest.approx(theirs, rel=TRAJECTORY)


def test_a_killed_run_goes_on_to_the_last_digit(runs: Runs) -> None:
    """kill -9 after step 3, resumed from step 2: the very numbers of the run that was not killed."""
    assert runs.steps("killed") == runs.steps("one")
    assert [r["step"] for r in runs.log("killed") if "loss" in r] == list(range(1, STEPS + 1))
    ours, theirs = (torch.load(runs.root / name / "checkpoints" / f"step-{STEPS:06}" /
                    "zero_pp_rank_0_mp_rank_00_optim_states.pt", weights_only=False) for name in ("killed", "one"))  # fmt: skip
    flat = [state["optimizer_state_dict"]["fp32_flat_groups"] for state in (ours, theirs)]
    assert all(torch.equal(a, b) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("name", ["one", "moved"])
def test_only_matrices_decay(runs: Runs, name: str) -> None:
    """Norms and biases would shrink to nothing; DeepSpeed resumes all with the first one's decay."""
    path = runs.root / name / "checkpoints" / f"step-{STEPS:06}"
    state = torch.load(path / "zero_pp_rank_0_mp_rank_00_optim_states.pt", weights_only=False)
    groups = state["optimizer_state_dict"]["optimizer_state_dict"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("name", "whole"),
    [("moved", "one"), ("back", "two"), ("moe_moved", "moe1"), ("offload_moved", "offload")],
)
def test_a_run_goes_on_at_another_number_of_processes(runs: Runs, name: str, whole: str) -> None:
    """1 to 2, 2 to 1, with experts, with the optimizer on the CPU: through the universal format."""
    assert len(runs.steps(name)) == len(runs.steps(whole))
    for ours, theirs in zip(runs.steps(name), runs.steps(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=TRAJECTORY)
    assert len(list((runs.root / name / "checkpoints").glob("*-*"))) == 2, "something is left"


def test_an_optimizer_on_the_cpu_takes_the_same_steps(runs: Runs) -> None:
    """The settings for 30B would train otherwise than those for 4B."""
    for ours, theirs in zip(runs.steps("offload"), runs.steps("brief"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_bf16_follows_fp32(runs: Runs) -> None:
    """The recipe's own type, and its sums of gradients over processes."""
    for ours, theirs in zip(runs.steps("bf16"), runs.steps("brief"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2)


def test_a_checkpoint_of_another_configuration_is_refused(runs: Runs) -> None:
    """A run resumed with another learning rate is neither of the two."""
    assert "lr 0.001, now 1.0" in runs.error("other")


@pytest.mark.parametrize("name", ["one", "moe2"])
def test_the_export_is_the_trained_model(runs: Runs, name: str) -> None:
    """Difference 0 to DeepSpeed's own reading of the last checkpoint; the Hub's names."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from safetensors import safe_open

    folder = runs.root / name
    newest = max(path.name for path in (folder / "checkpoints").glob("step-*"))
    trained = get_fp32_state_dict_from_zero_checkpoint(str(folder / "checkpoints"), tag=newest)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    for key, tensor in model.state_dict().items():
        assert torch.equal(trained[f"model.{key}"], tensor), key
    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    experts = {n for n in names if "experts" in n}
    assert experts == ({f"model.layers.{i}.mlp.experts.{j}.{p}_proj.weight" for i in range(2) for j in range(4)
                        for p in ("gate", "up", "down")} if name == "moe2" else set())  # fmt: skip
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template


def test_unit_weights_are_none(runs: Runs) -> None:
    """A split with weights must be the split without them, where they are all 1."""
    assert runs.steps("unit") == runs.steps("one")


def test_weight_0_is_masked(runs: Runs) -> None:
    """Text that is not to be learned would be, if it is said by weights instead of spans."""
    assert runs.steps("zero") == runs.steps("masked")
    assert runs.steps("zero")[0] != runs.steps("one")[0]


@pytest.mark.parametrize("stage", ["low", "high", "mixed"])
def test_each_stage_lowers_the_held_out_loss(runs: Runs, stage: str) -> None:
    """The tiny student learns from its teacher, at both temperatures and from mixed policy."""
    before, after = runs.held_out(stage)
    assert after[f"eval/{stage}/all"] < before[f"eval/{stage}/all"]


def test_a_stage_starts_where_the_last_ended(runs: Runs) -> None:
    """Stage 2 from the released weights instead of stage 1's would never be noticed."""
    about = json.loads((runs.root / "high" / "model" / "train.json").read_text())
    assert about["init_from"] == str(runs.root / "low" / "model")


def test_a_loss_that_is_no_number_stops_the_run(runs: Runs) -> None:
    """It names the rows of the pack, and keeps the state from before."""
    message = runs.error("nan")
    assert "the loss of step 2 is no number, in the pack of " in message
    assert "r7" in message and "r8" not in message
    assert message.rsplit(" ", 1)[1] in {
        str(p) for p in (runs.root / "nan" / "checkpoints").iterdir()
    }
    assert not (runs.root / "nan" / "model").exists()
