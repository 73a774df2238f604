"""Records of the input shapes as rows of the catalog's tables, one batch at a time."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from builders.records import Logprobs, Question, Record, Response, Scorer, TokenScores
from builders.run import to_table
from dasd_data.errors import RowError
from dasd_data.keys import digest, question_id
from dasd_data.schema import TABLES

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

ROW_BYTES = 500  # of a row besides its texts: rows of a few letters fill memory too

Place = tuple[str, int]  # file and line


@dataclass
class Batch:
    """Rows that wait for their commit. `size` estimates their bytes.

    `places` has the file and line of every row of a table; `owners` has, for every row of responses
    and of tokens, the number of its response in the batch, None for log-probs that came apart; and
    for every row of question_sources its own number, in the order in which they were added.
    """

    run_id: str
    tokenizer_path: str | None = None
    size: int = 0
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    owners: dict[str, list[int | None]] = field(default_factory=dict)
    scorers: set[tuple[str, str]] = field(default_factory=set)  # those that have a row

    def add(self, record: Record, place: Place) -> None:
        """Add one record. Raises RowError where its log-probs cannot be joined to a response."""
        if isinstance(record, Question):
            self._question(record, place)
        elif isinstance(record, Response):
            self._response(record, place)
        else:
            self._logprobs(record, place)

    def refuse(self, place: Place, reason: str, raw: bytes | None = None) -> None:
        """Add a quarantined row."""
        text = (raw or b"").decode("utf-8", "replace").replace("\0", "\ufffd")
        row = {"file": place[0], "line": place[1], "reason": reason, "raw": text}
        self._put("quarantine", {**row, "run_id": self.run_id}, place)
        self.size += len(text)

    def tables(self) -> dict[str, pa.Table]:
        """The rows as Arrow tables by name, in the order of their files' first key.

        Rows that were taken are let go, so that they are not in memory twice; places and owners
        stay, in the order of the tables.
        """
        made = {}
        for name in list(self.rows):
            key = TABLES[name].key[0]
            rows = self.rows[name] if name == "quarantine" else self.rows.pop(name)
            keys = [str(row[key]) for row in rows]
            order = sorted(range(len(rows)), key=keys.__getitem__)
            made[name] = to_table(name, (rows[i] for i in order))
            self.places[name] = [self.places[name][i] for i in order]
            if name in self.owners:
                self.owners[name] = [self.owners[name][i] for i in order]
        return made

    def _put(self, table: str, row: dict[str, Any], place: Place) -> None:
        self.rows.setdefault(table, []).append(row)
        self.places.setdefault(table, []).append(place)
        self.size += ROW_BYTES

    def _question(self, question: Question, place: Place) -> str:
        key = question_id(question.text, question.meta.get("system"))
        first = {"domain": question.domain, "reference_answer": question.reference_answer}
        self._put("questions", {"question_id": key, "text": question.text, **first}, place)
        meta = json.dumps(
            _finite(question.meta),
            sort_keys=True,
            ensure_ascii=False,
            default=str,
            allow_nan=False,
        )
        source = {
            "question_id": key,
            "source": question.source or "",
            "row": question.row or str(place[1]),
            "domain": question.domain or "",
            "reference_answer": question.reference_answer,
            "license": question.license,
            "meta": meta,
        }
        self._put("question_sources", source, place)
        number = len(self.rows["question_sources"]) - 1
        self.owners.setdefault("question_sources", []).append(number)
        self.size += len(question.text) + len(meta)
        return key

    def _response(self, response: Response, place: Place) -> None:
        question = self._question(response.question, place)
        key = response_id(response, question)
        row = {
            "response_id": key,
            "question_id": question,
            "run_id": self.run_id,
            "source": response.question.source,
            "policy": response.policy,
            "model": response.model,
            "revision": response.revision,
            "temperature": _decimal(response.temperature),
            "top_p": _decimal(response.top_p),
            "max_tokens": response.max_tokens,
            "seed": response.seed,
            "sample_index": response.sample_index,
            "thinking": response.thinking,
            "answer": response.answer,
            "finish_reason": response.finish_reason,
        }
        self._put("responses", row, place)
        number = len(self.rows["responses"]) - 1
        self.owners.setdefault("responses", []).append(number)
        self.size += len(response.thinking or "") + len(response.answer)
        for tokens in response.tokens:
            self._tokens(key, tokens, place, number)

    def _logprobs(self, record: Logprobs, place: Place) -> None:
        if not _UUID.fullmatch(record.key):
            raise RowError(
                f"log-probs that come apart from their response are joined to it by a uuid, and "
                f"{record.key!r} is none: put them into the rows of the responses"
            )
        self._tokens(keyed_response_id(record.key, "", ""), record.tokens, place, None)

    def _tokens(self, response: str, tokens: TokenScores, place: Place, owner: int | None) -> None:
        scorer = scorer_id(tokens.scorer)
        if (scorer, tokens.name) not in self.scorers:
            self.scorers.add((scorer, tokens.name))
            row = scorer_row(tokens.scorer, tokens.name, self.tokenizer_path)
            self._put("scorers", row, place)
        row = {
            "response_id": response,
            "scorer_id": scorer,
            "token_ids": tokens.token_ids,
            "prompt_ids": tokens.prompt_ids,
            "token_bytes": tokens.token_bytes,
            "logprobs": tokens.logprobs,
            "sections": tokens.scorer.sections,
            "n_tokens": len(tokens.token_bytes),
            "has_logprobs": tokens.logprobs is not None,
            "run_id": self.run_id,
        }
        self._put("tokens", row, place)
        self.owners.setdefault("tokens", []).append(owner)
        self.size += 12 * len(tokens.token_bytes)


def scorer_fields(scorer: Scorer) -> dict[str, Any]:
    """What makes a scorer: all its fields but `sections`, which a cut response may lack."""
    return {name: value for name, value in asdict(scorer).items() if name != "sections"}


def scorer_row(scorer: Scorer, name: str, tokenizer_path: str | None) -> dict[str, Any]:
    """The row of `scorers` for a scoring context that goes by a name.

    The path of a folder is kept whole: the catalog is used from other folders, too.
    """
    if tokenizer_path and Path(tokenizer_path).exists():
        tokenizer_path = str(Path(tokenizer_path).absolute())
    names = {"scorer_id": scorer_id(scorer), "name": name, "tokenizer_path": tokenizer_path}
    return names | scorer_fields(scorer)


@lru_cache(maxsize=1024)  # one for each of a run's responses, of a few scorers
def scorer_id(scorer: Scorer) -> str:
    """Id of a scoring context: a hash of what makes it."""
    return digest("scorer", scorer_fields(scorer))


def keyed_response_id(key: str, source: str, question: str) -> str:
    """Id of a response that its source names by a key; a uuid is unique by itself."""
    return (
        digest("imported", key) if _UUID.fullmatch(key) else digest("keyed", source, question, key)
    )


def response_id(response: Response, question: str) -> str:
    """Id of an imported response: of the source's key, else of question, settings and text.

    Settings are part of the latter: the same text at two temperatures, or drawn twice, is two
    samples.
    """
    if response.key:
        return keyed_response_id(response.key, response.question.source or "", question)
    return digest(
        "imported",
        question,
        response.policy,
        response.model,
        response.revision,
        _decimal(response.temperature),
        _decimal(response.top_p),
        response.max_tokens,
        response.seed,
        response.sample_index,
        response.thinking,
        response.answer,
        response.finish_reason,
    )


def _finite(value: Any) -> Any:
    """A value with null for NaN and infinities, which JSON does not have; arrays as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _decimal(value: float | None) -> float | None:
    """A setting as it was written: 0.6, also where a 32-bit column made it 0.60000002."""
    return None if value is None else round(value, 6)
