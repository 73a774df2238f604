"""An OpenAI-compatible server without a model, that fails as real ones do.

    python -m benchmarks.fake_server --tokenizer examples/tiny/teacher --errors 0.01 --hangs 0.01

Its completions are those of `FakeGenerator`: a hash of prompt, seed and sampling. Of the requests
a share is answered by 429 or 503, never answered, or answered by half a body. It prints the URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from builders.sample.engine import SampleRequest, Sampling
from builders.sample.fake import FakeGenerator
from builders.score.engine import ScoreRequest
from builders.tokens.table import TokenTable

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           429: "Too Many Requests", 503: "Service Unavailable"}  # fmt: skip


@dataclass
class FakeServer:
    """What the server does. `spelling`: how it names tokens: ids, spelled or texts."""

    tokenizer: Path
    model: str = "fake"
    key: str | None = None
    errors: float = 0.0
    hangs: float = 0.0
    halves: float = 0.0
    max_model_len: int = 100_000
    spelling: str = "ids"
    logprobs: bool = True
    most_at_once: int | None = None
    delay: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        from transformers import AutoTokenizer

        self.tokens = AutoTokenizer.from_pretrained(self.tokenizer)
        self.table = TokenTable.load(self.tokenizer)
        self.engine = FakeGenerator(self.tokens.encode, self.model)
        self._tries: Counter[int] = Counter()
        self._now = 0

    async def serve(self, port: int = 0) -> asyncio.Server:
        """Start on a port of the loopback interface; 0: any free one."""
        return await asyncio.start_server(
            self._talk, "127.0.0.1", port, limit=1 << 24, backlog=4096
        )

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                path = lines[0].split(" ")[1]
                pairs = (line.partition(": ") for line in lines[1:] if line)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._answer(writer, path, headers, body):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: bytes
    ) -> bool:
        """Answer one request; whether the connection stays."""
        self._now += 1
        self.seen["most at once"] = max(self.seen["most at once"], self._now)
        try:
            request = json.loads(body or "{}")
            fault = self._fault(path, request)
            self.seen[fault] += 1
            await asyncio.sleep(3600 if fault == "hang" else self.delay)
            status, answer = self._found(path, headers, request)
            if fault == "error":
                status, answer = (429, 503)[self.seen["error"] % 2], _error("try again")
            data = json.dumps(answer).encode()
            size, kept = len(data), len(data)
            if fault == "half":  # cut within the body, or a whole body of half a JSON
                kept = len(data) // 2
                size = size if self.seen["half"] % 2 else kept
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {size}\r\n\r\n".encode() + data[:kept])
            await writer.drain()
            return size == kept
        finally:
            self._now -= 1

    def _fault(self, path: str, request: dict[str, Any]) -> str:
        """What goes wrong with a request: error, hang, half, or none; never with a probe.

        It depends on the seed and on how often that was asked for: the same in every run.
        """
        if path != "/v1/completions" or request.get("echo") or request.get("seed", 0) < 100:
            return "none"
        if self.most_at_once and self._now > self.most_at_once:
            return "error"
        self._tries[request["seed"]] += 1
        chance = random.Random(f"{request['seed']} {self._tries[request['seed']]}").random()
        for fault, share in (("error", self.errors), ("hang", self.hangs), ("half", self.halves)):
            if chance < share:
                return fault
            chance -= share
        return "none"

    def _found(
        self, path: str, headers: dict[str, str], request: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return 401, _error(f"wrong key: {headers.get('authorization')}")
        if path == "/version":
            return 200, {"version": "fake-1"}
        if path == "/v1/models":
            return 200, {"data": [{"id": self.model, "max_model_len": self.max_model_len}]}
        return self._complete(request) if path == "/v1/completions" else (404, _error(f"no {path}"))

    def _complete(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = request["prompt"]
        ids = np.array(self.tokens.encode(prompt) if isinstance(prompt, str) else prompt, np.int32)
        if request.get("model") != self.model:
            return 404, _error(f"the model {request.get('model')!r} does not exist")
        if len(ids) + request["max_tokens"] > self.max_model_len:
            return 400, _error(f"the context holds {self.max_model_len} tokens")
        if request.get("echo"):
            whole = np.append(ids, 0).astype(np.int32)
            (found,) = self.engine.score([ScoreRequest("k", whole, 1)])
            values: list[float | None] = [None, *map(float, found.logprobs)]
            return 200, self._choice(whole, values, "length", request)
        self.seen["completions"] += 1
        sampling = Sampling(
            request["temperature"], request.get("top_p", 1.0), request["max_tokens"],
            tuple(request.get("stop_token_ids", ())),
        )  # fmt: skip
        (made,) = self.engine.generate([SampleRequest("k", ids, request["seed"])], sampling)
        assert made is not None and made.token_ids is not None and made.logprobs is not None
        return 200, self._choice(
            made.token_ids, list(map(float, made.logprobs)), str(made.finish_reason), request
        )

    def _choice(
        self, ids: np.ndarray, values: list[float | None], finish: str, request: dict[str, Any]
    ) -> dict[str, Any]:
        if self.spelling == "texts":
            tokens = [piece.decode(errors="replace") for piece in self.table.pieces(ids)]
        else:
            tokens = [f"token_id:{i}" for i in ids.tolist()]
        choice: dict[str, Any] = {"index": 0, "text": "", "finish_reason": finish}
        if self.logprobs:
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": values}
        if self.spelling == "ids" and request.get("return_token_ids"):
            choice["token_ids"] = ids.tolist()
        return {"choices": [choice]}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "fake"}}


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--key")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--spelling", choices=["ids", "spelled", "texts"], default="ids")
    parser.add_argument("--no-logprobs", dest="logprobs", action="store_false")
    parser.add_argument("--max-model-len", type=int, default=100_000)
    parser.add_argument("--most-at-once", type=int)
    for name in ("errors", "hangs", "halves", "delay"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    options = vars(parser.parse_args())
    port = options.pop("port")
    fake = FakeServer(**options)

    async def serve() -> None:
        server = await fake.serve(port)
        address = server.sockets[0].getsockname()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, end)
        print(f"http://{address[0]}:{address[1]}/v1", flush=True)
        await server.serve_forever()

    def end() -> None:
        print(json.dumps(fake.seen), flush=True)
        os._exit(0)  # requests that are never answered would hold it

    asyncio.run(serve())


if __name__ == "__main__":
    main()
