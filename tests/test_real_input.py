"""The whole pipeline on real input: gpt-oss traces, attempts and log-probs, and the tiny pair.

The reference below shares no code with the pipeline: plain Python over the tokenizers' own
offsets and a naive forward pass.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import dasd_data
from builders.filters.stage import configured, filter_missing
from builders.ingest.stage import ingest
from builders.score.prepare import Options, prepare
from builders.score.stage import score
from builders.shapes import Context
from dasd_data.build import build

pytestmark = pytest.mark.slow
TINY = Path(__file__).parents[1] / "examples" / "tiny"
SPACE = b" \t\n\r\v\f"
# Byte-level BPE writes printable Latin-1 bytes as themselves and the others from U+0100 on.
PLAIN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHER = [byte for byte in range(256) if byte not in PLAIN]
BYTE_OF = {chr(b): b for b in PLAIN} | {chr(256 + i): b for i, b in enumerate(OTHER)}


def reference(text, token_bytes, logprobs, ends):
    """(tokens, log-prob sum) of every sentence, worked out one token at a time."""
    counts, sums = [0] * len(ends), [0.0] * len(ends)
    at = 0
    for size, logprob in zip(token_bytes, logprobs, strict=True):
        if size:
            own = text[at : at + size]
            first = next((i for i, byte in enumerate(own) if byte not in SPACE), 0)
            place = next(i for i, end in enumerate(ends) if at + first < end)
            counts[place] += 1
            sums[place] += logprob
            at += size
    assert at == len(text)
    return counts, sums


@pytest.fixture
def catalog(tmp_path):
    """An empty catalog."""
    return dasd_data.create(tmp_path / "dasd.catalog")


def rows(catalog, query, **settings):
    """Rows of a query at the newest snapshot."""
    return catalog.refresh().sql(query, **settings).to_arrow_table().to_pylist()


def test_all_traces_and_attempts_come_in_and_are_judged(catalog, shared_data, tmp_path):
    """A researcher's real traces would be refused, cut or left without a verdict."""
    tokenizer = str(shared_data("tokenizers/gpt-oss"))
    traces = shared_data("responses/gptoss120b_harmony_traces.parquet")
    attempts = shared_data("responses/gptoss_math_attempts.parquet")
    context = Context(file="", tokenizer=tokenizer)
    counts = ingest(catalog, [str(traces), str(attempts)], context)
    assert (counts["rows"], counts["responses"], counts["refused"]) == (337, 337, 0)
    source = pq.read_table(traces, columns=["n_tokens", "n_tool_calls"]).to_pylist()
    kept = rows(catalog, "SELECT n_tokens FROM tokens ORDER BY ALL")
    assert [r["n_tokens"] for r in kept] == sorted(r["n_tokens"] for r in source)

    student = str(shared_data("tokenizers/qwen3"))
    required = ["length", "structure", "completeness", "repetition"]
    filter_missing(catalog, configured(catalog, required, student))
    verdicts = rows(
        catalog,
        "SELECT r.temperature, g.passed, g.evidence FROM flags AS g JOIN responses AS r"
        " USING (response_id) WHERE filter = 'structure'",
    )
    assert len(verdicts) == 337
    of_traces = [v for v in verdicts if v["temperature"] == 1.0]
    called = [v for v in of_traces if "tool_call" in (v["evidence"] or "")]
    assert len(called) == sum(r["n_tool_calls"] > 0 for r in source)
    flags = rows(catalog, "SELECT filter, count(*) AS n FROM flags GROUP BY ALL")
    assert {f["filter"]: f["n"] for f in flags} == dict.fromkeys(required, 337)
    tiles = rows(
        catalog,
        "SELECT count(*) AS n FROM sentences JOIN responses USING (response_id)"
        " WHERE byte_end[-1] = octet_length(encode(concat(thinking, answer)))",
    )
    assert tiles == [{"n": 337}]


