"""Whether the chats of a split are whole, and a trainer's template keeps what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_data import sqlfiles
from dasd_data.contract.outcome import SAMPLE, Outcome
from dasd_data.contract.template import Template, template_text
from dasd_data.session import Session

_BATCH_ROWS = 1_024


class Messages:
    """Looks at texts as they pass; `outcomes` says what it saw.

    A chat is well formed if neither the question nor the completion is blank. A completion stands
    for itself if the student's chat template renders it verbatim, as scoring has it.
    """

    def __init__(
        self, student: Mapping[str, Any] | None, system: str | None, sample: int | None = SAMPLE
    ) -> None:
        self._sample = sample
        self._template, self._note = _template(student, system)
        self._found: dict[str, tuple[int, list[dict[str, Any]]]] = {}

    def look(self, ids: pa.ChunkedArray, question: pa.Array, completion: pa.Array) -> None:
        """Look at one group of rows."""
        for what, texts in (("question", question), ("completion", completion)):
            blank = pc.fill_null(pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts)), True)
            for place in pc.indices_nonzero(blank).to_pylist():
                self._add("messages", ids[place].as_py(), f"the {what} is blank")
        if self._template is None:
            return
        for place, texts in enumerate(zip(question, completion, strict=True)):
            asked, answered = (text.as_py() or "" for text in texts)
            if problem := self._template.problem(asked, answered):
                self._add("template", ids[place].as_py(), problem)

    def outcomes(self) -> list[Outcome]:
        """What was seen so far."""
        return [
            self._outcome("messages", "a chat without a question or an answer", ""),
            self._outcome(
                "template", "the student's chat template changes a completion", self._note
            ),
        ]

    def _add(self, check: str, response_id: str, problem: str) -> None:
        failed, sample = self._found.get(check, (0, []))
        if self._sample is None or len(sample) < self._sample:
            sample.append({"response_id": response_id, "problem": problem})
        self._found[check] = failed + 1, sample

    def _outcome(self, check: str, problem: str, note: str) -> Outcome:
        failed, sample = self._found.get(check, (0, []))
        return Outcome(check, failed, problem if failed else "", sample, note)


def read(session: Session, messages: Messages) -> None:
    """Look at the texts of `_chosen`."""
    with session.translated():
        found = session.connection.sql(sqlfiles.report("contract_texts"))
        for batch in found.to_arrow_reader(_BATCH_ROWS):
            messages.look(batch["response_id"], batch["question"], batch["completion"])


def _template(student: Mapping[str, Any] | None, system: str | None) -> tuple[Template | None, str]:
    """The template to try, or why there is none."""
    if student is None or not student["chat_template"]:
        return None, "no chat template of a student is known"
    text = template_text(student)
    if text is None:
        return None, (
            f"the template {student['chat_template']} is not at {student['tokenizer_path']} any "
            "more: each response was tried when it was scored"
        )
    try:
        return Template(text, system), ""
    except ImportError:
        return None, "jinja2 is not installed: run `pip install 'dasd-data[score]'`"
    except ValueError as error:
        return None, f"the template {student['chat_template']} cannot be tried: {error}"
