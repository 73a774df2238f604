"""The catalog's tables: columns, keys, comments and file layout, defined once.

Rows are append-only. `content_hash` is computed by the store over the columns that are neither key
nor provenance: the same key with the same content adds nothing, with other content is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

STRING, INT, BIGINT, DOUBLE = pa.string(), pa.int32(), pa.int64(), pa.float64()
BOOL, TIME = pa.bool_(), pa.timestamp("us", "UTC")


def _list(item: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", item))


INTS, TINYINTS, FLOATS = _list(INT), _list(pa.int8()), _list(pa.float32())


@dataclass(frozen=True)
class Column:
    """A column: `provenance` ones say how a row came to be and are no part of its content."""

    name: str
    type: pa.DataType
    comment: str
    provenance: bool = False


@dataclass(frozen=True)
class Table:
    """A relation of the catalog. `lists` tables hold long lists and get small row groups."""

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    lists: bool = False
    stream_split: tuple[str, ...] = field(default=())  # columns encoded BYTE_STREAM_SPLIT
    texts: tuple[str, ...] = field(default=())  # long texts: their bounds help nobody, and are long

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema; key columns are not nullable; comments travel as field metadata."""
        return pa.schema(
            pa.field(c.name, c.type, c.name not in self.key, {"comment": c.comment})
            for c in self.columns
        )

    @property
    def content(self) -> tuple[str, ...]:
        """Names of the columns that `content_hash` covers."""
        return tuple(
            c.name
            for c in self.columns
            if c.name not in self.key and not c.provenance and c.name != "content_hash"
        )


def _table(
    name: str, comment: str, key: str, columns: list[Column], **options: object
) -> tuple[str, Table]:
    hashed = Column("content_hash", BIGINT, "64-bit hash of the row's content", provenance=True)
    table = Table(name, comment, tuple(key.split()), (*columns, hashed), **options)  # type: ignore[arg-type]
    return name, table


_RUN = Column("run_id", STRING, "run that wrote the row", provenance=True)
_RESPONSE_ID = Column("response_id", STRING, "response")
_SCORER_ID = Column("scorer_id", STRING, "scoring context: hash of everything the values depend on")
_SEGMENTATION_ID = Column(
    "segmentation_id", STRING, "hash of the segmenter's version and of the spans"
)

