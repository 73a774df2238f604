from __future__ import annotations

import json
import re
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

transformers = pytest.importorskip("transformers")

from builders.harmony.messages import CALL, RETURN  # noqa: E402
from builders.records import Scorer  # noqa: E402
from builders.sample.prompt import load_prompt  # noqa: E402
from dasd_data.errors import UsageError  # noqa: E402


def library(folder, messages, **settings):
    """The prompt as the library itself renders it, today."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False, **settings
    )


def user(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("tokenizer", ["gpt-oss", "qwen3"])
def test_a_prompt_is_what_the_model_s_template_renders(tokenizer, shared_data):
    """The teacher would answer another prompt than the one it was trained on."""
    folder = shared_data("tokenizers") / tokenizer
    today = f"{datetime.now():%Y-%m-%d}"
    question = "Prove that √2 is irrational.\n\n```python\nx = 2**0.5\n```"
    assert load_prompt(folder, date=today).ids(question).tolist() == library(folder, user(question))
    system = [{"role": "system", "content": "Be brief."}, *user(question)]
    prompt = load_prompt(folder, date=today, system="Be brief.")
    assert prompt.ids(question).tolist() == library(folder, system)


def test_effort_and_day_stand_in_a_harmony_prompt(shared_data):
    """A run that goes on tomorrow would ask with another prompt, under the same key."""
    folder = shared_data("tokenizers/gpt-oss")
    prompt = load_prompt(folder, date="2025-06-28", reasoning_effort="high")
    text = prompt.tokenizer.decode(prompt.ids("Hi").tolist())
    assert "Current date: 2025-06-28" in text
    assert "Reasoning: high" in text
    described = prompt.describe(Scorer("gpt-oss-120b"))
    assert (described.date, described.reasoning_effort) == ("2025-06-28", "high")
    assert described.context == "sampled_prompt"
    assert prompt.stop_ids == (RETURN, CALL)


def test_the_user_s_part_equals_that_of_real_traces(shared_data):
    """Samples could not be joined with the traces that others took of the same model."""
    prompt = load_prompt(shared_data("tokenizers/gpt-oss"), date="2025-06-28")
    path = shared_data("responses/gptoss120b_harmony_traces.parquet")
    rows = pq.read_table(path, columns=["prompt_tokens"]).to_pylist()[::15]
    for row in rows:
        real = prompt.tokenizer.decode(row["prompt_tokens"])
        question = re.search(r"<\|start\|>user<\|message\|>(.*)<\|end\|>", real, re.DOTALL)[1]
        ids = prompt.ids(question).tolist()
        start = prompt.table.id_of("<|start|>")
        starts = [i for i, token in enumerate(row["prompt_tokens"]) if token == start]
        size = len(row["prompt_tokens"]) - starts[-2]  # user, and the beginning of the assistant
        assert ids[-size:] == row["prompt_tokens"][-size:]
    assert len(rows) == 12


def test_delimiters_in_a_question_are_text(shared_data):
    """A question that quotes a template would end its own turn."""
    prompt = load_prompt(shared_data("tokenizers/qwen3"))
    ids = prompt.ids("What does <|im_end|> mean?").tolist()
    plain = prompt.ids("What does it mean?").tolist()
    end = prompt.table.id_of("<|im_end|>")
    assert ids.count(end) == plain.count(end) == 1
    assert "<|im_end|> mean?" in prompt.tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>\nTwo.\n</think>\n\nIt is 2.<|im_end|>", "Two.", "It is 2."),
        ("It is 2.<|im_end|>", None, "It is 2."),
        ("<think>\nTwo, I th", "Two, I th", ""),
        ("<think>\nTags like </think> are odd.\n</think>\n\n√2<|im_end|>",
         "Tags like </think> are odd.", "√2"),
    ],
)  # fmt: skip
def test_a_completion_is_read_into_its_sections(text, thinking, answer, shared_data):
    """Thinking would become the answer, or log-probs would be summed over other words."""
    prompt = load_prompt(shared_data("tokenizers/qwen3"))
    ids = prompt.tokenizer.encode(text)
    read = prompt.read(ids)
    assert (read.thinking, read.answer) == (thinking, answer)
    assert len(read.token_bytes) == len(ids)
    assert sum(read.token_bytes) == len(((thinking or "") + answer).encode())


def test_a_template_that_opens_the_thinking_needs_no_tag_in_the_completion(shared_data, tmp_path):
    """All of the thinking would be taken for the answer."""
    folder = shared_data("tokenizers/qwen3")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    template = tmp_path / "chat_template.jinja"
    template.write_text(template.read_text() + "{{- '<think>\\n' }}")
    prompt = load_prompt(tmp_path)
    read = prompt.read(prompt.tokenizer.encode("Two.\n</think>\n\nIt is 2.<|im_end|>"))
    assert (read.thinking, read.answer) == ("Two.", "It is 2.")


def test_settings_that_a_template_does_not_know_are_refused(shared_data, tmp_path):
    """An effort or a date would be recorded that no prompt ever said."""
    with pytest.raises(UsageError, match="knows no reasoning effort: leave --effort out"):
        load_prompt(shared_data("tokenizers/qwen3"), reasoning_effort="high")
    with pytest.raises(UsageError, match="write a day as YYYY-MM-DD"):
        load_prompt(shared_data("tokenizers/gpt-oss"), date="28.6.2025")
    with pytest.raises(UsageError, match="cannot load a tokenizer"):
        load_prompt(tmp_path)


def test_other_prompts_are_other_contexts(shared_data):
    """Samples under two prompts would share a key, and one would be taken for the other."""
    folder = shared_data("tokenizers/gpt-oss")
    scorer = Scorer("m")
    described = {
        load_prompt(folder, date="2025-06-28", **settings).describe(scorer)
        for settings in ({}, {"system": "Be brief."}, {"reasoning_effort": "low"})
    }
    described.add(load_prompt(folder, date="2025-06-29").describe(scorer))
    assert len(described) == 4
    assert np.array_equal(
        load_prompt(folder, date="2025-06-28").ids("q"),
        load_prompt(folder, date="2025-06-28").ids("q"),
    )


def test_end_ids_of_the_generation_configuration_end_a_completion(shared_data, tmp_path):
    """vLLM stops at them, and its completions would be taken for cut ones."""
    for file in shared_data("tokenizers/qwen3").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (end,) = load_prompt(tmp_path).stop_ids
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [end, 151643]}))
    assert load_prompt(tmp_path).stop_ids == (end, 151643)
    path.write_text("[]")
    with pytest.raises(UsageError, match="not a generation configuration"):
        load_prompt(tmp_path)


def test_a_template_that_asks_whether_there_is_a_clock_gets_its_day(shared_data, tmp_path):
    """Templates of Llama 3 would be refused."""
    for file in shared_data("tokenizers/qwen3").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    template = tmp_path / "chat_template.jinja"
    dated = "{% if strftime_now is defined %}Today: {{ strftime_now('%d %b %Y') }}. {% endif %}"
    template.write_text(dated + template.read_text())
    prompt = load_prompt(tmp_path, date="2025-06-28")
    assert prompt.tokenizer.decode(prompt.ids("Hi").tolist()).startswith("Today: 28 Jun 2025. ")


def test_harmony_s_ends_are_those_of_the_generation_configuration_too(shared_data, tmp_path):
    """vLLM stops gpt-oss at 199999 as well: a row to be flagged would be a failure to be retried."""
    for file in shared_data("tokenizers/gpt-oss").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [200002, 199999, 200012]}')
    assert load_prompt(tmp_path, date="2025-06-28").stop_ids == (RETURN, CALL, 199999)
