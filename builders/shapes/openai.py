"""Responses of OpenAI's API and of vLLM's server, with the request beside them.

    {"request": {"messages": [{"role": "user", "content": "2 + 2?"}], "temperature": 0.6},
     "response": {"id": "chatcmpl-1", "object": "chat.completion", "model": "tiny", "choices": [
         {"index": 0, "finish_reason": "stop",
          "message": {"role": "assistant", "reasoning": "2 + 2 = 4", "content": "4"},
          "logprobs": {"content": [{"token": "4", "bytes": [52], "logprob": -0.01}]}}]}}

The response may also be the row itself (with `messages`, `prompt` or `question` in it) or a row
of the batch API's output (`custom_id`, `response.body`); its input has the question, so write it
beside. Each choice is a response. Log-probs are laid over the text by the tokens' ids or bytes
(see `openai_tokens`); where they do not fit, the response is kept, without tokens, and the row
is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import common_fields, question, responses
from builders.shapes.conversation import content_text, exchange, is_conversation, reasoning
from builders.shapes.fields import label, optional_text, whole
from builders.shapes.openai_tokens import chat_tokens, echoed, text_tokens
from dasd_data.errors import RowError

_REQUESTS = ("request", "input", "body")
_PROMPTS = ("question", "messages", "prompt", "prompt_text", "input")
_SETTINGS = ("temperature", "top_p", "seed", "max_tokens", "reasoning_effort")


def _body(row: Row) -> Any:
    """The API's response in a row: the row itself, its `response`, or that one's `body`."""
    body: Any = row
    for column in ("response", "body"):
        if isinstance(body, dict) and "choices" not in body and column in body:
            body = body[column]
    return body


def _matches(row: Row, _context: Context) -> bool:
    body = _body(row)
    choices = body.get("choices") if isinstance(body, dict) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return "message" in choices[0] or "text" in choices[0]
    return "custom_id" in row and "response" in row


def _request(row: Row) -> dict[str, Any]:
    """What was asked, and how: from the row and the request in it, which wins."""
    found = {k: row[k] for k in (*_PROMPTS, *_SETTINGS) if row.get(k) is not None}
    for column in _REQUESTS:
        request = row.get(column)
        if isinstance(request, dict):
            if isinstance(request.get("body"), dict):  # a row of the batch API's input
                request = request["body"]
            found |= {k: v for k, v in request.items() if v is not None}
    return found


def _asked(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for column in _PROMPTS:
        value = request.get(column)
        if is_conversation(value):
            found = exchange(value)
            return found.question, found.meta
        if isinstance(value, str) and value.strip():
            return value, {}
    raise RowError(
        "the response stands without its question: write the request beside it, as `request`, "
        "`messages`, `prompt` or `question`"
    )


def _settings(row: Row, request: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    fields = common_fields(row) | {k: request[k] for k in _SETTINGS if k in request}
    if (most := request.get("max_completion_tokens")) is not None:
        fields["max_tokens"] = most
    for column in ("reasoning", "thinking", "logprobs", "token_ids", "sample_index"):
        fields.pop(column, None)  # the choices have their own
    fields["model"] = label(body, "model") or label(request, "model")
    fields["key"] = label(row, "uuid") or label(body, "id")
    return fields


def _choice(
    choice: Any, position: int, n_choices: int, request: dict[str, Any], context: Context
) -> dict[str, Any]:
    """The fields of one choice."""
    if not isinstance(choice, dict):
        raise RowError("a choice is not an object")
    fields: dict[str, Any] = {"finish_reason": optional_text(choice, "finish_reason")}
    if n_choices > 1:
        index = whole(choice, "index")
        fields["sample_index"] = position if index is None else index
    prompt = echoed(choice, request)
    if isinstance(choice.get("message"), dict):
        fields |= _message(choice["message"])
    else:
        fields["completion"] = (optional_text(choice, "text") or "")[len(prompt) :]
    try:
        if "message" in choice:
            return fields | chat_tokens(choice, context)
        return fields | text_tokens(choice, prompt, context)
    except RowError as error:
        return fields | {"tokens_refused": str(error)}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    thinking, content = reasoning(message), content_text(message.get("content"))
    if message.get("refusal") and not content:
        content = content_text(message["refusal"])
    if not content and not thinking and message.get("tool_calls"):
        raise RowError("a tool call, no response")
    return {"thinking": thinking, "completion": content}


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    body = _body(row)
    _refuse_failure(row, body)
    request = _request(row)
    text, meta = _asked(request)
    shared = _settings(row, request, body) | {"question": text}
    asked = question(shared, context, rownum, meta)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise RowError("the response has no choices")

    def rows() -> Iterator[dict[str, Any] | RowError]:
        for i, choice in enumerate(choices):
            try:
                yield shared | _choice(choice, i, len(choices), request, context)
            except RowError as error:
                yield error

    yield from responses(asked, rows(), context)


def _refuse_failure(row: Row, body: Any) -> None:
    """Raises RowError for a request that failed, with what the server said."""
    errors = (row.get("error"), body.get("error") if isinstance(body, dict) else None)
    error = next((e for e in errors if isinstance(e, dict | str) and e), None)
    response = row.get("response")
    status = whole(response, "status_code") if isinstance(response, dict) else None
    if error is not None or (status is not None and status != 200):
        found = error.get("message") if isinstance(error, dict) else error
        said = "" if found is None else str(found)  # a server may put anything there
        raise RowError(
            f"the request failed{f' ({status})' if status else ''}: {said or 'no reason'}"
        )
    if not isinstance(body, dict):
        raise RowError("the row holds no response")


SHAPE = Shape("openai", ("choices",), _matches, _records)
