"""What the tiny pair's samples look like: accuracy, labels, lengths, and what a selection would do.

    python measure.py --teacher teacher --student student

Per sentence and model, p = exp(sum of log-probs / tokens), each model under its own tokenizer; a
Teacher sentence has p_T - p_S > 0.1, a Student sentence the reverse. Sentences end at a newline or
at a full stop, question or exclamation mark before white space: a plain splitter, enough here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm import byte_table, load, logprobs, prompt_ids

BETA = 0.1
CONTEXT = 8192
HERE = Path(__file__).parent
TAGS = ("<think>", "</think>")


@dataclass(frozen=True)
class Candidate:
    """One completion under both models; p_t and p_s hold one value a sentence."""

    length: int  # bytes
    correct: bool | None
    finish_reason: str
    p_t: np.ndarray
    p_s: np.ndarray

    @property
    def teacher(self) -> int:
        """The number of Teacher sentences."""
        return int((self.p_t - self.p_s > BETA).sum())


def sentence_starts(text: bytes) -> list[int]:
    """Where sentences start, tiling the text; a think tag is a piece of its own."""
    ends = [m.end() for m in re.finditer(rb"</?think>\s*|\n+|[.?!]\s+", text)]
    before_tags = [m.start() for m in re.finditer(rb"</?think>", text)]
    return sorted({0, *ends, *before_tags} - {len(text)})


def sentence_p(text: bytes, pieces: list[bytes], values: list[float]) -> np.ndarray:
    """p of every sentence that holds a token, NaN for the others (tags among them).

    A token belongs to the sentence of its first non-whitespace byte, else of its first byte.
    """
    starts = sentence_starts(text)
    offsets = np.array([0, *accumulate(map(len, pieces))][:-1])
    lead = [len(p) - len(p.lstrip()) if p.strip() else 0 for p in pieces]
    where = np.searchsorted(starts, offsets + lead, side="right") - 1
    tags = {i for i, s in enumerate(starts) if text[s:].startswith((b"<think>", b"</think>"))}
    kept = np.array([bool(p) and w not in tags for p, w in zip(pieces, where, strict=True)])
    total = np.bincount(where[kept], np.array(values)[kept], len(starts))
    count = np.bincount(where[kept], minlength=len(starts))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.exp(total / count)


def answered(domain: str, text: str) -> str | None:
    """The final answer of a completion: what is boxed, or the text after the thinking."""
    if "</think>" not in text:
        return None
    final = text.rsplit("</think>", 1)[-1].strip()
    box = re.search(r"\\boxed\{([^}]*)\}", final)
    return final if domain == "instruction_following" else box and box[1]


class Scorer:
    """One model of the pair, as a function from (question, text) to sentence values."""

    def __init__(self, folder: Path) -> None:
        self.model, self.tokenizer = load(folder)
        self.bytes = byte_table(self.tokenizer)

    def sentences(self, question: str, text: str, ids: list[int] | None = None) -> np.ndarray:
        """p of every sentence; of the given ids, else of the text as this tokenizer cuts it."""
        ids = self.tokenizer(text)["input_ids"] if ids is None else ids
        values = logprobs(self.model, prompt_ids(self.tokenizer, question), ids)
        return sentence_p(text.encode(), [self.bytes[i] for i in ids], values)


def score_sampled(row: dict[str, Any], teacher: Scorer, student: Scorer) -> list[Candidate]:
    """The choices of a row of samples; the teacher's values are those that were stored."""
    made = []
    for choice in row["choices"]:
        text = choice["text"]
        pieces = [teacher.bytes[i] for i in choice["token_ids"]]
        p_t = sentence_p(text.encode(), pieces, choice["logprobs"])
        p_s = student.sentences(row["question"], text)
        both = ~np.isnan(p_t) & ~np.isnan(p_s)
        right = answered(row["domain"], text) == row["reference_answer"]
        size = len(text.encode())
        made.append(Candidate(size, right, choice["finish_reason"], p_t[both], p_s[both]))
    return made


def score_given(row: dict[str, Any], teacher: Scorer, student: Scorer) -> list[Candidate]:
    """The completions of a row of candidates that neither model wrote."""
    made = []
    for text, right in zip(row["completions"], row["is_correct"], strict=True):
        p_t, p_s = (m.sentences(row["prompt"], text) for m in (teacher, student))
        both = ~np.isnan(p_t) & ~np.isnan(p_s)
        made.append(Candidate(len(text.encode()), right, "stop", p_t[both], p_s[both]))
    return made


