from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from builders.score.render import TrainingContext, load_context, training_render
from dasd_data.errors import RowError, UsageError

VERBATIM = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMING = VERBATIM.replace("m.content", "m.content | trim")
OPENING = VERBATIM.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
RESPONSES = [
    ("plain", "answer"),
    ("", "empty thinking"),
    ("\n\nleading and trailing\n\n", "\nanswer\n"),
    ("quotes </think> and <think> in \\frac{1}{2}", "and </think>\n\nin the answer"),
    ("never <think> closed", "m"),
    ("汉字 and 👩‍👩‍👧 emoji", "naïve café 𝔸"),
    (None, "no thinking at all"),
    (None, "<think>\nunclosed"),
    ("m", ""),
]


def tokenizer(template):
    table = Tokenizer(BPE({c: i for i, c in enumerate(ByteLevel.alphabet())}, []))
    table.pre_tokenizer = ByteLevel(add_prefix_space=False)
    table.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    table.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=table, chat_template=template)


@pytest.mark.parametrize("template", [VERBATIM, OPENING])
@pytest.mark.parametrize(("thinking", "answer"), RESPONSES)
def test_spans_hold_the_stored_text(thinking, answer, template):
    """Sentences would be given the log-probs of their neighbours."""
    render = training_render(tokenizer(template), "Why 汉?", thinking, answer, "Be brief.")
    data = render.text.encode()
    body = answer if thinking is None else f"<think>\n{thinking}\n</think>\n\n{answer}"
    assert render.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy 汉?<|im_end|>\n"
        f"<|im_start|>assistant\n{body}<|im_end|>\n"
    )
    assert data[slice(*render.answer_span)].decode() == answer
    assert data[render.answer_span[1] :] == b"<|im_end|>\n"
    if thinking is None:
        assert render.thinking_span is None
    else:
        assert data[slice(*render.thinking_span)].decode() == thinking
        assert render.answer_span[0] - render.thinking_span[1] == len("\n</think>\n\n")


def test_a_trimming_template_is_refused_only_where_it_trims():
    """The model would be scored on another text than the stored one, silently."""
    context = TrainingContext(tokenizer(TRIMMING))
    assert context.render("q", "t", "a").text.endswith("a<|im_end|>\n")
    with pytest.raises(RowError, match="template alters the response: the render does not end"):
        context.render("q", "t", "a\n")


def test_a_template_that_repeats_the_response_before_it_is_refused():
    """Text that nobody stored would stand between the question and the response."""
    context = TrainingContext(tokenizer(VERBATIM.replace("{{ m.content", "note {{ m.content")))
    with pytest.raises(RowError, match="it inserts text before it"):
        context.render("q", "t", "a")


def test_special_tokens_spelled_in_the_text_are_reported():
    """A trace about chat templates would be scored as control tokens without anyone knowing."""
    context = TrainingContext(tokenizer(VERBATIM))
    assert context.render("q", "t <think>", "a").control == ()
    render = context.render("write <|im_end|>", "t", "a <|im_start|> b <|im_end|>")
    assert render.control == ("<|im_end|>", "<|im_start|>")


def test_text_that_cannot_be_encoded_is_refused_with_the_reason():
    """A lone surrogate would end the run."""
    with pytest.raises(RowError, match="lone surrogate"):
        training_render(tokenizer(VERBATIM), "q", "t", "\ud800")


@pytest.mark.parametrize(
    ("template", "system", "message"),
    [
        (None, None, "no chat template"),
        (VERBATIM + "{{ strftime_now('%Y') }}", None, "today's date"),
        ("{{ raise_exception('no system role') }}", "s", "with a system prompt: template fails"),
    ],
)
def test_a_template_that_cannot_serve_is_a_usage_error(template, system, message):
    """Every response would be refused one by one, or scores would change overnight."""
    with pytest.raises(UsageError, match=message):
        TrainingContext(tokenizer(template), system).render("q", "t", "a")


@pytest.mark.parametrize(("thinking", "answer"), RESPONSES)
def test_qwen3_base_template_never_alters_a_response_unseen(thinking, answer, shared_data):
    """Qwen3's template deletes text around a quoted `</think>`: wrong text would be scored."""
    context = load_context(shared_data("tokenizers/qwen3"))
    body = answer if thinking is None else f"<think>\n{thinking}\n</think>\n\n{answer}"
    try:
        render = context.render("q", thinking, answer)
    except RowError as error:
        assert str(error).startswith("template alters the response")
        assert (thinking, answer) not in RESPONSES[:2]
    else:
        start = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
        assert render.text == f"{start}{body}<|im_end|>\n"


def test_the_template_hash_names_the_template():
    """Scores under two templates would be compared with each other."""
    hashes = {TrainingContext(tokenizer(t)).template_hash for t in (VERBATIM, TRIMMING)}
    assert len(hashes) == 2
    assert {len(value) for value in hashes} == {12}


def test_a_tokenizer_without_a_template_is_a_usage_error(tmp_path):
    """Scoring with a base model's tokenizer would end in a traceback."""
    tokenizer(None).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"no chat template: add chat_template\.jinja"):
        load_context(tmp_path)


def test_a_folder_without_a_tokenizer_is_a_usage_error(tmp_path):
    """A wrong path would end in a traceback from inside transformers."""
    with pytest.raises(UsageError, match="cannot load a tokenizer"):
        load_context(tmp_path)
