"""`export`, and builds as trainers read them."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml

from dasd_data import builds, export
from dasd_data.build import build
from dasd_data.errors import UsageError

SCORES = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.9), (6, 0.95)]}


@pytest.fixture
def catalog(made, response):
    """One question with two candidates at each temperature."""
    pairs = ((i, t) for i in (0, 1) for t in (0.6, 1.0))
    return made(
        *(response(f"A{i}-{t}", question="A", temperature=t, scores=SCORES) for i, t in pairs)
    )


@pytest.fixture
def built(catalog):
    """A build."""
    return builds.at(build(catalog, "low_t_das", robustness="off").path)


def test_llamafactory_finds_the_build_and_other_entries_stay(built, tmp_path):
    """Its own data sets would be gone, or the conversation be read from the wrong columns."""
    path = tmp_path / "dataset_info.json"
    path.write_text(
        json.dumps({"mine": {"file_name": "mine.json"}, "low_t_das": {"file_name": "old"}})
    )
    assert export.write(built, "llamafactory", tmp_path) == path
    found = json.loads(path.read_text())
    assert found["mine"] == {"file_name": "mine.json"}
    # data/README.md of LLaMA-Factory, "Sharegpt Format" in the openai way
    assert found["low_t_das"] == {
        "file_name": str(built.folder / "data"),
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role", "content_tag": "content",
            "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
        },
    }  # fmt: skip


def test_axolotl_trains_on_the_assistant_s_turns_of_the_build(built, tmp_path):
    """It would train on prompts too, or find no file; run twice, it would read the rows twice."""
    (tmp_path / "axolotl.yaml").write_text(
        "base_model: a/b\ndatasets:\n- path: other\n  type: alpaca\n"
    )
    for _ in range(2):
        path = export.write(built, "axolotl", tmp_path)
    found = yaml.safe_load(path.read_text())
    assert found["base_model"] == "a/b"
    other, mine = found["datasets"]
    assert other == {"path": "other", "type": "alpaca"}
    assert mine["data_files"] == [str(built.folder / "data" / "train-00000-of-00001.parquet")]
    assert (mine["type"], mine["field_messages"], mine["roles_to_train"]) == (
        "chat_template",
        "messages",
        ["assistant"],
    )


def test_swift_gets_the_folder_of_the_shards_once(built, command, tmp_path):
    """A run would see the rows twice; or a command line name twenty shards."""
    for _ in range(2):
        path = export.write(built, "swift", tmp_path)
    data = str(built.folder / "data")
    assert json.loads(path.read_text()) == [
        {"dataset_path": data, "columns": {"messages": "messages"}}
    ]
    done = command("export", "low_t_das", "--for", "swift")
    assert f"--custom_dataset_info dataset_info.swift.json --dataset {data}\n" in done.stderr


@pytest.mark.parametrize("trainer", sorted(export.TRAINERS))
@pytest.mark.parametrize("text", ["{", "[1]", '"a"'])
def test_a_file_of_something_else_is_left_alone(built, tmp_path, trainer, text):
    """Somebody's settings would be written over."""
    path = tmp_path / export.TRAINERS[trainer][0]
    path.write_text(text)
    with pytest.raises(UsageError, match="choose another --out"):
        export.write(built, trainer, tmp_path)
    assert path.read_text() == text


def test_the_command_says_how_the_trainer_is_called(built, command, tmp_path):
    """A user would look for the name of the data set, and for the folder that it is read from."""
    for name in ("low_t_das", str(built.folder)):
        done = command("export", name, "--for", "llamafactory", "--out", "lf")
        assert (done.returncode, done.stdout) == (0, "")
        assert "--dataset_dir lf --dataset low_t_das" in done.stderr
    assert json.loads((tmp_path / "lf" / "dataset_info.json").read_text()).keys() == {"low_t_das"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_the_stored_completion_alone(built, tmp_path):
    """Its SFT trainer would not know the format, or learn to write prompts."""
    trl = pytest.importorskip("trl")
    from pathlib import Path

    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny = str(Path(__file__).parents[1] / "examples" / "tiny" / "student")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = datasets.load_dataset(
        "parquet", data_dir=str(built.folder / "data"), split="train", cache_dir=str(tmp_path)
    )
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, max_length=None, bf16=False
    )
    trainer = trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny),
        args=settings,
        train_dataset=rows,
        processing_class=tokenizer,
    )
    (row,) = trainer.train_dataset
    labels = row["labels"]
    learned = [i for i, label in zip(row["input_ids"], labels, strict=True) if label != -100]
    assert rows[0]["prompt"][0]["content"] in tokenizer.decode(row["input_ids"])
    assert tokenizer.decode(learned) == rows[0]["completion"][0]["content"] + "<|im_end|>\n"


def test_our_trainer_plans_a_build_as_it_is(built, tmp_path):
    """The rows that were chosen would not be those that are trained on."""
    from tests.train.conftest import write_config
    from train import data, plan
    from train.config import load
    from train.rows import load_template

    sources = [{"name": "low_t", "path": str(built.folder)}]
    config = load(write_config(tmp_path / "run.toml", data=sources))
    template = load_template(config)
    rows = data.load(config, template)
    made = plan.make(config, rows)
    assert (made.packs, made.dropped) == ([[0]], {})
    ids, weights = rows[0]
    (stored,) = pq.read_table(built.folder / "data").to_pylist()
    assert template.fast.decode(ids[weights > 0].tolist(), skip_special_tokens=False).startswith(
        stored["completion"][0]["content"]
    )


@pytest.mark.filterwarnings("ignore")
def test_llamafactory_s_own_loader_reads_the_build(built, monkeypatch, tmp_path):
    """Its documentation and its code would differ: `make test-llamafactory` installs it."""
    pytest.importorskip("llamafactory")
    audio = ModuleType("torchaudio")  # it imports it for sounds
    audio.__spec__ = ModuleSpec("torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio", audio)
    from llamafactory.data import loader

    export.write(built, "llamafactory", tmp_path)
    (found,) = loader.get_dataset_list(["low_t_das"], str(tmp_path))
    model = SimpleNamespace(cache_dir=str(tmp_path / "cache"), hf_hub_token=None)
    read = SimpleNamespace(dataset_dir=str(tmp_path), preprocessing_num_workers=None,
                           streaming=False, max_samples=None, overwrite_cache=True)  # fmt: skip
    training = SimpleNamespace(local_process_index=0)
    (row,) = loader._load_single_dataset(found, model, read, training)
    (stored,) = pq.read_table(built.folder / "data").to_pylist()
    assert [*row["_prompt"], *row["_response"]] == stored["messages"]
