"""Requests to an OpenAI-compatible server: many at once, as many as it bears, each until answered.

A request is sent again, after a growing random wait, when it may yet succeed.
"""

from __future__ import annotations

import asyncio
import queue
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from builders.score.credentials import KEY, NO_KEY, key_of, spellings, without_user
from builders.score.load_limit import Limit
from builders.score.loop import Loop
from dasd_data.errors import (
    DasdError,
    DeniedError,
    MissingExtraError,
    RemoteError,
    RowError,
    UsageError,
)

try:
    import httpx2
    import openai
except ImportError as error:
    raise MissingExtraError("openai", "openai") from error

TELL_SECONDS = 5.0  # between two signs of life while nothing is answered
TRIES = 6
LONGEST_WAIT = 60.0
PATIENCE = 600.0  # seconds that a server which answered before may be away: it starts anew
SILENT = 50  # failed requests in a row, each tried to the last, that mean that nobody is there
_AGAIN = {408, 409, 425, 429}
_OVERLOADED = {408, 429, 503, 504, 529}
_AWAY = {429, 502, 503, 504, 529}

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Logprobs(msgspec.Struct):
    """Tokens of a choice; `token_logprobs[0]` of an echoed prompt is None."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []


class Choice(msgspec.Struct):
    """A completion. `token_ids` is vLLM's, asked for with `return_token_ids`."""

    text: str = ""
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: Logprobs | None = None
    token_ids: list[int] | None = None


class Completion(msgspec.Struct):
    """The answer of `/v1/completions`."""

    choices: list[Choice]


class RefusedError(Exception):
    """The server answered that this one request cannot be met."""


class UnansweredError(Exception):
    """The server failed to the last try; `mark` is the number of its answers by then."""

    def __init__(self, problem: str, mark: int) -> None:
        super().__init__(problem)
        self.mark = mark


@dataclass(frozen=True)
class _Held(Generic[Answer]):
    """A failed answer that holds only if the server is there: once it has answered after it."""

    answer: Answer
    mark: int


