import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.harmony.parse import DEFECTS, Parsed, completion_start, parse
from builders.tokens.table import TokenTable
from builders.tokens.vocab import HARMONY_END, HARMONY_SPECIALS, Vocab
from dasd_data.errors import RowError

GOOD = (
    "<|channel|>analysis<|message|>Why 😀?<|end|><|start|>assistant<|channel|>final<|message|>So."
)
CALL = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}"
CASES = [
    # completion, thinking, answer, defects, tool calls, finish
    (f"{GOOD}<|return|>", "Why 😀?", "So.", [], 0, "return"),
    (GOOD, "Why 😀?", "So.", ["no_terminal_return"], 0, None),
    (f"{GOOD}<|end|>", "Why 😀?", "So.", ["no_terminal_return"], 0, "end"),
    (f"<|start|>assistant{GOOD}<|return|>", "Why 😀?", "So.", [], 0, "return"),
    (
        "Why?<|end|><|start|>assistant<|channel|>final<|message|>So.<|return|>",
        "Why?", "So.", [], 0, "return",
    ),
    ("Only thou", "Only thou", None, ["no_final", "no_terminal_return"], 0, None),
    ("", "", None, ["no_final", "no_analysis", "no_terminal_return"], 0, None),
    (
        "<|channel|>final<|message|>So.<|return|>",
        "", "So.", ["no_analysis"], 0, "return",
    ),
    (
        f"{GOOD[:-3]} \n<|return|>",
        "Why 😀?", " \n", ["empty_final"], 0, "return",
    ),
    (  # a tool call and its output; the thinking on both sides is one text
        "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>analysis to=python "
        "code<|message|>1+1<|call|><|start|>python to=assistant<|channel|>analysis<|message|>2"
        "<|end|><|start|>assistant<|channel|>analysis<|message|>B.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>2<|return|>",
        "A.B.", "2", ["tool_call", "tool_output"], 1, "return",
    ),
    (  # the recipient may stand before the channel, here right behind the prompt
        f" to=functions.f{CALL.replace(' to=functions.f ', ' ')}<|call|>",
        "", None, ["tool_call", "commentary", "no_final", "no_analysis", "no_terminal_return"],
        1, "call",
    ),
    (
        f"{CALL}<|call|>",
        "", None, ["tool_call", "commentary", "no_final", "no_analysis", "no_terminal_return"],
        1, "call",
    ),
    (
        "<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant" + GOOD
        + "<|return|>",
        "Why 😀?", "So.", ["commentary"], 0, "return",
    ),
    (
        GOOD.replace("final", "final to=user") + "<|return|>",
        "Why 😀?", None, ["recipient", "no_final"], 0, "return",
    ),
    (  # the last final is the answer, thinking between the two belongs to it
        f"{GOOD}<|return|><|start|>user<|message|>Sure?<|end|><|start|>assistant"
        f"{GOOD.replace('So', 'Yes')}<|return|>",
        "Why 😀?Why 😀?", "Yes.", ["extra_turn", "several_finals"], 0, "return",
    ),
    (
        f"{GOOD}<|end|><|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>",
        "Why 😀?", "So.", ["analysis_after_final", "no_terminal_return"], 0, "end",
    ),
    (
        f"{GOOD}<|return|><|start|>assistant<|channel|>analysis<|message|>Hm.",
        "Why 😀?", "So.", ["extra_turn", "analysis_after_final", "no_terminal_return"], 0, None,
    ),
    (
        GOOD.replace("final", "finale") + "<|return|>",
        "Why 😀?", None, ["unknown_channel", "no_final"], 0, "return",
    ),
    (
        GOOD.replace("<|channel|>final", "<|channel|>analysis<|channel|>final") + "<|return|>",
        "Why 😀?", "So.", ["malformed_header"], 0, "return",
    ),
    (
        GOOD.replace("<|channel|>final", "<|channel|>final<|endoftext|>") + "<|return|>",
        "Why 😀?", None, ["malformed_header", "unknown_channel", "no_final"], 0, "return",
    ),
    (
        GOOD.replace("<|channel|>final", "") + "<|return|>",
        "Why 😀?", None, ["malformed_header", "no_final"], 0, "return",
    ),
    (
        GOOD.replace("<|end|>", "") + "<|return|>",
        "Why 😀?", "So.", ["missing_end"], 0, "return",
    ),
    (
        GOOD.replace("<|end|><|start|>assistant", "") + "<|return|>",
        "Why 😀?", "So.", ["missing_end", "malformed_header"], 0, "return",
    ),
    (
        GOOD.replace("<|end|>", "<|end|>lost") + "<|return|>",
        "Why 😀?", "So.", ["text_outside_message"], 0, "return",
    ),
    (
        f"{GOOD}<|return|>lost",
        "Why 😀?", "So.", ["text_outside_message", "no_terminal_return"], 0, None,
    ),
    (
        f"{GOOD}<|end|><|start|>assistant<|chan",
        "Why 😀?", "So.", ["malformed_header", "no_terminal_return"], 0, None,
    ),
    (
        GOOD.replace("Why", "Wh<|endoftext|>y") + "<|return|>",
        "Why 😀?", "So.", ["special_token"], 0, "return",
    ),
    (
        GOOD.replace("Why", "Wh<|constrain|>y") + "<|return|>",
        "Why 😀?", "So.", ["malformed_header", "special_token"], 0, "return",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[3]) or "well formed")
