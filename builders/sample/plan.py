"""What a sample run wants, and which of it is missing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from builders.executor import Items, chunks
from builders.ingest.batch import scorer_fields, scorer_id, scorer_row
from builders.records import Scorer
from builders.sample.engine import Generator, Sampling
from builders.sample.prompt import ChatPrompt
from dasd_data.catalog import Catalog
from dasd_data.errors import RowError, UsageError
from dasd_data.keys import digest
from dasd_data.parameters import quote
from dasd_data.session import Session
from dasd_data.writer import Writer

READ_KEYS = 10_000  # samples whose keys are looked up at a time
MEASURED = 2_000  # questions whose prompts an estimate renders; the rest count as these do

_QUESTIONS = """
SELECT q.question_id, q.text, d.domain, d.reference_answer
FROM questions AS q
INNER JOIN question_domains AS d USING (question_id)
"""


@dataclass
class SampleRun:
    """What is sampled, how, and under which name.

    `scorer` is the whole context: engine and prompt. `n` completions are wanted of each question
    that meets `where` (a condition on question_id, text, domain and reference_answer), of the
    first `limit` questions by id: ids are hashes, so the first ones are a random sample. `policy`
    is whose they are: the teacher's, from which splits choose, or the student's. `retry` takes up
    what came to nothing: `failed` tries, or `truncated` completions under another max_tokens or
    seed.
    """

    generator: Generator
    prompt: ChatPrompt
    scorer: Scorer
    name: str
    sampling: Sampling
    n: int = 1
    seed: int = 0
    policy: str = "teacher"
    tokenizer_path: str | None = None
    echo: tuple[float, ...] = ()
    where: str | None = None
    limit: int | None = None
    retry: str | None = None

    @cached_property
    def scorer_id(self) -> str:
        """Id of the scoring context of the log-probs."""
        return scorer_id(self.scorer)

    def portable(self) -> SampleRun:
        """The run without its engine, as it can be sent to other processes."""
        return replace(self, generator=None)  # type: ignore[arg-type]

    def scorer_row(self) -> dict[str, Any]:
        """Its row of `scorers`."""
        return scorer_row(self.scorer, self.name, self.tokenizer_path)

    def configuration(self) -> dict[str, Any]:
        """What a response's key hashes besides question and sample index, and the name."""
        return {
            **scorer_fields(self.scorer),
            **asdict(self.sampling),
            "stop_ids": list(self.sampling.stop_ids),
            "seed": self.seed,
            "policy": self.policy,
            "name": self.name,
        }

    def request(self) -> dict[str, Any]:
        """What was asked for beside that: it changes no key."""
        names = ("n", "where", "limit", "retry", "scorer_id", "echo")
        return {name: getattr(self, name) for name in names}

    def response_id(self, question: str, index: int) -> str:
        """Id of one sample: of everything that decides what is drawn, and whose it is."""
        whose = () if self.policy == "teacher" else (self.policy,)
        parts = (question, self.scorer_id, self._sampling, self.seed, index, *whose)
        return digest("sampled", *parts)

    @cached_property
    def _sampling(self) -> dict[str, Any]:
        return asdict(self.sampling)

    def wanted(self, question: str, index: int, attempt: int, sampled: bool) -> Wanted:
        """A sample that is missing; see `Wanted.item`."""
        return Wanted(self.response_id(question, index), question, index, attempt, sampled)

    def sample_seed(self, want: Wanted) -> int:
        """Seed of one try, below 2**53, so that no JSON reader rounds it.

        Another temperature draws other numbers, and so does another try. Under a larger cap a
        completion begins as it did.
        """
        sampling = f"{self.sampling.temperature}:{self.sampling.top_p}"
        text = f"{self.seed}:{sampling}:{want.question_id}:{want.sample_index}:{want.attempt}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 11


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sample that is missing.

    `attempt` is its number among the tries; `sampled`: its tokens are there already, written by
    a run that died before it wrote the response.
    """

    key: str
    question_id: str
    sample_index: int
    attempt: int = 0
    sampled: bool = False

    @property
    def item(self) -> tuple[str, int, int, bool]:
        """All but the key, from which `SampleRun.wanted` makes it again."""
        return (self.question_id, self.sample_index, self.attempt, self.sampled)


_ITEM = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("attempt", pa.int32()),
        ("sampled", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Estimate:
    """What a run would do. `prompt_tokens` is of whole prompts, counted once for each sample.

    `expected_tokens` multiplies the mean length of this model's completions in the catalog at
    this temperature, none above the cap, None without any, and `bytes` what a token has taken in
    the catalog so far; `most_tokens` is the cap of all, and `most_bytes` their size before it is
    compressed. `failed_before` are left alone.
    """

    samples: int
    questions: int
    prompt_tokens: int
    expected_tokens: int | None
    most_tokens: int
    bytes: int | None
    most_bytes: int
    refused: int
    failed_before: int


def missing(
    session: Session, what: SampleRun, writer: Writer, left: Counter[str]
) -> Iterator[Wanted]:
    """The samples that are neither there nor given up on, by question id and sample index.

    `left` counts what is left alone: those that are `failed before`, and those that are `whole by
    now`, of which another completion was cut off. Raises UsageError where `retry` would only repeat
    what was cut off.
    """
    failed = _failed(session, what)
    truncated = what.retry == "truncated"
    found = _truncated(session, what, writer, left) if truncated else _unmade(session, what, writer)
    for want in found:
        if want.sampled or want.key not in failed:
            yield want
        elif what.retry == "failed":
            yield replace(want, attempt=failed[want.key] + 1)
        elif what.retry is None:
            left["failed before"] += 1


def planned(session: Session, what: SampleRun, writer: Writer, left: Counter[str]) -> Items:
    """The items of the samples that are missing: 45 bytes each in memory, for millions."""
    found = (want.item for want in missing(session, what, writer, left))
    parts = [
        pa.table([list(column) for column in zip(*some, strict=True)], schema=_ITEM)
        for some in chunks(found, READ_KEYS)
    ]
    return Items(pa.concat_tables([_ITEM.empty_table(), *parts]))


def _unmade(session: Session, what: SampleRun, writer: Writer) -> Iterator[Wanted]:
    """The samples of the questions asked for whose responses are not there."""
    rows = session.rows(f"SELECT question_id FROM ({questions(session, what)}) ORDER BY ALL")
    ids = [row["question_id"] for row in rows]
    step = max(1, READ_KEYS // what.n)
    for start in range(0, len(ids), step):
        yield from _absent(
            what, writer, [(q, i) for q in ids[start : start + step] for i in range(what.n)]
        )


def _absent(
    what: SampleRun, writer: Writer, samples: Sequence[tuple[str, int]]
) -> Iterator[Wanted]:
    """The samples whose responses are not there."""
    keys = [what.response_id(*sample) for sample in samples]
    rows = pa.table({"response_id": pa.array(keys, pa.string())})
    there = writer.known("responses", rows).tolist()
    scorers = pa.array([what.scorer_id] * len(keys), pa.string())
    drawn = writer.known("tokens", rows.append_column("scorer_id", scorers)).tolist()
    for key, (question, index), response, tokens in zip(keys, samples, there, drawn, strict=True):
        if not response:
            yield Wanted(key, question, index, sampled=tokens)


def check_where(catalog: Catalog, where: str | None) -> None:
    """Raise UsageError, UnknownNameError or DeniedError where it is no condition on questions."""
    if where:
        session = catalog.session(settings={"require_scores": False})
        _where(session, where)
        session.close()


def _where(session: Session, where: str) -> str:
    sql = f"SELECT * FROM ({_QUESTIONS}) WHERE ({where})"
    session.query(sql)  # one condition, and no more
    return sql


def questions(session: Session, what: SampleRun) -> str:
    """SELECT of the questions asked for."""
    sql = _where(session, what.where) if what.where else _QUESTIONS
    return sql + (f" ORDER BY question_id LIMIT {what.limit}" if what.limit else "")


def _failed(session: Session, what: SampleRun) -> dict[str, int]:
    """Samples that came to nothing, with the number of their last try."""
    rows = session.rows(
        "SELECT response_id, max(attempt) AS attempt FROM attempts WHERE stage = 'sample'"
        f" AND scorer_id = {quote(what.scorer_id)} GROUP BY response_id"
    )
    return {row["response_id"]: row["attempt"] for row in rows}


def _truncated(
    session: Session, what: SampleRun, writer: Writer, left: Counter[str]
) -> Iterator[Wanted]:
    """Samples of this context all of whose completions were cut off, under other settings only.

    Raises UsageError where none was cut off under others: the same would be cut off again.
    """
    rows = session.rows(
        "SELECT r.question_id, r.sample_index, count(*) AS completions,"
        " bool_or(r.finish_reason <> 'length') AS whole FROM responses AS r"
        " INNER JOIN (SELECT DISTINCT response_id FROM tokens"
        f" WHERE scorer_id = {quote(what.scorer_id)}) AS t USING (response_id)"
        f" WHERE r.question_id IN (SELECT question_id FROM ({questions(session, what)}))"
        f" AND r.temperature = {what.sampling.temperature} AND r.top_p = {what.sampling.top_p}"
        f" AND r.policy = {quote(what.policy)}"
        " GROUP BY r.question_id, r.sample_index"
        " HAVING bool_or(r.finish_reason = 'length') ORDER BY ALL"
    )
    left["whole by now"] = sum(row["whole"] for row in rows)
    rows = [row for row in rows if not row["whole"]]
    wanted = list(
        _absent(what, writer, [(row["question_id"], row["sample_index"]) for row in rows])
    )
    if rows and not wanted and all(row["completions"] == 1 for row in rows):
        raise UsageError(
            f"the {len(rows):,} truncated samples were cut off under these very settings: give "
            "another --max-tokens or --seed"
        )
    yield from wanted


def changes(catalog: Catalog, what: SampleRun) -> dict[str, tuple[Any, Any]]:
    """Settings in which this run differs from the newest one of its name and temperature.

    Each of them makes new keys: what was sampled before does not count for this run.
    """
    now = what.configuration()
    for then in catalog.configurations("sample"):
        if all(then.get(k) == now[k] for k in ("name", "temperature")):
            return {k: (then.get(k), v) for k, v in now.items() if then.get(k) != v}
    return {}


def estimate(catalog: Catalog, what: SampleRun) -> Estimate:
    """What `sample` would do; writes nothing. Prompts of the first questions are rendered."""
    session = catalog.session(settings={"require_scores": False})
    samples: dict[str, int] = {}
    left = Counter[str]()
    for want in missing(session, what, Writer(catalog.store, "sample"), left):
        if not want.sampled:
            samples[want.question_id] = samples.get(want.question_id, 0) + 1
    total = sum(samples.values())
    most = total * what.sampling.max_tokens
    measured, tokens, refused = 0, 0, 0
    for question, (text, system) in texts_of(session, list(samples)[:MEASURED]).items():
        try:
            tokens += samples[question] * len(what.prompt.ids(text, system))
            measured += samples[question]
        except RowError:
            refused += 1
    # Under another cap a completion begins as it did: it is at least as long as it was cut.
    cut = "n_tokens >= (SELECT min(n_tokens) FROM made WHERE finish_reason = 'length')"
    (before,) = session.rows(
        "WITH made AS (SELECT n_tokens, finish_reason FROM tokens INNER JOIN responses"
        f" USING (response_id) WHERE scorer_id = {quote(what.scorer_id)}"
        f" AND temperature = {what.sampling.temperature})"
        f" SELECT avg(least(n_tokens, {what.sampling.max_tokens})) AS mean FROM made"
        f" WHERE {cut if what.retry == 'truncated' else 'true'}"
    )
    (all_tokens,) = session.rows("SELECT sum(n_tokens) AS n FROM tokens")
    session.close()
    prompts = round(tokens * total / measured) if measured else 0
    expected = None if before["mean"] is None else round(before["mean"] * total)
    size = sum(path.stat().st_size for name in _WRITTEN for path in catalog.files[name])
    return Estimate(
        samples=total,
        questions=len(samples),
        prompt_tokens=prompts,
        expected_tokens=expected,
        most_tokens=most,
        bytes=round(size / all_tokens["n"] * expected) if expected and all_tokens["n"] else None,
        most_bytes=most * TOKEN_BYTES + prompts * 4,  # a prompt is kept as its ids
        refused=refused,
        failed_before=left["failed before"],
    )


TOKEN_BYTES = 16  # id, length and log-prob, and about as much text
_WRITTEN = ("announced", "responses", "tokens", "sentences", "sentence_scores")


def texts_of(session: Session, ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Questions by id, in the order of `ids`: text, and the system prompt that is part of one."""
    if not ids:
        return {}
    names = ", ".join(quote(q) for q in set(ids))
    rows = session.rows(
        "SELECT question_id, text, (SELECT max(meta ->> '$.system') FROM question_sources AS s"
        " WHERE s.question_id = q.question_id) AS system"
        f" FROM questions AS q WHERE question_id IN ({names})"
    )
    texts = {row["question_id"]: (row["text"], row["system"]) for row in rows}
    return {q: texts[q] for q in dict.fromkeys(ids)}