class Server:
    """A client of one server and one model.

    `base_url` ends in `/v1`. The key is read from OPENAI_API_KEY only. `timeout` is in seconds, of
    a whole request: a completion of 64K tokens takes many minutes. No error shows key or password,
    whatever the server writes into its answers.
    """

    def __init__(
        self, base_url: str, model: str, *, concurrency: int = 256, timeout: float = 3_600.0
    ) -> None:
        if concurrency < 1:
            raise UsageError(f"{concurrency} requests at once: at least one is sent")
        self._url = base_url.rstrip("/")
        self.base_url, user, password = without_user(self._url)
        self.model, self.timeout = model, timeout
        self.limit = Limit(concurrency)
        self.first_wait, self.patience = 0.5, PATIENCE
        self._key = key_of()
        self._secrets = spellings(self._key, user, password)
        self._concurrency = concurrency
        self._silent = self._answered = 0
        self._away_since: float | None = None
        self._open: Any = None

    def run(
        self,
        requests: Iterable[Asked],
        ask: Callable[[Asked], Awaitable[Answer]],
        failed: Callable[[Asked, str], Answer],
    ) -> Iterator[Answer | None]:
        """The answers as they come, and None every few seconds; requests are read when sent.

        `failed` makes the answer of a request that is refused, whose answer `ask` cannot read
        (`unreadable answer: ...`, its RowError), or that the server failed to answer (`server:
        ...`). The latter are given once the server has answered another, or at the end: they are
        dropped where nobody is there. Interrupted, it gives the answers that are here, and raises.
        Raises DeniedError for a refused key, RemoteError where the server is not there at all.
        """

        def shown(request: Asked, problem: str) -> Answer:
            return failed(request, self.shown(problem)[:300])

        answers: queue.SimpleQueue[Answer | _Held[Answer] | BaseException] = queue.SimpleQueue()
        with self.masked(), Loop(self._close) as loop:

            def start(request: Asked) -> None:
                loop.start(_into(answers, ask, shown, request))

            try:
                yield from self._answers(iter(requests), start, answers)
            except KeyboardInterrupt:
                while not answers.empty():
                    answer = answers.get()
                    if not isinstance(answer, _Held | BaseException):
                        yield answer
                raise

    def _answers(
        self,
        incoming: Iterator[Asked],
        start: Callable[[Asked], None],
        answers: queue.SimpleQueue[Answer | _Held[Answer] | BaseException],
    ) -> Iterator[Answer | None]:
        """Keep as many requests under way as the limit allows; see `run`."""
        held: list[_Held[Answer]] = []
        under_way, more = 0, True
        while True:
            while more and under_way < self.limit.now:
                try:
                    start(next(incoming))
                except StopIteration:
                    more = False
                    break
                under_way += 1
            if not under_way:
                yield from (h.answer for h in held)
                return
            try:
                answer = answers.get(timeout=TELL_SECONDS)
            except queue.Empty:
                yield None
                continue
            under_way -= 1
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, _Held):
                held.append(answer)
            else:
                yield answer
            yield from (h.answer for h in held if h.mark < self._answered)
            held = [h for h in held if h.mark >= self._answered]

    async def completion(self, **body: Any) -> Completion:
        """The completion for a request's body.

        A request is sent TRIES times, and more until the server has been away for PATIENCE.
        Raises RefusedError where the server refuses the request, UnansweredError where it fails
        to the last, DeniedError and RemoteError where no request would do better.
        """
        tries = 0
        while True:
            wait = None
            try:
                found = await self._ask(dict(body))
            except openai.APIStatusError as error:
                problem, advice = self._said(error), _advice(error.status_code)
                self._stop(error, problem)
                if error.status_code not in _AGAIN and error.status_code < 500:
                    self._heard()
                    raise RefusedError(f"refused: {problem}") from None
                wait, overloaded = _retry_after(error), error.status_code in _OVERLOADED
                away = error.status_code in _AWAY
            except (openai.APIConnectionError, msgspec.DecodeError) as error:
                problem, advice = self._said(error), _advice(None)
                away = _unreachable(error)
                overloaded = isinstance(error, openai.APITimeoutError) and not away
            else:
                self._heard()
                self.limit.told(overloaded=False)
                return found
            if overloaded:
                self.limit.told(overloaded=True)
            tries += 1
            waited_for = away and self._may_come_back()
            if tries >= TRIES and not waited_for:
                break
            await asyncio.sleep(wait or self._wait(tries - 1))
        self._silent += 1
        if self._silent >= SILENT:
            raise RemoteError(
                f"{self.base_url} {advice[0]}: {self._silent} requests in a row failed, the "
                f"last {tries} times, with {problem}; {advice[1]} and run this again"
            )
        raise UnansweredError(f"server: {problem}, {tries} times", self._answered)

    def _may_come_back(self) -> bool:
        """Whether the server, which is away, answered once, and has not been away for long."""
        now = time.monotonic()
        self._away_since = self._away_since or now
        return bool(self._answered) and now - self._away_since < self.patience

    def _heard(self) -> None:
        """The server answered."""
        self._silent, self._away_since = 0, None
        self._answered += 1

    def get(self, path: str, *, beside: bool = False) -> Any:
        """The JSON (or text) of a path below `base_url`, or `beside` its `/v1`; None: no such path.

        Raises RemoteError, DeniedError.
        """
        url = self._url.removesuffix("/v1") if beside else self._url
        with self.masked(), openai.OpenAI(api_key=self._key, base_url=url, timeout=30.0) as client:
            try:
                return client.get(path, cast_to=object)
            except openai.NotFoundError:
                return None
            except openai.APIStatusError as error:
                self._stop(error, self._said(error))
                raise RemoteError(f"{self.base_url}: {self._said(error)}") from None
            except openai.APIConnectionError as error:
                raise RemoteError(
                    f"no server answers at {self.base_url} ({self._said(error)}): start it, or "
                    "give another --base-url"
                ) from None
            except ValueError as error:
                raise RemoteError(
                    f"{self.base_url}{path} answers with no JSON ({self._said(error)}): give the "
                    "/v1 of an OpenAI-compatible server with --base-url"
                ) from None

    async def _ask(self, body: dict[str, Any]) -> Completion:
        prompt = body.pop("prompt")
        completions = (await self._client()).completions.with_raw_response
        raw = await completions.create(model=self.model, prompt=prompt, extra_body=body)
        return msgspec.json.decode(raw.content, type=Completion)

    async def _client(self) -> Any:
        """The client of the running loop: its connections belong to that loop."""
        if self._open is None:
            most = self._concurrency
            limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
            self._open = openai.AsyncOpenAI(
                api_key=self._key,
                base_url=self._url,
                max_retries=0,  # `completion` tells the limit of each failure
                timeout=openai.Timeout(self.timeout, connect=10.0, pool=None),
                http_client=openai.DefaultAsyncHttpxClient(limits=limits),
            )
        return self._open

    async def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()

    def _stop(self, error: openai.APIStatusError, problem: str) -> None:
        """Raise what is true of every request."""
        if error.status_code in (401, 403):
            what = f"refuses the key in {KEY}" if self._key != NO_KEY else f"wants a key: set {KEY}"
            raise DeniedError(f"{self.base_url} {what}: {problem}") from None
        if error.status_code == 404:
            raise RemoteError(
                f"{self.base_url} has no completions of a model {self.model!r}: {problem}"
            ) from None

    def _said(self, error: Exception) -> str:
        """What an error says in a line, without secrets."""
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else None
        status = f"HTTP {error.status_code}: " if isinstance(error, openai.APIStatusError) else ""
        text = " ".join(f"{status}{error}".split())
        if cause is not None and str(cause):
            text = f"{text} {' '.join(str(cause).split())}"
        if isinstance(error, msgspec.DecodeError):
            text = f"the answer is no completion: {text}"
        return self.shown(text)[:300]

    def shown(self, text: str) -> str:
        """A text without the key and what the URL holds; to be cut short afterwards only."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Errors of the block are raised without the key and the password, and of 500 letters."""
        try:
            yield
        except DasdError as error:
            text = self.shown(str(error))
            error.args = (text if len(text) <= 500 else f"{text[:350]} … {text[-147:]}",)
            raise error from None

    def _wait(self, attempt: int) -> float:
        longest = min(LONGEST_WAIT, self.first_wait * 2 ** min(attempt, 10))
        return random.uniform(longest / 2, longest)