def overlap(groups: list[list[Candidate]]) -> float:
    """Share of questions whose candidate with most Teacher sentences (the first) is a longest."""
    picks = [(max(g, key=lambda c: c.teacher), max(c.length for c in g)) for g in groups]
    return float(np.mean([pick.length == longest for pick, longest in picks]))


def correlation(candidates: list[Candidate]) -> float:
    """Correlation of log count of Teacher sentences (plus one) with log length."""
    counts = np.log1p([c.teacher for c in candidates])
    return float(np.corrcoef(counts, np.log([c.length for c in candidates]))[0, 1])


def line(name: str, groups: list[list[Candidate]]) -> str:
    """One row of the table."""
    every = [c for g in groups for c in g]
    p_t, p_s = np.concatenate([c.p_t for c in every]), np.concatenate([c.p_s for c in every])
    diff = p_t - p_s
    teacher, student = np.mean(diff > BETA), np.mean(diff < -BETA)
    return (
        f"| {name} | {len(every)} | {np.mean([bool(c.correct) for c in every]):.3f} "
        f"| {np.mean([c.finish_reason == 'length' for c in every]):.3f} "
        f"| {np.mean([c.length for c in every]):.0f} "
        f"| {teacher:.3f} | {1 - teacher - student:.3f} | {student:.3f} "
        f"| {np.median(p_t):.3f} | {np.median(p_s):.3f} "
        f"| {np.mean([c.teacher for c in every]):.1f} "
        f"| {correlation(every):.2f} | {overlap(groups):.2f} |"
    )


def near_and_far(one: Scorer, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean log-prob of the first and of the last 1,500 tokens of a context full of samples."""
    texts = [(r["question"], c["text"]) for r in rows for c in r["choices"]]
    random.Random(0).shuffle(texts)
    ids: list[int] = []
    for question, text in texts:
        ids += prompt_ids(one.tokenizer, question) + one.tokenizer(text + "<|im_end|>")["input_ids"]
    values = logprobs(one.model, ids[:1], ids[1:CONTEXT])
    return float(np.mean(values[:1500])), float(np.mean(values[-1500:]))


HEADER = (
    "| | candidates | correct | cut off | bytes | Teacher | Shared | Student | median p_T "
    "| median p_S | Teacher count | corr(log count, log bytes) | DAS = longest |"
)


def read_rows(path: Path, limit: int | None) -> list[dict[str, Any]]:
    """Rows of a gzipped JSONL file, the first `limit` of each domain."""
    seen: dict[str, int] = defaultdict(int)
    rows = []
    for row in map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines()):
        seen[row["domain"]] += 1
        if limit is None or seen[row["domain"]] <= limit:
            rows.append(row)
    return rows


def main() -> None:
    """Print the table of the samples and of the GSM8K candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, default=HERE / "teacher")
    parser.add_argument("--student", type=Path, default=HERE / "student")
    parser.add_argument("--samples", type=Path, default=HERE / "samples.jsonl.gz")
    parser.add_argument("--candidates", type=Path, default=HERE / "gsm8k_candidates.jsonl.gz")
    parser.add_argument("--limit", type=int, help="rows a domain")
    args = parser.parse_args()
    torch.set_num_threads(2)
    teacher, student = Scorer(args.teacher), Scorer(args.student)
    groups: dict[str, list[list[Candidate]]] = defaultdict(list)
    samples = read_rows(args.samples, args.limit)
    for row in samples:
        scored = score_sampled(row, teacher, student)
        groups[f"{row['domain']} T={row['temperature']}"].append(scored)
        groups["all samples"].append(scored)
    for row in read_rows(args.candidates, args.limit):
        groups["GSM8K candidates"].append(score_given(row, teacher, student))
    print(HEADER + "\n" + "|---" * 13 + "|")
    for name, group in sorted(groups.items()):
        print(line(name, group))
    for name, one in (("teacher", teacher), ("student", student)):
        near, far = near_and_far(one, samples)
        print(
            f"\n{name}, {CONTEXT} tokens of samples: mean log-prob {near:.2f} first, {far:.2f} last"
        )


if __name__ == "__main__":
    main()