def test_completions_by_hand(encode, table, case):
    """Each deviation needs its own reason, and must not move the text of what is well formed."""
    text, thinking, answer, defects, calls, finish = case
    ids = encode(text)
    parsed = parse(ids, table)
    assert (parsed.thinking, parsed.answer) == (thinking, answer)
    assert (parsed.defects, parsed.n_tool_calls, parsed.finish) == (defects, calls, finish)
    assert len(parsed.token_bytes) == len(ids)
    assert sum(parsed.token_bytes) == len((thinking + (answer or "")).encode())


def test_only_the_two_sections_hold_bytes(encode, table):
    """A scored delimiter or tool call would enter a sentence's probability."""
    ids = encode(f"{GOOD}<|return|>")
    parsed = parse(ids, table)
    held = [table.piece(i) for i, n in zip(ids, parsed.token_bytes, strict=True) if n]
    assert b"".join(held) == "Why 😀?So.".encode()
    assert [n for n in parsed.token_bytes if n] == [len(piece) for piece in held]


def test_an_emoji_cut_by_the_end_of_a_message_is_flagged(encode, table):
    """Broken bytes must be seen, must not swallow their neighbours, and must still tile."""
    half = encode("🫠")[:1]
    ids = [
        *encode("<|channel|>analysis<|message|>a"),
        *half,
        *encode(GOOD[GOOD.index("<|end|>") :]),
    ]
    parsed = parse([*ids, 200002], table)
    assert parsed.thinking == "a" + table.piece(half[0]).decode(errors="replace")
    assert parsed.defects == ["invalid_utf8"]
    assert sum(parsed.token_bytes) == len((parsed.thinking + "So.").encode())


def test_a_replacement_character_of_the_model_is_no_defect(encode, table):
    """A model may write U+FFFD itself; dropping that response would be wrong."""
    assert parse(encode(GOOD.replace("Why", "\ufffd") + "<|return|>"), table).defects == []


def test_ids_of_another_tokenizer_are_refused(table):
    """Qwen's ids read as harmony would give garbage text with plausible structure."""
    with pytest.raises(RowError, match="check --tokenizer"):
        parse([5, 300_000], table)
    with pytest.raises(RowError, match="no harmony tokens"):
        parse([0], TokenTable(Vocab([b"a"], frozenset())))


@pytest.fixture(scope="module")
def small_table() -> TokenTable:
    """Bytes as ids 0..255 and a few header words, with harmony's special ids."""
    pieces: list[bytes | None] = [None] * HARMONY_END
    pieces[:256] = [bytes([byte]) for byte in range(256)]
    words = ["assistant", "analysis", "final", "commentary", " to=python", "python", "user"]
    pieces[256 : 256 + len(words)] = [word.encode() for word in words]
    for token_id, name in HARMONY_SPECIALS.items():
        pieces[token_id] = name.encode()
    return TokenTable(Vocab(pieces, frozenset(HARMONY_SPECIALS)))


@settings(deadline=None)
@given(st.lists(st.sampled_from([65, 32, 10, 0xF0, 0x9F, *range(256, 263), *HARMONY_SPECIALS])))
def test_no_sequence_of_ids_loses_a_token(small_table, ids):
    """Whatever a model emits is parsed or flagged, and its bytes always tile."""
    parsed = parse(ids, small_table)
    assert isinstance(parsed, Parsed)
    assert len(parsed.token_bytes) == len(ids)
    assert sum(parsed.token_bytes) == len((parsed.thinking + (parsed.answer or "")).encode())
    assert set(parsed.defects) <= set(DEFECTS)
    assert len(set(parsed.defects)) == len(parsed.defects)
    specials = [i for i, token in enumerate(ids) if small_table.is_special(token)]
    assert not any(parsed.token_bytes[i] for i in specials)


def test_the_completion_begins_behind_the_first_open_assistant(encode, table):
    """A trace cut in its middle is still parsed whole, from its first message on."""
    prompt = encode("<|start|>user<|message|>assistant?<|end|><|start|>assistant")
    trace = [*prompt, *encode(GOOD)]
    assert completion_start(trace, table) == len(prompt)
    assert completion_start(encode(GOOD)[: len(encode(GOOD)) // 2], table) == 0
