"""Scores with vLLM in this process: the log-probs of the prompt's own tokens.

Requests are added as the engine takes them and leave as they end (continuous batching), so a few
thousand are held at a time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from builders.records import Scorer
from builders.score.engine import ScoreRequest, ScoreResult, checked, refusal
from builders.score.identity import model_folder, tokenizer_name
from dasd_data.errors import DataError, MissingExtraError, UsageError

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
try:
    import vllm
    from vllm.exceptions import VLLMServerError
    from vllm.platforms import current_platform
except ImportError as error:
    raise MissingExtraError("vllm", "vllm") from error

TELL_SECONDS = 5.0
WAITING = 512  # requests that wait in the engine beside those under way
# With a seed per request, a prefill in parts ends vLLM 0.32 on a CPU.
CPU_BATCHED_TOKENS = 32_768

# Arguments that change how fast values come, and not which.
_SPEED = frozenset(
    [
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "gpu_memory_utilization",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "enforce_eager",
        "seed",
        "cpu_offload_gb",
        "disable_log_stats",
        "enable_prefix_caching",
        "enable_chunked_prefill",
        "download_dir",
        "kv_cache_memory_bytes",
    ]
)

Request = TypeVar("Request", bound=Any)
Result = TypeVar("Result")


class VLLMScorer:
    """An `Engine` over one model. `arguments` go to `vllm.LLM` (tensor_parallel_size, ...).

    `model` is a folder or a Hub repository. Raises UsageError for a model or an argument that
    vLLM refuses, DataError where it fails to load or fails on its way.
    """

    FIXED: ClassVar[Mapping[str, Any]] = {
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
    }
    # vLLM may hold float32 logits of a whole step's prompts: 1.2 GB for Qwen3, outside of the
    # memory that it sets aside.
    BATCHED_TOKENS: ClassVar[int | None] = 2_048

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.name, self.revision = model_folder(model, revision)
        is_cpu = current_platform.is_cpu()
        batched = CPU_BATCHED_TOKENS if is_cpu else self.BATCHED_TOKENS
        settings = {"max_num_batched_tokens": batched, "seed": 0, **(arguments or {})}
        try:
            self.llm = vllm.LLM(**settings, **self.FIXED, model=str(self.folder), dtype=dtype)
        except (TypeError, ValueError) as error:
            raise UsageError(f"vLLM cannot load {self.name}: {_line(error)}") from error
        except (RuntimeError, VLLMServerError) as error:  # PyTorch's lack of memory as well
            raise DataError(
                f"vLLM cannot load {self.name}: {_line(error)}; its log above says why, and a lack "
                "of memory is mended by a smaller max_model_len, max_num_batched_tokens or "
                "gpu_memory_utilization; `pgrep -af VLLM::` lists processes that outlived a kill -9"
            ) from error
        atexit.register(_shut_down, weakref.ref(self.llm.llm_engine.engine_core))
        config = self.llm.llm_engine.model_config
        self.dtype = str(config.dtype).removeprefix("torch.")
        self.max_context: int | None = config.max_model_len
        self.vocab_size = int(config.get_vocab_size())
        parallel = self.llm.llm_engine.vllm_config.parallel_config
        self.gpus: int | None = 0 if is_cpu else parallel.world_size * parallel.data_parallel_size
        self._serial = 0
        others = sorted(f"{k}={v}" for k, v in (arguments or {}).items() if k not in _SPEED)
        self.version = " ".join([vllm.__version__, *others])

    def describe(self) -> Scorer:
        """Model, revision (a content hash for a folder), tokenizer, dtype and engine.

        The engine's version names the arguments on which values depend (`quantization=fp8`).
        """
        return Scorer(
            model=self.name,
            revision=self.revision,
            tokenizer=tokenizer_name(self.folder),
            dtype=self.dtype,
            engine="vllm",
            engine_version=self.version,
            logprobs_mode="raw_logprobs",
            temperature=1.0,
        )

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, as they end."""
        # One token is sampled, and counts.
        most = self.max_context and self.max_context - 1
        params = vllm.SamplingParams(
            temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False
        )

        def refused(request: ScoreRequest) -> ScoreResult | None:
            error = refusal(request, most, self.vocab_size)
            return ScoreResult(request.key, None, error) if error else None

        def taken(request: ScoreRequest, output: Any) -> ScoreResult:
            given = output.prompt_logprobs
            pairs = zip(request.ids.tolist(), given, strict=True)
            values = [table[i].logprob if table else np.nan for i, table in pairs]
            return checked(request.key, np.array(values[request.start :], np.float32))

        return self.run(requests, lambda r: (r.ids, params), refused, taken)

    def run(
        self,
        requests: Iterable[Request],
        asked: Callable[[Request], tuple[Any, Any]],
        refused: Callable[[Request], Result | None],
        taken: Callable[[Request, Any], Result],
    ) -> Iterator[Result | None]:
        """Results as requests end, and None every few seconds.

        Interrupted, it gives what has ended, and raises.
        `asked` gives a request's prompt ids and sampling parameters, `refused` a result without
        the engine, `taken` one from its output.
        """
        engine, under_way = self.llm.llm_engine, dict[str, Request]()
        most = engine.vllm_config.scheduler_config.max_num_seqs + WAITING
        incoming, more, told = iter(requests), True, time.monotonic()
        ended: list[Any] = []
        try:
            while more or under_way:
                while more and len(under_way) < most:
                    request = next(incoming, None)
                    if request is None:
                        more = False
                    elif (result := refused(request)) is not None:
                        yield result
                    else:
                        self._serial += 1
                        ids, params = asked(request)
                        name = str(self._serial)
                        engine.add_request(name, {"prompt_token_ids": ids.tolist()}, params)
                        under_way[name] = request
                ended += [out for out in (self._step() if under_way else ()) if out.finished]
                while ended:
                    output = ended.pop()
                    yield taken(under_way.pop(output.request_id), output)
                if time.monotonic() - told >= TELL_SECONDS:
                    told = time.monotonic()
                    yield None
        except KeyboardInterrupt:
            while ended:
                output = ended.pop()
                yield taken(under_way.pop(output.request_id), output)
            raise
        finally:
            if under_way:  # the caller went away, or the engine did
                with contextlib.suppress(RuntimeError, VLLMServerError):
                    engine.abort_request(list(under_way))

    def _step(self) -> list[Any]:
        """What the engine's next step gives. Raises DataError where it fails."""
        try:
            return list(self.llm.llm_engine.step())
        except (RuntimeError, VLLMServerError) as error:
            raise DataError(
                f"vLLM failed with {self.name}: {_line(error)}; its log above says why; run this "
                "again, with less at once (max_num_batched_tokens, max_num_seqs) where memory was "
                "short"
            ) from error


def _line(error: Exception) -> str:
    """What an error of vLLM says, in a line."""
    return " ".join(f"{error}".split())[:300] or type(error).__name__


def _shut_down(core: weakref.ref[Any]) -> None:
    """End vLLM's processes before multiprocessing waits for them, as it does when Python ends.

    vLLM's own finalizer comes after that where any library used `weakref.finalize` before
    `multiprocessing` was imported: the command would never return.
    """
    if (there := core()) is not None:
        there.shutdown()
