"""Options that `sample` and `score` share."""

from __future__ import annotations

import click
import pytest

from builders.commands.engines import _gpus
from dasd_data.cli import cli


def test_a_worker_takes_the_gpus_that_vllm_spreads_over():
    """Two workers would share a GPU, or the cluster would hold none."""
    assert _gpus({"tensor_parallel_size": 4, "pipeline_parallel_size": 2, "seed": 1}) == 8
    assert _gpus({"seed": 1}) is None


@pytest.mark.parametrize("value", ["two", None, [2], 2.0, 0, True])
def test_a_size_that_is_no_number_is_told(value):
    """A typing error would end in a stack trace."""
    with pytest.raises(click.UsageError, match="tensor_parallel_size=.*give a whole number"):
        _gpus({"tensor_parallel_size": value})


@pytest.mark.parametrize("stage", ["sample", "score"])
def test_a_log_that_cannot_be_opened_is_told_before_a_model_is_loaded(stage, made, monkeypatch):
    """Minutes of loading would end in a stack trace, or a dry run would leave a file."""

    class LoadedError(Exception):
        pass

    def load(*_):
        raise LoadedError

    monkeypatch.setattr(f"builders.{stage}.prepare.prepare", load)
    catalog = made()
    folder = catalog.path.parent
    options = {"sample": ("--temperature", "1"), "score": ("--name", "student")}[stage]

    def run(*more):
        command = [stage, "--model", "m", *options, "--catalog", str(catalog.path), *more]
        with cli.make_context("dasd-data", command) as context:
            cli.invoke(context)

    with pytest.raises(click.UsageError, match="No such file or directory; name a file"):
        run("--log", str(folder / "none" / "log.jsonl"))
    with pytest.raises(LoadedError):
        run("--log", str(folder / "log.jsonl"), "--dry-run")
    assert not (folder / "log.jsonl").exists()
