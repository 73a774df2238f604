"""One run's configuration: a TOML file, where `key=value` on the command line overrides a key."""

import argparse
import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class TrainError(Exception):
    """The data, a checkpoint or the run is wrong: one line on what, where and what to do."""

    exit_code = 3


class ConfigError(TrainError, ValueError):
    """The configuration is wrong, or the machine lacks what it asks for."""

    exit_code = 2


def read(what: Any, how: Callable, kind: type[TrainError] = ConfigError, hint: str = "") -> Any:
    """how(what); an error of the kind if there is nothing to read, or nothing whole."""
    try:
        return how(what)
    except (OSError, ValueError) as error:
        raise kind(f"cannot read {what}: {str(error).rstrip('.')}{hint}") from error


def read_json(path: Path, kind: type[TrainError] = ConfigError, hint: str = "") -> dict[str, Any]:
    """The JSON object in a file, or an error of the kind."""
    return dict(read(path, lambda path: dict(json.loads(path.read_text())), kind, hint))


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One split: the folder of a build, or a data set of the Hub."""

    path: Annotated[str, Meta(min_length=1)]
    name: str = ""  # in logs; else the configuration or the last part of the path
    revision: str | None = None  # of a Hub data set
    config: str | None = None  # of several views that were pushed to one data set
    files: str | None = None  # a glob; else the configuration's, or all Parquet files
    weight: Annotated[float, Meta(ge=0, le=1e3)] = 1.0  # times per epoch; 0.5: half of the rows


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides a run. Defaults are the recipe that arXiv 2601.09088 released."""

    init_from: str  # weights and tokenizer: a folder, or a model of the Hub
    out: str
    data: Annotated[list[Source], Meta(min_length=1)]
    revision: str | None = None  # of a Hub model
    system: str | None = None  # the system prompt of rows that have none
    cutoff: Positive = 65_536  # tokens of a pack; a longer row is dropped, never truncated
    packs_per_step: Positive = 64
    epochs: Positive = 6
    holdout: Share = 0.01  # of the questions is only evaluated; the same ones in all stages
    gamma: float = 0.0  # a row weighs exp(gamma * ln teacher_probability), mean 1 per question
    seed: Annotated[int, Meta(ge=0, lt=2**28)] = 42  # torch takes its product with 1,000,003
    lr: Annotated[float, Meta(gt=0)] = 5e-5
    lr_min: NotNegative = 1e-5
    warmup: Share = 0.1  # of the steps
    betas: tuple[Share, Share] = (0.9, 0.95)
    eps: Annotated[float, Meta(gt=0)] = 1e-8
    weight_decay: NotNegative = 0.1
    clip: NotNegative = 1.0  # of the gradient's norm; 0: not at all
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    # From here on: how a run is carried out, which may change when it is resumed.
    sequence_parallel: Positive = 1  # processes that share a pack (Ulysses)
    activation_checkpointing: bool = True
    deepspeed: str = "train/zero3.json"
    save_every: Positive = 100  # steps
    eval_every: Positive = 100
    keep: Positive = 2  # checkpoints
    report: list[Literal["tensorboard", "trackio", "wandb"]] = []
    cache: str = "~/.cache/dasd-train"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if isinstance(value := getattr(self, name), float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}")
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min {self.lr_min} is above lr {self.lr}")

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run has to share, as JSON has it."""
        fields = self.__struct_fields__
        fixed = set(fields[: fields.index("sequence_parallel")]) - {"out"}
        return {k: v for k, v in json.loads(msgspec.json.encode(self)).items() if k in fixed}

    @property
    def settings(self) -> dict[str, Any]:
        """DeepSpeed's, of the file that `deepspeed` names. ConfigError if they are not ZeRO-3's."""
        settings = read_json(Path(self.deepspeed))
        if settings.get("zero_optimization", {}).get("stage") != 3:
            raise ConfigError(f"{self.deepspeed}: checkpoints and export need ZeRO stage 3")
        return settings

    @property
    def offload(self) -> bool:
        """Whether the optimizer is in the CPUs' memory."""
        return "offload_optimizer" in self.settings["zero_optimization"]


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration. ConfigError for an unknown key, a wrong type, an impossible value.

    Overrides are `key=value`: a list is written as in TOML or with commas, and nothing or `null`
    after the `=` unsets a key.
    """
    raw = read(path, lambda path: tomllib.loads(path.read_text()))
    try:
        return msgspec.convert(raw | dict(map(_override, overrides)), Config, strict=False)
    except ValueError as error:
        unknown = re.search(r"unknown field `(.+?)`", str(error))
        known = Config.__struct_fields__ + Source.__struct_fields__
        near = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{path}: {error}{hint}") from error


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not key=value")
    if value.startswith(("[", '"')):
        return key, tomllib.loads(f"value = {value}")["value"]
    many = [] if value in {"", "null"} else value.split(",")
    lists = {"data": [{"path": path} for path in many], "betas": many, "report": many}
    return key, lists.get(key, value if many else None)


def arguments(description: str) -> argparse.ArgumentParser:
    """The parser of `--config FILE [key=value ...]`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="override a key")
    return parser
