"""Records of the input shapes as rows of the catalog's tables, one batch at a time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from builders.records import Logprobs, Question, Record, Response, Scorer, TokenScores
from builders.run import to_table
from dasd_data.keys import digest, question_id

_UUID_LENGTH = 36


@dataclass
class Batch:
    """Rows that wait for their commit. `size` estimates bytes, `origin` is file and line by id."""

    run_id: str
    tokenizer_path: str | None = None
    size: int = 0
    origin: dict[str, tuple[str, int]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, record: Record, file: str, line: int) -> None:
        """Add one record read from a line of a file."""
        if isinstance(record, Question):
            self._question(record, file, line)
        elif isinstance(record, Response):
            self._response(record, file, line)
        else:
            self._logprobs(record, file, line)

    def refuse(self, file: str, line: int, reason: str, raw: bytes | None) -> None:
        """Add a quarantined row."""
        text = (raw or b"").decode("utf-8", "replace").replace("\0", "\ufffd")
        row = {"file": file, "line": line, "reason": reason, "raw": text, "run_id": self.run_id}
        self._put("quarantine", row)
        self.size += len(text)

    def tables(self) -> dict[str, pa.Table]:
        """The rows as Arrow tables by name."""
        return {name: to_table(name, rows) for name, rows in self.rows.items()}

    def _put(self, table: str, row: dict[str, Any]) -> None:
        self.rows.setdefault(table, []).append(row)

    def _question(self, question: Question, file: str, line: int) -> str:
        key = question_id(question.text)
        shared = {"domain": question.domain, "reference_answer": question.reference_answer}
        self._put("questions", {"question_id": key, "text": question.text, **shared})
        source = {
            "question_id": key,
            "source": question.source or "",
            "row": question.row or str(line),
            **shared,
            "license": question.license,
            "meta": json.dumps(question.meta, sort_keys=True, ensure_ascii=False, default=str),
        }
        self._put("question_sources", source)
        self.origin.setdefault(key, (file, line))
        self.size += len(question.text) + len(str(source["meta"]))
        return key

    def _response(self, response: Response, file: str, line: int) -> None:
        question = self._question(response.question, file, line)
        key = response_id(response, question)
        self.origin.setdefault(key, (file, line))
        row = {
            "response_id": key,
            "question_id": question,
            "run_id": self.run_id,
            "source": response.question.source,
            "policy": response.policy,
            "model": response.model,
            "revision": response.revision,
            "temperature": response.temperature,
            "top_p": response.top_p,
            "max_tokens": response.max_tokens,
            "seed": response.seed,
            "sample_index": response.sample_index,
            "thinking": response.thinking,
            "answer": response.answer,
            "finish_reason": response.finish_reason,
        }
        self._put("responses", row)
        self.size += len(response.thinking or "") + len(response.answer)
        for tokens in response.tokens:
            self._tokens(key, tokens)

    def _logprobs(self, record: Logprobs, file: str, line: int) -> None:
        key = keyed_response_id(record.key, "")
        self.origin.setdefault(key, (file, line))
        self._tokens(key, record.tokens)

    def _tokens(self, response: str, tokens: TokenScores) -> None:
        scorer = scorer_id(tokens.scorer)
        self._put(
            "scorers",
            {
                "scorer_id": scorer,
                "name": tokens.name,
                "tokenizer_path": self.tokenizer_path,
                **asdict(tokens.scorer),
            },
        )
        row = {
            "response_id": response,
            "scorer_id": scorer,
            "token_ids": tokens.token_ids,
            "prompt_ids": tokens.prompt_ids,
            "token_bytes": tokens.token_bytes,
            "logprobs": tokens.logprobs,
            "n_tokens": len(tokens.token_bytes),
            "has_logprobs": tokens.logprobs is not None,
            "run_id": self.run_id,
        }
        self._put("tokens", row)
        self.size += 12 * len(tokens.token_bytes)


def scorer_id(scorer: Scorer) -> str:
    """Id of a scoring context: a hash of all its fields."""
    return digest("scorer", asdict(scorer))


def keyed_response_id(key: str, source: str) -> str:
    """Id of a response that its source names by a key; a uuid needs no source to be unique."""
    return digest("imported", key) if len(key) == _UUID_LENGTH else digest("imported", source, key)


def response_id(response: Response, question: str) -> str:
    """Id of an imported response: of the source's key, else of question, model and text.

    Sampling settings are part of the latter: the same text at two temperatures is two samples.
    """
    if response.key:
        return keyed_response_id(response.key, response.question.source or "")
    return digest(
        "imported",
        question,
        response.policy,
        response.model,
        response.revision,
        response.temperature,
        response.top_p,
        response.thinking,
        response.answer,
    )
