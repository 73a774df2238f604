"""The sample stage: completions that the catalog's questions still lack, under one teacher.

A batch is committed in two steps: first `tokens`, which is what the engine gave and what nobody
can compute again, then the responses that are read from them, with their sentences and sums. A
run that dies between leaves tokens whose responses the next run reads without sampling.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builders.ingest.batch import scorer_fields
from builders.run import Run, to_table
from builders.sample.engine import SampleRequest, SampleResult
from builders.sample.plan import SampleRun, Wanted, missing, texts_of
from builders.sample.prompt import Completion
from builders.segment.derive import score_rows, sentence_rows
from builders.segment.stage import failures
from dasd_data.catalog import Catalog
from dasd_data.errors import RowError
from dasd_data.parameters import quote
from dasd_data.schema import TABLES
from dasd_data.session import Session

COMMIT_BYTES, COMMIT_SECONDS = 64 << 20, 60.0  # work at risk when the process dies
READ_QUESTIONS = 200

Progress = Callable[[Counter[str]], None]


@dataclass
class _Pending:
    """Requests under way, and finished rows that wait for their commit.

    `done` has the response and the tokens of a sample as one entry: an interruption cannot part
    them.
    """

    wanted: dict[str, Wanted] = field(default_factory=dict)
    prompts: dict[str, np.ndarray] = field(default_factory=dict)
    done: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return self.size >= COMMIT_BYTES or time.monotonic() - self.since >= COMMIT_SECONDS


def sample(
    catalog: Catalog,
    what: SampleRun,
    progress: Progress = lambda counts: None,
    committed: Progress = lambda counts: None,
) -> Counter[str]:
    """Sample what is missing; commits every minute, so an interruption loses a minute at most.

    A sample that comes to nothing (over the context, an engine's failure) is kept in `attempts`
    with the reason, and is tried again only with `retry`. `progress` is called for every result
    and while the engine works, `committed` after each commit. Returns counts by name: `wanted`,
    `done` and `failed` samples, tokens, ends and reasons.
    """
    catalog.verify_files(TABLES)
    session = _session(catalog)
    with Run(catalog.store, "sample", what.configuration() | what.request()) as run:
        run.append({"scorers": to_table("scorers", [_scorer_row(what)])})
        wanted = list(missing(session, what, run.writer))
        run.counts["wanted"] = len(wanted)
        if any(w.sampled for w in wanted):  # their writer may have died before its snapshot
            session.close()
            catalog.store.record("sample")
            session = _session(catalog.refresh())
        pending = _Pending()
        try:
            _recover(session, [w for w in wanted if w.sampled], what, pending, run)
            new = [w for w in wanted if not w.sampled]
            requests = _requests(session, new, what, pending, run)
            for result in what.generator.generate(requests, what.sampling):
                if result is not None:
                    _take(result, what, pending, run)
                progress(run.counts)
                if pending.due():
                    _commit(what, pending, run)
                    committed(run.counts)
        finally:  # also on Ctrl-C: what is done is kept
            if pending.done or pending.failed:
                _commit(what, pending, run)
                committed(run.counts)
    session.close()
    catalog.refresh()
    return run.counts


def _session(catalog: Catalog) -> Session:
    return catalog.session(settings={"require_scores": False})


def _requests(
    session: Session, wanted: Sequence[Wanted], what: SampleRun, pending: _Pending, run: Run
) -> Iterator[SampleRequest]:
    """Requests for the wanted samples; a question that no prompt can hold becomes a failure."""
    for start in range(0, len(wanted), READ_QUESTIONS):
        some = wanted[start : start + READ_QUESTIONS]
        prompts = {
            question: _prompt(what, *asked)
            for question, asked in texts_of(session, [w.question_id for w in some]).items()
        }
        for want in some:
            prompt = prompts[want.question_id]
            pending.wanted[want.key] = want
            if isinstance(prompt, RowError):
                _fail(want.key, f"no prompt: {prompt}", what, pending, run)
                continue
            pending.prompts[want.key] = prompt
            yield SampleRequest(want.key, prompt, what.sample_seed(want))


def _prompt(what: SampleRun, question: str, system: str | None) -> np.ndarray | RowError:
    try:
        return what.prompt.ids(question, system)
    except RowError as error:
        return error


def _recover(
    session: Session, wanted: Sequence[Wanted], what: SampleRun, pending: _Pending, run: Run
) -> None:
    """Take samples whose tokens an earlier run wrote before it died."""
    for start in range(0, len(wanted), READ_QUESTIONS):
        some = {w.key: w for w in wanted[start : start + READ_QUESTIONS]}
        rows = session.rows(
            "SELECT response_id, token_ids, prompt_ids, logprobs FROM tokens"
            f" WHERE scorer_id = {quote(what.scorer_id)}"
            f" AND response_id IN ({', '.join(map(quote, some))})"
        )
        for row in rows:
            key, ids = row["response_id"], row["token_ids"]
            pending.wanted[key] = some[key]
            pending.prompts[key] = np.array(row["prompt_ids"], np.int32)
            logprobs = np.array(row["logprobs"], np.float32)
            _take(SampleResult(key, np.array(ids, np.int32), logprobs), what, pending, run)
        run.counts["recovered"] += len(rows)
        _commit(what, pending, run)
    for name in ("prompt_tokens", "sampled_tokens"):  # the earlier run counted them
        run.counts[name] = 0


def _take(result: SampleResult, what: SampleRun, pending: _Pending, run: Run) -> None:
    prompt = pending.prompts.pop(result.key)
    if result.token_ids is None or result.logprobs is None:
        _fail(result.key, result.error or "failed", what, pending, run)
        return
    try:
        read = what.prompt.read(result.token_ids.tolist())
    except RowError as error:
        _fail(result.key, f"unreadable completion: {error}", what, pending, run)
        return
    ids = result.token_ids
    finish = "stop" if len(ids) and int(ids[-1]) in what.sampling.stop_ids else "length"
    if result.finish_reason == "stop" and finish != "stop":
        _fail(result.key, f"unknown end: it stopped at {ids[-1:]}", what, pending, run)
        return
    tokens = {
        "response_id": result.key,
        "scorer_id": what.scorer_id,
        "token_ids": ids,
        "prompt_ids": prompt,
        "token_bytes": read.token_bytes,
        "logprobs": result.logprobs,
        "sections": read.sections,
        "n_tokens": len(ids),
        "has_logprobs": True,
        "run_id": run.run_id,
    }
    response = _response(pending.wanted.pop(result.key), read, finish, what, run)
    pending.done.append((response, tokens))
    pending.size += 16 * len(ids) + 4 * len(prompt)
    run.counts["done"] += 1
    run.counts["sampled_tokens"] += len(ids)
    run.counts["prompt_tokens"] += len(prompt)
    run.counts[f"finished: {finish}"] += 1


def _response(
    want: Wanted, read: Completion, finish_reason: str, what: SampleRun, run: Run
) -> dict[str, Any]:
    return {
        "response_id": want.key,
        "question_id": want.question_id,
        "run_id": run.run_id,
        "source": f"sampled: {what.name}",
        "policy": "teacher",
        "model": what.scorer.model,
        "revision": what.scorer.revision,
        "temperature": what.sampling.temperature,
        "top_p": what.sampling.top_p,
        "max_tokens": what.sampling.max_tokens,
        "seed": what.sample_seed(want),
        "sample_index": want.sample_index,
        "thinking": read.thinking,
        "answer": read.answer,
        "finish_reason": finish_reason,
    }


def _fail(key: str, why: str, what: SampleRun, pending: _Pending, run: Run) -> None:
    want = pending.wanted.pop(key)
    run.counts["failed"] += 1
    run.counts[f"failed: {why.partition(':')[0]}"] += 1
    pending.failed.append(
        {
            "response_id": key,
            "stage": "sample",
            "scorer_id": what.scorer_id,
            "attempt": want.attempt,
            "reason": " ".join(why.split())[:500],
            "run_id": run.run_id,
        }
    )


def _commit(what: SampleRun, pending: _Pending, run: Run) -> None:
    """Commit finished samples: their tokens, then what is read from them. Records an event."""
    if pending.done or pending.failed:
        tokens = to_table("tokens", [row for _, row in pending.done])
        done = run.append({"tokens": tokens, "attempts": to_table("attempts", pending.failed)})
        others = done["tokens"].conflicts if "tokens" in done else None
        _commit_responses([row for row, _ in pending.done], tokens, _keys(others), run)
    run.event("batch")
    pending.done, pending.failed = [], []
    pending.size, pending.since = 0, time.monotonic()


def _keys(conflicts: pa.Table | None) -> set[str]:
    return set(conflicts["response_id"].to_pylist()) if conflicts is not None else set()


def _commit_responses(
    rows: Sequence[Mapping[str, Any]], tokens: pa.Table, others: set[str], run: Run
) -> None:
    """Responses with their sentences and sums, but for those that another process sampled first."""
    mine = [row for row in rows if row["response_id"] not in others]
    if others:
        keys = pa.array(sorted(others), pa.string())
        tokens = tokens.filter(pc.invert(pc.is_in(tokens["response_id"], keys)))
    responses = to_table("responses", mine)
    sentences = sentence_rows(mine, run.run_id)
    texts = responses.select(["response_id", "thinking", "answer"])
    for name in ("byte_end", "segmentation_id"):
        texts = texts.append_column(name, sentences[name])
    scored = score_rows(texts, tokens, lambda scorer: None, run.run_id)
    done = run.append(
        {
            "attempts": failures(scored.failed, run),
            "sentences": sentences,
            "sentence_scores": scored.rows,
            "responses": responses,
        }
    )
    refused = _keys(done["responses"].conflicts) if "responses" in done else set()
    run.counts["sampled by another run"] += len(others) + len(refused)


def _scorer_row(what: SampleRun) -> Mapping[str, Any]:
    return {
        "scorer_id": what.scorer_id,
        "name": what.name,
        "tokenizer_path": what.tokenizer_path,
        **scorer_fields(what.scorer),
    }
