"""Rows as a trainer reads them: chats, as TRL and `datasets` know them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
_CHAT = pa.list_(pa.field("element", _TURN))
COLUMNS = pa.schema([(name, _CHAT) for name in ("messages", "prompt", "completion")])


def render(question: pa.Array, completion: pa.Array, system: str | None) -> pa.Table:
    """Columns `messages`, the whole chat, and `prompt` and `completion`, the same turns apart.

    TRL takes the format of a row from any one of them. The system turn is there only where one is
    asked for.
    """
    prompt = [("user", question)]
    if system is not None:
        prompt.insert(0, ("system", pa.repeat(pa.scalar(system), len(question))))
    answer = [("assistant", completion)]
    return pa.table([_chats(turns) for turns in (prompt + answer, prompt, answer)], schema=COLUMNS)


def completions(thinking: pa.Array, answer: pa.Array) -> pa.Array:
    """What a student is trained to write; the macro `completion` says the same in SQL."""
    known = pc.coalesce(answer, "") if answer.null_count else answer
    whole = pc.binary_join_element_wise("<think>\n", thinking, "\n</think>\n\n", known, "")
    return pc.coalesce(whole, answer) if whole.null_count else whole


def _chats(turns: Sequence[tuple[str, pa.Array]]) -> pa.Array:
    """One chat per row, of a turn of each role."""
    roles, texts = zip(*turns, strict=True)
    rows, width = len(texts[0]), len(turns)
    contents = pa.concat_arrays(texts)
    if width > 1:  # row by row, not turn by turn
        contents = contents.take(np.arange(rows * width).reshape(width, rows).T.ravel())
    role = pa.array(roles).take(np.tile(np.arange(width), rows))
    items = pa.StructArray.from_arrays([role, contents], fields=list(_TURN))
    starts = np.arange(0, rows * width + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(starts, items, type=_CHAT)
