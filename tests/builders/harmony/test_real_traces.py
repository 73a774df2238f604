import re

import pyarrow.parquet as pq
import pytest

from builders.harmony.parse import completion_start, parse, parse_prompt, prompt_context

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def traces(shared_data) -> list[dict]:
    path = shared_data("responses/gptoss120b_harmony_traces.parquet")
    columns = ["prompt_tokens", "tokens", "n_tool_calls", "has_final"]
    return pq.read_table(path, columns=columns).to_pylist()


@pytest.fixture(scope="module")
def parsed(traces, table) -> list:
    return [parse(trace["tokens"], table) for trace in traces]


def test_counts_agree_with_the_source(traces, parsed):
    """The structure filter's verdicts must be those that the traces' authors counted."""
    assert len(traces) == 177
    for trace, found in zip(traces, parsed, strict=True):
        assert found.n_tool_calls == trace["n_tool_calls"]
        assert (found.answer is not None) == trace["has_final"]
        assert len(found.token_bytes) == len(trace["tokens"])
        text = found.thinking + (found.answer or "")
        assert sum(found.token_bytes) == len(text.encode())
        assert found.thinking
        assert found.finish is None  # all were stopped at the boxed answer
        assert "no_terminal_return" in found.defects


def test_text_agrees_with_a_plain_reading_of_the_decoded_trace(traces, parsed, shared_data):
    """An independent parser of the decoded text must find the same thinking and answer."""
    from tokenizers import Tokenizer

    path = shared_data("tokenizers/gpt-oss") / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    message = re.compile(
        r"(?:\A|<\|start\|>assistant)<\|channel\|>(analysis|final)<\|message\|>(.*?)"
        r"(?:<\|end\|>|<\|return\|>|\Z)",
        re.DOTALL,
    )
    for trace, found in zip(traces, parsed, strict=True):
        said = message.findall(tokenizer.decode(trace["tokens"], skip_special_tokens=False))
        finals = [i for i, (channel, _) in enumerate(said) if channel == "final"]
        last = finals[-1] if finals else len(said)
        thoughts = [text for channel, text in said[:last] if channel == "analysis"]
        assert found.thinking == "".join(thoughts)
        assert found.answer == (said[last][1] if finals else None)


def test_messages_agree_with_openai_harmony(traces, table, shared_data, monkeypatch):
    """OpenAI's own parser must see the same messages, channels and recipients."""
    harmony = pytest.importorskip("openai_harmony")
    base = shared_data("tokenizers/o200k_base.tiktoken").parent
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", str(base))
    encoding = harmony.load_harmony_encoding(harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    for trace in traces[:40]:
        theirs = encoding.parse_messages_from_completion_tokens(
            trace["tokens"], harmony.Role.ASSISTANT
        )
        ours = parse_prompt(trace["tokens"], table)
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert mine["content"] == other.content[0].text
            assert mine.get("channel") == other.channel
            assert mine["role"] == (other.author.name or other.author.role.value)
            assert mine.get("recipient") == other.recipient


def test_prompts_give_question_and_settings(traces, table):
    """The scorer's context is read from the prompt: effort, system text, question."""
    for trace in traces:
        messages = parse_prompt(trace["prompt_tokens"], table)
        context = prompt_context(messages)
        assert [message["role"] for message in messages] == ["system", "developer", "user"]
        assert context.question == messages[-1]["content"] != ""
        assert context.reasoning_effort == "high"
        assert context.date is None
        assert context.developer == (
            "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}."
        )
        assert context.system and context.system.startswith("You are ChatGPT, a large language")


def test_date_is_read_from_the_system_message(encode, table):
    """The date is part of the context that a log-prob depends on."""
    ids = encode(
        "<|start|>system<|message|>You are ChatGPT.\nKnowledge cutoff: 2024-06\n"
        "Current date: 2025-06-28\n\nReasoning: low\n\n# Valid channels: analysis, final.<|end|>"
        "<|start|>user<|message|>One?<|end|><|start|>assistant<|channel|>final<|message|>1<|return|>"
        "<|start|>user<|message|>Current date: never<|end|><|start|>assistant"
    )
    context = prompt_context(parse_prompt(ids, table))
    assert (context.date, context.reasoning_effort) == ("2025-06-28", "low")
    assert context.question == "Current date: never"
    assert context.developer is None


def test_fragments_that_begin_inside_the_analysis(table, shared_data):
    """Two-model rows are cut mid-thought: all of their tokens are thinking."""
    rows = pq.read_table(
        shared_data("responses/gptoss120b_two_model_logprobs.parquet"),
        columns=["prompt_tokens", "completion_tokens"],
    ).to_pylist()
    assert len(rows) == 119
    for row in rows:
        fragment = parse(row["completion_tokens"], table)
        own = [len(piece) for piece in table.pieces(row["completion_tokens"])]
        assert list(fragment.token_bytes) == own
        assert fragment.answer is None
        assert fragment.defects == ["no_final", "no_terminal_return"]
        whole = row["prompt_tokens"] + row["completion_tokens"]
        start = completion_start(whole, table)
        assert parse(whole[start:], table).thinking.endswith(fragment.thinking)