def test_two_models_log_probs_become_labels(catalog, shared_data):
    """Log-probs of a real pair of models could not be compared."""
    path = shared_data("responses/gptoss120b_two_model_logprobs.parquet")
    context = Context(file="", tokenizer=str(shared_data("tokenizers/gpt-oss")))
    counts = ingest(catalog, [str(path)], context)
    assert (counts["rows"], counts["responses"], counts["refused"]) == (119, 17, 0)
    pair = {"teacher": "gpt-oss-120b-lora-1e-4", "student": "initial", "min_tokens": 1}
    found = rows(catalog, "SELECT * FROM responses_scored", **pair)
    assert len(found) == 17
    assert all(
        r["teacher_count"] + r["student_count"] + r["shared_count"] == r["n_sentences"] > 0
        for r in found
    )
    (one,) = rows(
        catalog,
        "SELECT concat(r.thinking, r.answer) AS text, token_bytes, logprobs, byte_end,"
        " n.segmentation_id, t.scorer_id, r.response_id"
        " FROM responses AS r JOIN tokens AS t USING (response_id)"
        " JOIN sentences AS n USING (response_id) ORDER BY r.response_id, t.scorer_id LIMIT 1",
    )
    counted, summed = reference(
        one["text"].encode(), one["token_bytes"], one["logprobs"], one["byte_end"]
    )
    (kept,) = rows(
        catalog,
        "SELECT n_tokens, logprob_sum FROM sentence_scores"
        f" WHERE response_id = '{one['response_id']}' AND scorer_id = '{one['scorer_id']}'",
    )
    assert kept["n_tokens"] == counted
    assert kept["logprob_sum"] == pytest.approx(summed, rel=1e-5, abs=1e-5)


def naive(model_path, question, thinking, answer):
    """Token byte counts over thinking || answer and log-probs, by offsets and a plain forward."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
    wrapped = f"<think>\n{thinking}\n</think>\n\n{answer}"
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": wrapped}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        logits = model(ids).logits[0, :-1].double()
    logprobs = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
    added = tokenizer.get_added_vocab()
    pieces = [
        token.encode() if token in added else bytes(BYTE_OF[c] for c in token)
        for token in tokenizer.convert_ids_to_tokens(ids[0].tolist())
    ]
    assert b"".join(pieces) == text.encode()
    head = text.encode().index(wrapped.encode()) + len("<think>\n")
    seam = head + len(thinking.encode())
    tail = seam + len("\n</think>\n\n")
    spans = [(head, seam), (tail, tail + len(answer.encode()))]
    counts, start = [], 0
    for piece in pieces:
        end = start + len(piece)
        counts.append(sum(max(0, min(end, b) - max(start, a)) for a, b in spans))
        start = end
    return counts[1:], logprobs


def test_the_shortest_attempts_go_through_to_a_build(catalog, shared_data, tmp_path):
    """The pipeline's p of a sentence would not be that of the models."""
    source = pq.read_table(shared_data("responses/gptoss_math_attempts.parquet")).to_pylist()
    short = sorted(source, key=lambda r: len((r["reasoning"] or "") + (r["content"] or "")))[:20]
    path = tmp_path / "attempts.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in short))
    assert ingest(catalog, [str(path)], Context(file=""))["responses"] == 20
    for name in ("teacher", "student"):
        run = prepare(catalog, Options(model=str(TINY / name), name=name, everything=True))
        assert score(catalog, run)["tokens"] == 20

    made = build(catalog.refresh(), "low_t_das", {"temperature": 0.7, "required_filters": []})
    assert made.rows == len({r["problem"] for r in short})

    (row,) = rows(
        catalog,
        "SELECT r.response_id, q.text, r.thinking, r.answer, n.byte_end FROM responses AS r"
        " JOIN questions AS q USING (question_id) JOIN sentences AS n USING (response_id)"
        " ORDER BY n.byte_end[-1] LIMIT 1",
    )
    text = (row["thinking"] + row["answer"]).encode()
    for name in ("teacher", "student"):
        counts, logprobs = naive(str(TINY / name), row["text"], row["thinking"], row["answer"])
        counted, summed = reference(text, counts, logprobs, row["byte_end"])
        kept = rows(
            catalog,
            "SELECT n_tokens, p FROM sentences_flat JOIN scorers USING (scorer_id)"
            f" WHERE name = '{name}' AND response_id = '{row['response_id']}'"
            " ORDER BY sentence_index",
        )
        assert [k["n_tokens"] for k in kept] == counted
        for k, n, total in zip(kept, counted, summed, strict=True):
            expected = math.exp(total / n) if n else None
            assert k["p"] == (pytest.approx(expected, abs=1e-5) if n else None)