# In commit order: responses are announced, then come their children, and `responses` last: it
# acknowledges them.
TABLES: dict[str, Table] = dict(
    [
        _table(
            "runs",
            "one stage's run: what was asked for, with which versions",
            "run_id",
            [
                Column("run_id", STRING, "run"),
                Column("stage", STRING, "ingest, sample, segment, score, filter, select"),
                Column("configuration", STRING, "JSON of the stage's settings"),
                Column("versions", STRING, "JSON of the code and library versions"),
                Column("host", STRING, "machine that ran it"),
                Column("started_at", TIME, "start"),
            ],
        ),
        _table(
            "run_events",
            "what happened in a run: batches, the end, a failure",
            "run_id sequence",
            [
                Column("run_id", STRING, "run"),
                Column("sequence", INT, "number of the event in its run, from 0"),
                Column("event", STRING, "batch, done, interrupted or failed"),
                Column("counts", STRING, "JSON of counts by name"),
                Column("message", STRING, "error text, where one ended the run"),
                Column("occurred_at", TIME, "time of the event"),
            ],
        ),
        _table(
            "quarantine",
            "input rows that could not be taken, with the reason",
            "file line reason",
            [
                Column("file", STRING, "input file"),
                Column("line", BIGINT, "line, or row number from 1 where a format has no lines"),
                Column("reason", STRING, "why the row was refused"),
                Column("raw", STRING, "start of the row as it was read", provenance=True),
                _RUN,
            ],
        ),
        _table(
            "attempts",
            "tries that gave no result: over-context, engine failures",
            "response_id stage scorer_id attempt",
            [
                _RESPONSE_ID,
                Column("stage", STRING, "stage that tried"),
                Column("scorer_id", STRING, "scorer that tried; empty where the stage has none"),
                Column("attempt", INT, "number of the try, from 0"),
                Column("reason", STRING, "why there is no result"),
                Column(
                    "token_ids", INTS, "what was sampled and could not be read", provenance=True
                ),
                _RUN,
            ],
            lists=True,
        ),
        _table(
            "questions",
            "one row per question text",
            "question_id",
            [
                Column("question_id", STRING, "hash of the text"),
                Column("text", STRING, "the question as it is put to a model"),
                Column(
                    "domain",
                    STRING,
                    "domain that its first source gave; `question_domains` has all of them in view",
                    provenance=True,
                ),
                Column(
                    "reference_answer",
                    STRING,
                    "answer given by the first source that had one",
                    provenance=True,
                ),
            ],
            texts=("text",),
        ),
        _table(
            "question_sources",
            "every place a question was found",
            "question_id source row domain",
            [
                Column("question_id", STRING, "question"),
                Column("source", STRING, "data set or file"),
                Column("row", STRING, "the source's key of the row, else its number"),
                Column("domain", STRING, "domain as this source gives it; empty: not given"),
                Column("reference_answer", STRING, "answer as this source gives it"),
                Column("license", STRING, "licence of the source"),
                Column("meta", STRING, "JSON of the source's other columns"),
            ],
        ),
        _table(
            "scorers",
            "scoring contexts and the names they go by",
            "scorer_id name",
            [
                _SCORER_ID,
                Column("name", STRING, "alias used by views: teacher, student, distilled, ..."),
                Column("model", STRING, "model"),
                Column("revision", STRING, "revision, or content hash of local weights"),
                Column("tokenizer", STRING, "hash that names the tokenizer"),
                Column(
                    "tokenizer_path", STRING, "where the tokenizer was read from", provenance=True
                ),
                Column("dtype", STRING, "precision of the forward pass"),
                Column("engine", STRING, "engine that computed the values"),
                Column("engine_version", STRING, "its version"),
                Column("logprobs_mode", STRING, "raw_logprobs, processed_logprobs or unknown"),
                Column(
                    "temperature",
                    DOUBLE,
                    "temperature of the distribution scored (1 under raw_logprobs); NULL: unknown",
                ),
                Column("context", STRING, "sampled_prompt or training_render"),
                Column("chat_template", STRING, "hash of the chat template"),
                Column("system_prompt", STRING, "system prompt"),
                Column("reasoning_effort", STRING, "reasoning effort of the prompt"),
                Column("date", STRING, "date in the prompt"),
            ],
        ),
        _table(
            "announced",
            "responses whose children may be there before them, and what they say",
            "response_id",
            [
                _RESPONSE_ID,
                Column("response_hash", BIGINT, "content_hash of the response to come"),
            ],
        ),
        _table(
            "tokens",
            "one completion's tokens under one scorer (cold: views never scan it)",
            "response_id scorer_id",
            [
                _RESPONSE_ID,
                _SCORER_ID,
                Column("token_ids", INTS, "token ids; NULL where the server gave none"),
                Column("prompt_ids", INTS, "ids they were sampled after; NULL where unknown"),
                Column(
                    "token_bytes",
                    INTS,
                    "bytes of thinking || answer each token covers; 0: structure, never scored",
                ),
                Column("logprobs", FLOATS, "natural-log probabilities; NULL: ids only"),
                Column("sections", STRING, "covered: thinking+answer, thinking or answer"),
                Column("n_tokens", INT, "number of tokens"),
                Column("has_logprobs", BOOL, "whether `logprobs` is there, to ask cheaply"),
                _RUN,
            ],
            lists=True,
            stream_split=("logprobs",),
        ),
        _table(
            "sentences",
            "sentence spans of a response under one segmenter; aligned lists",
            "response_id segmenter",
            [
                _RESPONSE_ID,
                Column("segmenter", STRING, "segmenter and version"),
                _SEGMENTATION_ID,
                Column("byte_end", INTS, "end of each sentence, in bytes of thinking || answer"),
                Column("kind", TINYINTS, "0 prose, 1 math, 2 code, 3 table"),
                Column("section", TINYINTS, "0 thinking, 1 answer"),
                _RUN,
            ],
            lists=True,
        ),
        _table(
            "sentence_scores",
            "log-prob sums per sentence under one scorer; aligned with sentences",
            "response_id scorer_id segmentation_id",
            [
                _RESPONSE_ID,
                _SCORER_ID,
                _SEGMENTATION_ID,
                Column("n_tokens", INTS, "scored tokens of each sentence"),
                Column("logprob_sum", FLOATS, "sum of their log-probs, in nats"),
                _RUN,
            ],
            lists=True,
            stream_split=("logprob_sum",),
        ),
        _table(
            "repeat_scores",
            "sums of a few responses scored a second time in other batches: the noise of a score",
            "response_id scorer_id segmentation_id",
            [
                _RESPONSE_ID,
                _SCORER_ID,
                _SEGMENTATION_ID,
                Column("n_tokens", INTS, "scored tokens of each sentence"),
                Column("logprob_sum", FLOATS, "sum of their log-probs, in nats"),
                _RUN,
            ],
            lists=True,
            stream_split=("logprob_sum",),
        ),
        _table(
            "flags",
            "one filter's verdict on one response",
            "response_id filter version",
            [
                _RESPONSE_ID,
                Column("filter", STRING, "filter"),
                Column("version", STRING, "version of its code and configuration"),
                Column("passed", BOOL, "whether the response passes"),
                Column("value", DOUBLE, "the measured quantity"),
                Column("evidence", STRING, "JSON: rule, place and excerpt; only where it failed"),
                _RUN,
            ],
        ),
        _table(
            "verdicts",
            "one verifier's verdict on one response's final answer",
            "response_id verifier version",
            [
                _RESPONSE_ID,
                Column("verifier", STRING, "verifier"),
                Column("version", STRING, "its version"),
                Column("verdict", STRING, "verified, refuted, unparsed or timeout"),
                Column("extracted", STRING, "answer extracted from the response"),
                _RUN,
            ],
        ),
        _table(
            "responses",
            "one row per sampled response; its presence acknowledges its children",
            "response_id",
            [
                _RESPONSE_ID,
                Column("question_id", STRING, "question it answers"),
                _RUN,
                Column("source", STRING, "data set or file it came from", provenance=True),
                Column("policy", STRING, "teacher, student or mixed"),
                Column("model", STRING, "model that sampled it"),
                Column("revision", STRING, "its revision"),
                Column("temperature", DOUBLE, "sampling temperature"),
                Column("top_p", DOUBLE, "nucleus sampling mass"),
                Column("max_tokens", INT, "cap on sampled tokens", provenance=True),
                Column("seed", BIGINT, "sampling seed", provenance=True),
                Column("sample_index", INT, "number among its question's samples", provenance=True),
                Column("thinking", STRING, "reasoning text; NULL: the source has no such section"),
                Column("answer", STRING, "text after the reasoning"),
                Column("finish_reason", STRING, "stop, length, tool_calls, ...; NULL: unknown"),
                Column("parent_response_id", STRING, "mixed policy: response whose prefix it has"),
                Column("prefix_end", BIGINT, "mixed policy: end of that prefix, in bytes"),
            ],
            lists=True,
            texts=("thinking", "answer"),
        ),
        _table(
            "builds",
            "materialized views",
            "build_id",
            [
                Column("build_id", STRING, "hash of inputs, SQL, parameters and code"),
                Column("view", STRING, "view"),
                Column("snapshot_id", BIGINT, "snapshot it was built from", provenance=True),
                Column("parameters", STRING, "JSON of the view's parameters"),
                Column("rows", BIGINT, "rows written"),
                Column("shards", STRING, "JSON list of the SHA-256 of the shards"),
                Column(
                    "path",
                    STRING,
                    "folder it was written to, from the catalog's where it is within",
                    provenance=True,
                ),
                Column("built_at", TIME, "end of the build", provenance=True),
            ],
        ),
        _table(
            "pushes",
            "commits and tags of the Hub that builds were pushed as",
            "endpoint repo revision tag",
            [
                Column("endpoint", STRING, "address of the Hub"),
                Column("repo", STRING, "data set there: namespace/name"),
                Column("revision", STRING, "commit"),
                Column("tag", STRING, "tag that was put on it; empty: the commit alone"),
                Column("parent", STRING, "commit it came after", provenance=True),
                Column("builds", STRING, "JSON of the build_id of each configuration pushed"),
                Column("files", STRING, "JSON of the SHA-256 of every file that it has of them"),
                Column("pushed_at", TIME, "time of the commit or tag", provenance=True),
            ],
        ),
    ]
)

_SNAPSHOT_COLUMNS = [
    Column("snapshot_id", BIGINT, "number of the snapshot, rising by one"),
    Column("tables", STRING, "JSON of every table's version, files, rows, bytes and digests"),
    Column("who", STRING, "user and host"),
    Column("what", STRING, "command or stage that committed"),
    Column("committed_at", TIME, "time of the commit"),
    Column("oldest", BIGINT, "snapshots before this one are expired, but for `kept`"),
    Column("kept", _list(BIGINT), "older ones that builds were made from when they were expired"),
    Column("expired_at", TIME, "when they were; NULL: none is expired"),
]
SNAPSHOTS = _table(
    "snapshots",
    "consistent states of all tables",
    "snapshot_id",
    _SNAPSHOT_COLUMNS,
    texts=("tables",),
)[1]
