"""Scores of any OpenAI-compatible server that echoes its prompt with log-probs (vLLM, SGLang).

`/v1/completions` with token ids for a prompt, `echo` and `logprobs`: the log-probs of the prompt's
own tokens. The chat route is not used: it renders the prompt itself, and drops structure.
Format: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from builders.records import Scorer
from builders.score.engine import ScoreRequest, ScoreResult, checked, refusal
from builders.score.server import Choice, Logprobs, RefusedError, Server
from builders.shapes.openai_tokens import string_bytes
from builders.tokens.table import TokenTable
from dasd_data.errors import DasdError, DataError, RemoteError, RowError, UsageError

_ID = re.compile(r"[0-9]{1,9}")
PROBE = "Is 7 * 6 = 42? Yes, and 6 * 7 is 42 as well."


class Model(msgspec.Struct):
    """A model that a server lists; `max_model_len` is vLLM's."""

    id: str
    max_model_len: int | None = None


class Models(msgspec.Struct):
    """The answer of `/v1/models`."""

    data: list[Model] = []


class OpenAIScorer:
    """An `Engine` over a server. `tokenizer` is the folder or Hub id of the model's tokenizer.

    The server's tokenizer and its log-probs are tried before anything is asked. Raises DataError
    where either is not as it must be, and as `Server` does.
    """

    gpus: int | None = None
    echo: tuple[float, ...] = ()  # the log-probs of PROBE: they tell another model of the same name

    def __init__(self, server: Server, tokenizer: str | Path, revision: str | None = None) -> None:
        self.server, self.revision = server, revision
        self.table = TokenTable.load(tokenizer)
        self.vocab_size = len(self.table)
        with server.masked():
            self.max_context = self._max_context()
            self._try()
        self.version = self._version()

    def describe(self) -> Scorer:
        """Model, declared revision, tokenizer and server.

        An echoed prompt has raw log-probs in every mode of vLLM; of sampling, `check_raw` tells.
        """
        return Scorer(
            model=self.server.model,
            revision=self.revision,
            tokenizer=self.table.name,
            engine="openai",
            engine_version=self.version,
            logprobs_mode="raw_logprobs",
            temperature=1.0,
        )

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, as they are answered."""

        def failed(request: ScoreRequest, problem: str) -> ScoreResult:
            return ScoreResult(request.key, None, problem)

        return self.server.run(requests, self._score, failed)

    async def _score(self, request: ScoreRequest) -> ScoreResult:
        # One token is sampled, and counts.
        most = self.max_context and self.max_context - 1
        if error := refusal(request, most, self.vocab_size):
            return ScoreResult(request.key, None, error)
        values = (await self._echo(request.ids.tolist())).token_logprobs
        if len(values) < len(request.ids) or None in values[1 : len(request.ids)]:
            return ScoreResult(request.key, None, "no log-probs: the server left out some")
        scored = float32(values[request.start : len(request.ids)])
        return checked(request.key, scored)

    async def _echo(self, prompt: list[int] | str) -> Logprobs:
        found = await self.server.completion(
            prompt=prompt, echo=True, logprobs=0, max_tokens=1, temperature=0.0,
            return_tokens_as_token_ids=True, add_special_tokens=False,
        )  # fmt: skip
        if not found.choices or found.choices[0].logprobs is None:
            raise RefusedError(
                "no log-probs: the server must take `echo` with `logprobs`, as vLLM's does"
            )
        return found.choices[0].logprobs

    def _max_context(self) -> int | None:
        """The context that the server lists for the model, vLLM's `max_model_len`."""
        listed = self.server.get("/models")
        try:
            found = msgspec.convert({} if listed is None else listed, Models).data
        except msgspec.ValidationError:
            said = self.server.shown(str(listed).strip())[:80]
            raise RemoteError(
                f"{self.server.base_url}/models answers {said!r} and lists no models: give the /v1 "
                "of an OpenAI-compatible server with --base-url"
            ) from None
        models = {m.id: m.max_model_len for m in found}
        if models and self.server.model not in models:
            raise UsageError(
                f"{self.server.base_url} serves {', '.join(models)}, not "
                f"{self.server.model!r}: name one of these with --model"
            )
        return models.get(self.server.model)

    def _version(self) -> str | None:
        """The version that vLLM gives; None: there is none, or it holds what is secret.

        No error of this is one of the run. A masked version would make another scorer.
        """
        try:
            found = self.server.get("/version", beside=True)
        except DasdError:
            return None
        version = found.get("version") if isinstance(found, dict) else None
        if not isinstance(version, str) or not re.fullmatch(r"[\w.+-]{1,64}", version):
            return None
        return version if version == self.server.shown(version) else None

    def _try(self) -> None:
        """Raise DataError where the server gives no log-probs, or has another tokenizer."""

        def failed(_: str, problem: str) -> Logprobs | str:
            return problem

        asked = self.server.run([PROBE], self._echo, failed)
        (echoed,) = (a for a in asked if a is not None)
        if isinstance(echoed, str):
            raise DataError(f"{self.server.base_url}: {echoed}")
        values = echoed.token_logprobs[1:-1]
        self.echo = tuple(round(v, 3) for v in values if v is not None)
        # The last token is the one that had to be sampled.
        ids = ids_of(echoed.tokens[:-1], None, self.table)
        theirs = self.table.text_pieces(ids).data
        if theirs != PROBE.encode():
            raise DataError(
                f"the tokenizer is not the one of {self.server.model} at {self.server.base_url}: "
                f"by it, the server spells {theirs.decode(errors='replace')!r} for {PROBE!r}; give "
                "the model's own with --tokenizer"
            )


def ids_of(
    tokens: Sequence[str], given: Sequence[int] | None, table: TokenTable
) -> npt.NDArray[np.int32]:
    """The ids of the tokens of a choice, [tokens] int32.

    They are `given`, or spelled (`token_id:52`), or found by the tokens' texts where each is the
    text of one token. Raises RowError at the first that is none.
    """
    if given is not None and len(given) == len(tokens):
        return table.known(given).astype(np.int32)
    found = np.empty(len(tokens), np.int32)
    for i, token in enumerate(tokens):
        spelled = token.removeprefix("token_id:")
        by_id = spelled != token and _ID.fullmatch(spelled)
        known = int(spelled) if by_id else table.id_of(string_bytes(token))
        if known is None:
            raise RowError(
                f"token {i}, {token!r}, is no token of {table.name}: the server gives texts "
                "and no ids; start it so that it takes `return_token_ids` (vLLM)"
            )
        found[i] = known
    return table.known(found).astype(np.int32)


def float32(values: Sequence[float | None]) -> npt.NDArray[np.float32]:
    """Log-probs as an array; one that float32 cannot hold is infinite, and so refused later."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)


def logprobs_of(choice: Choice) -> list[float | None]:
    """The log-probs of a choice's tokens. Raises RowError where it has none."""
    if choice.logprobs is None or not choice.logprobs.token_logprobs:
        raise RowError("the server left out the log-probs")
    return choice.logprobs.token_logprobs
