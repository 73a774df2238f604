"""Rows as tokens: the render is the stored text, and weights stand on the right tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.rows import RowError, Template, token_weights

TINY = Path(__file__).parents[2] / "examples" / "tiny" / "student"
ANSWER = "<think>\nTwo and two.\n</think>\n\nIt is 4."


def template_of(
    folder: Path, chat_template: str | None = None, system: str | None = None
) -> Template:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if chat_template:
        tokenizer.chat_template = chat_template
    return Template(tokenizer, system)


def chat(answer: str, question: str = "2+2?") -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.fixture(scope="module")
def tiny() -> Template:
    return template_of(TINY)


def weigh(template: Template, answer: str = ANSWER, **row: Any) -> tuple[list[str], np.ndarray]:
    """The pieces of text that the tokens stand for, and their weights."""
    text = template.render(chat(answer))
    encoding = template.fast.encode(text.text, add_special_tokens=False)
    weights = token_weights(row, text, encoding, template.suffix[1])
    return [text.text[a:b] for a, b in encoding.offsets], weights


def learned(template: Template, answer: str = ANSWER, **row: Any) -> str:
    return "".join(p for p, w in zip(*weigh(template, answer, **row), strict=True) if w)


def test_loss_is_on_the_response_and_its_end(tiny: Template) -> None:
    """A student trained on the prompt learns to ask; one not trained on the end never stops."""
    assert learned(tiny) == ANSWER + "<|im_end|>"


def test_a_masked_span_bears_no_loss(tiny: Template) -> None:
    """In mixed policy the student's own prefix would be taught back to it."""
    start = ANSWER.index(" and")
    end = ANSWER.index("</think>")
    assert learned(tiny, masked=[[start, end]]) == ANSWER[:start] + ANSWER[end:] + "<|im_end|>"


def test_spans_are_bytes(tiny: Template) -> None:
    """After an é, a span counted in characters would be one off."""
    answer = "<think>\né è.\n</think>\n\nfour five"
    start = len(answer[: answer.index("five")].encode())
    end = len(answer.encode())
    assert learned(tiny, answer, masked=[[start, end]]).removesuffix("<|im_end|>").endswith("four")


def test_a_token_with_a_leading_space_is_of_the_span_of_its_word(tiny: Template) -> None:
    """58% of sentence boundaries lie inside such a token; it would get its neighbour's weight."""
    pieces, _ = weigh(tiny)
    word = next(p for p in pieces if p.startswith(" ") and len(p) > 1)
    place = ANSWER.index(word)
    pieces, weights = weigh(tiny, masked=[[place + 1, place + len(word)]])
    assert weights[pieces.index(word)] == 0
    before = pieces.index(word) - 1
    assert weights[before] == 1


def test_a_token_across_a_boundary_is_of_the_span_it_begins_in(tiny: Template) -> None:
    """Every token belongs to one span; one that is taken by the next would be masked with it."""
    pieces, weights = weigh(tiny, masked=[[3, len(ANSWER)]])  # "<think>" is one token
    assert weights[pieces.index("<think>")] == 1
    assert "".join(p for p, w in zip(pieces, weights, strict=True) if w) == "<think><|im_end|>"


def test_sentence_weights_multiply_the_row_weight(tiny: Template) -> None:
    """Reweighted data would train as if it were not."""
    first = ANSWER.index("Two")
    pieces, weights = weigh(
        tiny, weight=0.5, sentence_ends=[first, len(ANSWER)], sentence_weights=[1, 3]
    )
    by_piece = dict(zip(pieces, weights.tolist(), strict=True))
    assert by_piece["<|im_end|>"] == 0.5
    assert weights[pieces.index("Two") if "Two" in pieces else pieces.index("T")] == 1.5
    assert sorted(set(weights.tolist())) == [0, 0.5, 1.5]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"masked": [[0, 999]]}, "masked"),
        ({"masked": [[5, 3]]}, "masked"),
        ({"sentence_ends": [9, 3], "sentence_weights": [1.0, 1.0]}, "sentence_ends"),
        ({"sentence_ends": [3], "sentence_weights": [None]}, "not finite"),
        ({"sentence_ends": [3], "sentence_weights": []}, "sentence_ends"),
        ({"weight": float("nan")}, "not finite"),
        ({"weight": -1.0}, "negative"),
    ],
)
def test_impossible_weights_drop_the_row(tiny: Template, row: dict[str, Any], reason: str) -> None:
    """A wrong offset would train on what was meant to be masked."""
    with pytest.raises(RowError, match=reason):
        weigh(tiny, **row)


def test_the_system_prompt_is_added_once(tiny: Template) -> None:
    """The released models were trained under a system prompt that the data does not have."""
    template = template_of(TINY, system="Be brief.")
    assert template.render(chat(ANSWER)).text.startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n"
    )
    own = [{"role": "system", "content": "Be long."}, *chat(ANSWER)]
    assert "Be brief." not in template.render(own).text


@pytest.mark.parametrize(
    "answer", ["<think>\nnever closed", "<think>\nI write </think> here.\n</think>\n\n4"]
)
def test_think_tags_in_the_text_survive_a_verbatim_template(tiny: Template, answer: str) -> None:
    """Unclosed and quoted think tags are in real traces, and are to be learned as they are."""
    text = tiny.render(chat(answer))
    assert text.text[text.start : text.stop] == answer


@pytest.mark.parametrize(
    "answer", ["<think>\nnever closed", "<think>\nI write </think> here.\n</think>\n\n4", ANSWER]
)
def test_qwen3_own_template_is_caught_where_it_rewrites(
    shared_data: Callable[[str], Path], answer: str
) -> None:
    """Qwen3's first template deletes text around a quoted </think>: silently, other data trains."""
    source = shared_data("templates/Qwen-Qwen3-0.6B.jinja").read_text()
    template = template_of(shared_data("tokenizers/qwen3"), source)
    if answer == ANSWER:
        text = template.render(chat(answer))
        assert text.text[text.start : text.stop] == answer
    else:
        with pytest.raises(RowError, match="chat template"):
            template.render(chat(answer))


def test_a_special_token_in_the_text_drops_the_row(tiny: Template) -> None:
    """Encoded, it would end the turn in the middle of a thought."""
    with pytest.raises(RowError, match="special token"):
        tiny.render(chat("Write <|im_end|> to stop."))


@pytest.mark.parametrize("messages", [[], chat("x")[:1], chat("x")[::-1]])
def test_a_chat_without_an_answer_drops_the_row(tiny: Template, messages: Any) -> None:
    """There is nothing to learn in it."""
    with pytest.raises(RowError, match="assistant"):
        tiny.render(messages)
