"""Configurations: a wrong one is refused before anything is loaded."""

import ast
import io
import tokenize
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.train.conftest import OFFLOAD, ZERO3, write_config
from train.config import Config, ConfigError, Source, load

ROOT = Path(__file__).parents[2]
DATA = [{"path": "x"}]
SHIPPED = sorted(ROOT.glob("train/*.toml"))
STAGES = ("stage1_low_t", "stage2_high_t", "stage3_mixed")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    """The first command of the README would fail."""
    assert load(path).data


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lrmin": 1.0}, "did you mean 'lr_min'"),
        ({"data": [{"path": "x", "wieght": 1}]}, "did you mean 'weight'"),
        ({"data": []}, "data"),
        ({"data": [{"path": ""}]}, "path"),
        ({"data": [{"path": "x", "weight": 1e9}]}, "weight"),
        ({"seed": -1}, "seed"),
        ({"seed": 1_234_567_890}, "seed"),
        ({"lr": "fast"}, "lr"),
        ({"holdout": 1.0}, "holdout"),
        ({"packs_per_step": 0}, "packs_per_step"),
        ({"dtype": "fp8"}, "dtype"),
        ({"lr": -1.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"lr": 1e-5, "lr_min": 1e-3}, "lr_min 0.001 is above lr 1e-05"),
        ({"betas": [1.5, 0.9]}, "betas"),
        ({"clip": -1.0}, "clip"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"gamma": float("nan")}, "gamma is nan"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    """A misspelt key that is ignored trains with the default, for days."""
    with pytest.raises(ConfigError, match=message):
        load(write_config(tmp_path / "c.toml", **{"data": DATA, **keys}))


def test_the_command_line_overrides(tmp_path: Path) -> None:
    """`lr=1e-5` on the command line is a number, not a text."""
    path = write_config(tmp_path / "c.toml", data=DATA)
    config = load(path, ["lr=2e-3", "out=runs/x", "activation_checkpointing=false", "epochs=1"])
    assert (config.lr, config.out, config.epochs) == (2e-3, "runs/x", 1)
    assert config.activation_checkpointing is False


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("system=", "system", None),
        ("system=null", "system", None),
        ('system="null"', "system", "null"),
        ("report=wandb", "report", ["wandb"]),
        ('report=["wandb", "trackio"]', "report", ["wandb", "trackio"]),
        ("report=[]", "report", []),
        ("report=", "report", []),
        ("betas=0.8,0.99", "betas", (0.8, 0.99)),
        ("betas=[0.8, 0.99]", "betas", (0.8, 0.99)),
        ("data=a,b", "data", [Source(path="a"), Source(path="b")]),
    ],
)
def test_every_key_can_be_overridden(
    tmp_path: Path, override: str, key: str, value: object
) -> None:
    """A run would train under the system prompt "null", or need a file for each list."""
    path = write_config(tmp_path / "c.toml", data=DATA, system="Be brief.")
    assert getattr(load(path, [override]), key) == value


@pytest.mark.parametrize(
    "override", ["lr", "lr=", "data=", "data=a,", "lr=fast", "report=[", "betas=0.9", "report=x"]
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str) -> None:
    """It would be ignored, or end in a traceback."""
    with pytest.raises(ConfigError):
        load(write_config(tmp_path / "c.toml", data=DATA), [override])


def test_the_recipe_is_the_released_one() -> None:
    """A default that drifts trains another student than the paper's, under its name."""
    recipe = {
        "cutoff": 65_536, "packs_per_step": 64, "epochs": 6, "lr": 5e-5, "lr_min": 1e-5,
        "warmup": 0.1, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
        "dtype": "bfloat16", "seed": 42, "gamma": 0.0,
    }  # fmt: skip
    for path in SHIPPED:
        if path.stem != "tiny":
            config, epochs = load(path), 1 if path.stem == "stage3_mixed" else 6
            ours = {key: getattr(config, key) for key in recipe}
            assert ours == {**recipe, "epochs": epochs}, path.stem
            assert config.system == "You are a helpful assistant."
    bare = Config(init_from="x", out="x", data=[Source(path="x")])
    assert {key: getattr(bare, key) for key in recipe} == recipe
    stages = [load(ROOT / "train" / f"{name}.toml") for name in STAGES]
    for before, after in pairwise(stages):
        assert after.init_from == f"{before.out}/model"


@pytest.mark.parametrize("path", [ZERO3, OFFLOAD], ids=lambda path: path.stem)
def test_gradients_are_summed_in_fp32(path: Path) -> None:
    """In bf16, the sum over 64 packs on 8 processes loses what the smaller ones say."""
    config = load(ROOT / "train" / "stage1_low_t.toml", [f"deepspeed={path}"])
    assert config.settings["communication_data_type"] == "fp32"
    assert config.settings["data_types"] == {"grad_accum_dtype": "fp32"}
    assert config.offload == (path == OFFLOAD)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"zero_optimization": {"stage": 2}}'])
def test_deepspeed_settings_that_cannot_serve_are_refused(tmp_path: Path, text: str | None) -> None:
    """Everything would be loaded first, and then end in a traceback."""
    if text is not None:
        (tmp_path / "ds.json").write_text(text)
    path = write_config(tmp_path / "c.toml", data=DATA, deepspeed=str(tmp_path / "ds.json"))
    with pytest.raises(ConfigError, match=r"ds\.json"):
        _ = load(path).settings


def test_the_trainer_is_thin() -> None:
    """1,000 lines of code in files of 150 lines can be read in an evening, and be trusted."""
    code = 0
    for path in (ROOT / "train").glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 150, path.name
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
        code += len(lines)
    assert code <= 1_000, "without docstrings, comments and blank lines"


def test_a_missing_file_is_named() -> None:
    """A traceback helps nobody who mistyped a path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(Path("nowhere.toml"))