def _advice(status: int | None) -> tuple[str, str]:
    """What a server does that fails for good, by its last status, and what to do."""
    if status == 429:
        return "refuses for too many requests", "wait for its quota, or lower --concurrency,"
    if status is not None:
        return "fails", "see to the server, its log says why,"
    return "does not answer", "start the server"


def _unreachable(error: Exception) -> bool:
    """Whether no connection came about, or it broke off: the server starts anew, or its machine."""
    slow = isinstance(error, openai.APITimeoutError)
    slow = slow and not isinstance(error.__cause__, httpx2.ConnectTimeout)
    return isinstance(error, openai.APIConnectionError) and not slow


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait, within reason."""
    try:
        return min(LONGEST_WAIT, max(0.0, float(error.response.headers["retry-after"])))
    except (KeyError, ValueError):
        return None


async def _into(
    answers: queue.SimpleQueue[Any],
    ask: Callable[[Asked], Awaitable[Answer]],
    failed: Callable[[Asked, str], Answer],
    request: Asked,
) -> None:
    """Put the answer, or what ended it, into the queue: without either, `run` waits for ever."""
    try:
        answers.put(await ask(request))
    except RefusedError as error:
        answers.put(failed(request, str(error)))
    except RowError as error:
        answers.put(failed(request, f"unreadable answer: {error}"))
    except UnansweredError as error:
        answers.put(_Held(failed(request, str(error)), error.mark))
    except asyncio.CancelledError:  # nobody reads the queue where `run` itself cancels
        answers.put(RemoteError("a request was cancelled before its answer: run this again"))
        raise
    except BaseException as error:
        answers.put(error)
