"""The sample stage: completions that the catalog's questions still lack, under one teacher.

A batch is committed in two steps: first `tokens`, which is what the engine gave and what nobody
can compute again, then the responses that are read from them, with their sentences and sums. A
run that dies between leaves tokens whose responses the next run reads without sampling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builders import executor as executors
from builders.executor import Batch, Batches, Executor, Item, Items, Local, Progress, commit_all
from builders.executor.pending import Pending
from builders.run import Notes, Run, to_table
from builders.sample.engine import SampleRequest, SampleResult
from builders.sample.plan import SampleRun, Wanted, planned, texts_of
from builders.sample.prompt import Completion
from builders.segment import SEGMENTER
from builders.segment.derive import score_rows, sentence_rows
from builders.segment.stage import failures
from dasd_data.catalog import Catalog
from dasd_data.errors import RowError
from dasd_data.parameters import quote
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.writer import Writer

READ_QUESTIONS = 2_000
SHARD = 256  # samples that a worker of a cluster takes at a time

# Asked: a sample and its prompt; rows: a response and its tokens.
_Pending = Pending[tuple[Wanted, np.ndarray], tuple[dict[str, Any], dict[str, Any]]]


def sample(
    catalog: Catalog,
    what: SampleRun,
    progress: Progress = lambda counts: None,
    committed: Progress = lambda counts: None,
    executor: Executor | None = None,
) -> Counter[str]:
    """Sample what is missing; commits every minute, so an interruption loses a minute at most.

    A sample that comes to nothing (over the context, an engine's failure) is kept in `attempts`
    with the reason, and is tried again only with `retry`. `progress` is called when the work
    begins, for every result and while the engine works, `committed` after each commit. Returns
    counts by name: `wanted`, `done` and `failed` samples, tokens, ends and reasons.
    """
    catalog.refresh().verify_files(TABLES)
    with closing(_session(catalog)) as session:  # before the run: it may refuse what is asked for
        left = Counter[str]()
        wanted = planned(session, what, Writer(catalog.store, "sample"), left)
    settings = {
        **what.configuration(),
        **what.request(),
        "segmenter": SEGMENTER,
        "wanted": len(wanted),
    }
    with Run(catalog.store, "sample", settings) as run:
        run.append({"scorers": to_table("scorers", [what.scorer_row()])})
        run.counts["wanted"] = len(wanted)
        run.counts.update(+left)

        def commit(batch: Batch) -> None:
            run.counts["sampled by another run"] += executors.commit(run, batch, "tokens")
            run.event("batch")
            committed(run.counts)

        def tell() -> None:
            progress(run.counts)

        tell()
        recovered = Items(wanted.table.filter(wanted.table["sampled"]))
        if len(recovered):  # their writer may have died before its snapshot
            catalog.store.record("sample")
            work = Local(what).run(_recovered, catalog.refresh(), recovered, run, READ_QUESTIONS)
            commit_all(work, commit, tell)
        new = Items(wanted.table.filter(pc.invert(wanted.table["sampled"])))
        chosen = executor or Local(what)
        commit_all(chosen.run(_sampled, catalog, new, run, SHARD), commit, tell)
    catalog.refresh()
    return run.counts


def _session(catalog: Catalog) -> Session:
    return catalog.session(settings={"require_scores": False})


def _sampled(what: SampleRun, catalog: Catalog, items: Iterable[Item], notes: Notes) -> Batches:
    """The work: samples of the questions, as the engine ends them."""
    incoming = iter(items)
    first = list(islice(incoming, 1))
    if not first:
        return
    _compile(what)
    pending: _Pending = Pending()
    with closing(_session(catalog)) as session:
        wanted = (what.wanted(*item) for item in chain(first, incoming))
        requests = _requests(session, wanted, what, pending, notes)
        yield from executors.gathered(
            what.generator.generate(requests, what.sampling),
            lambda result: _take(result, what, pending, notes),
            pending.due,
            lambda: pending.batch(lambda: _tables(pending, notes)),
        )


def _compile(what: SampleRun) -> None:
    """Take a made-up completion: the first commit would wait minutes for numba's compiler.

    The engine would stand still meanwhile, and so would Ctrl-C.
    """
    pending, notes = _Pending(), Notes("", "sample")
    ids = np.array(what.prompt.tokenizer.encode("It is 7. Is it?"), np.int32)
    pending.under_way["made up"] = Wanted("made up", "made up", 0), ids
    result = SampleResult("made up", ids, np.full(len(ids), -0.5, np.float32), "length")
    _take(result, what, pending, notes)
    pending.batch(lambda: _tables(pending, notes))


def _recovered(what: SampleRun, catalog: Catalog, items: Iterable[Item], notes: Notes) -> Batches:
    """The work: samples whose tokens an earlier run wrote before it died."""
    pending: _Pending = Pending()
    before = notes.counts.copy()
    with closing(_session(catalog)) as session:
        for part in executors.chunks(items, READ_QUESTIONS):
            some = {w.key: w for w in (what.wanted(*item) for item in part)}
            rows = session.rows(
                "SELECT response_id, token_ids, prompt_ids, logprobs FROM tokens"
                f" WHERE scorer_id = {quote(what.scorer_id)}"
                f" AND response_id IN ({', '.join(map(quote, some))})"
            )
            for row in rows:
                key, ids = row["response_id"], row["token_ids"]
                pending.under_way[key] = some[key], np.array(row["prompt_ids"], np.int32)
                logprobs = np.array(row["logprobs"], np.float32)
                _take(SampleResult(key, np.array(ids, np.int32), logprobs), what, pending, notes)
            notes.counts["recovered"] += len(rows)
            for name in ("prompt_tokens", "sampled_tokens"):  # the earlier run counted them
                notes.counts[name] = before[name]
            yield pending.batch(lambda: _tables(pending, notes))


def _requests(
    session: Session, wanted: Iterable[Wanted], what: SampleRun, pending: _Pending, notes: Notes
) -> Iterator[SampleRequest]:
    """Requests for the wanted samples; a question that no prompt can hold becomes a failure."""
    incoming = iter(wanted)
    while some := list(islice(incoming, READ_QUESTIONS)):
        prompts = {
            question: _prompt(what, *asked)
            for question, asked in texts_of(session, [w.question_id for w in some]).items()
        }
        for want in some:
            prompt = prompts[want.question_id]
            if isinstance(prompt, RowError):
                _fail(want, f"no prompt: {prompt}", what, pending, notes)
                continue
            pending.under_way[want.key] = want, prompt
            yield SampleRequest(want.key, prompt, what.sample_seed(want))


def _prompt(what: SampleRun, question: str, system: str | None) -> np.ndarray | RowError:
    try:
        return what.prompt.ids(question, system)
    except RowError as error:
        return error


def _take(result: SampleResult, what: SampleRun, pending: _Pending, notes: Notes) -> None:
    want, prompt = pending.under_way.pop(result.key)
    if result.token_ids is None or result.logprobs is None:
        _fail(want, result.error or "failed", what, pending, notes)
        return
    ids = result.token_ids
    notes.counts["sampled_tokens"] += len(ids)
    notes.counts["prompt_tokens"] += len(prompt)
    try:
        read = what.prompt.read(ids.tolist())
    except RowError as error:
        _fail(want, f"unreadable completion: {error}", what, pending, notes, ids)
        return
    finish = "stop" if len(ids) and int(ids[-1]) in what.sampling.stop_ids else "length"
    if result.finish_reason == "stop" and finish != "stop":
        _fail(want, f"unknown end: it stopped at {ids[-1:]}", what, pending, notes, ids)
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
        "run_id": notes.run_id,
    }
    rows = _response(want, read, finish, what, notes), tokens
    pending.finish(want.item, rows, 16 * len(ids) + 4 * len(prompt), notes)
    notes.counts[f"finished: {finish}"] += 1


def _response(
    want: Wanted, read: Completion, finish_reason: str, what: SampleRun, notes: Notes
) -> dict[str, Any]:
    return {
        "response_id": want.key,
        "question_id": want.question_id,
        "run_id": notes.run_id,
        "source": f"sampled: {what.name}",
        "policy": what.policy,
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


def _fail(
    want: Wanted,
    why: str,
    what: SampleRun,
    pending: _Pending,
    notes: Notes,
    token_ids: np.ndarray | None = None,
) -> None:
    row = notes.attempt(want.key, what.scorer_id, why, want.attempt)
    pending.fail(want.item, {**row, "token_ids": token_ids}, notes)


def _tables(pending: _Pending, notes: Notes) -> dict[str, pa.Table]:
    """What is finished: tokens, what is read from them, and why others failed."""
    rows = [row for row, _ in pending.done]
    responses, tokens = (
        to_table(name, part)
        for name, part in (("responses", rows), ("tokens", [row for _, row in pending.done]))
    )
    sentences = sentence_rows(rows, notes.run_id)
    texts = responses.select(["response_id", "thinking", "answer"])
    for name in ("byte_end", "segmentation_id"):
        texts = texts.append_column(name, sentences[name])
    scored = score_rows(texts, tokens, lambda scorer: None, notes.run_id)
    failed = failures(scored.failed, notes)
    return {
        "tokens": tokens,
        "attempts": pa.concat_tables([to_table("attempts", pending.failed), failed]),
        "sentences": sentences,
        "sentence_scores": scored.rows,
        "responses": responses,
    }
