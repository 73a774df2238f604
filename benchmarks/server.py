"""Requests to a server that fails: all answered, none twice, in bounded memory.

    python benchmarks/server.py [--requests 100000] [--errors 0.01] [--hangs 0.01] [--halves 0.01]

The engine asks a local server without a model, which refuses, never answers, or answers by half a
body. Beside it, the bare client library asks the same server for the same completions while it
fails at nothing; both figures are of the client's process. A request that is never answered is
given up after --timeout seconds and sent again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
from process import peak_mb

from builders.sample.engine import SampleRequest, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.openai_engine import OpenAIGenerator
from builders.sample.prompt import load_prompt
from builders.score.server import Server

TEACHER = Path(__file__).parents[1] / "examples" / "tiny" / "teacher"
CHECKED = 100  # every so many completions are compared with what the server should say


def start(*options: object) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its URL."""
    script = Path(__file__).with_name("fake_server.py")
    command = [sys.executable, script, "--tokenizer", TEACHER, *options]
    server = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def stop(server: subprocess.Popen[str]) -> dict[str, int]:
    """What the server saw."""
    server.send_signal(2)
    return dict(json.loads(server.communicate(timeout=60)[0] or "{}"))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--timeout", type=float, default=5.0)
    for name in ("errors", "hangs", "halves"):
        parser.add_argument(f"--{name}", type=float, default=0.01)
    args = parser.parse_args()
    prompt = load_prompt(TEACHER)
    sampling = Sampling(0.6, max_tokens=60, stop_ids=prompt.stop_ids)
    ids = [prompt.ids(f"What is {n} + 1?") for n in range(100)]

    def requests(n: int) -> Iterator[SampleRequest]:
        for i in range(n):
            yield SampleRequest(str(i), ids[i % 100], 100 + i)

    faults = [
        x for name in ("errors", "hangs", "halves") for x in (f"--{name}", getattr(args, name))
    ]
    server, url = start(*faults)
    engine = OpenAIGenerator(Server(url, "fake", timeout=args.timeout), TEACHER)
    fake = FakeGenerator(prompt.tokenizer.encode)
    seen, twice, failed, wrong, early = np.zeros(args.requests, bool), 0, 0, 0, 0.0
    begin, clock = time.process_time(), time.monotonic()
    for result in engine.generate(requests(args.requests), sampling):
        if result is None:
            continue
        i = int(result.key)
        twice, seen[i] = twice + int(seen[i]), True
        if result.token_ids is None:
            failed += 1
        elif i % CHECKED == 0:
            (right,) = fake.generate([SampleRequest("", ids[i % 100], 100 + i)], sampling)
            assert right is not None and right.token_ids is not None
            wrong += right.token_ids.tolist() != result.token_ids.tolist()
        if early == 0 and seen.sum() >= args.requests / 10:
            early = peak_mb()
    ours, took = time.process_time() - begin, time.monotonic() - clock
    told = stop(server)
    print(f"{args.requests:,} requests in {took:,.0f} s; the server: {told}")
    print(
        f"answered {int(seen.sum()):,}, twice {twice}, failed {failed}, wrong {wrong} "
        f"(every {CHECKED}th compared)"
    )
    print(f"peak memory {early:,.0f} MB at a tenth, {peak_mb():,.0f} MB at the end")

    server, url = start()
    few = min(args.requests, 5_000)
    begin = time.process_time()
    asyncio.run(bare(url, few, ids, sampling))
    reference = (time.process_time() - begin) / few
    stop(server)
    print(
        f"CPU per request: {1e3 * ours / args.requests:.2f} ms, the bare client without failures "
        f"{1e3 * reference:.2f} ms: ratio {ours / args.requests / reference:.2f}"
    )


async def bare(url: str, n: int, ids: list[np.ndarray], sampling: Sampling) -> None:
    """The client library as one would use it by hand, 256 requests at a time."""
    client = openai.AsyncOpenAI(api_key="none", base_url=url, timeout=600.0)
    gate = asyncio.Semaphore(256)

    async def ask(i: int) -> None:
        async with gate:
            found = await client.completions.create(
                model="fake", prompt=ids[i % 100].tolist(), max_tokens=sampling.max_tokens,
                temperature=sampling.temperature, top_p=sampling.top_p, seed=100 + i, logprobs=0,
                extra_body={"stop_token_ids": list(sampling.stop_ids), "return_token_ids": True},
            )  # fmt: skip
            assert found.choices[0].logprobs is not None

    await asyncio.gather(*(ask(i) for i in range(n)))
    await client.close()


if __name__ == "__main__":
    main()
