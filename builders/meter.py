"""How a run with an engine goes: rates, what was cut off and what failed, cost, time left."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field

from dasd_data.config import Prices

WINDOW_SECONDS = 300.0  # live rates are those of the last minutes
POINT_SECONDS = 1.0  # between two readings that are kept for them
_TOKENS = ("prompt_tokens", "sampled_tokens", "scored_tokens")

_Point = tuple[float, Counter[str]]  # seconds of the clock, and what was counted by then


@dataclass(frozen=True)
class Reading:
    """Figures of a run so far.

    Rates are tokens per second of the last five minutes, or of the whole run; `failed_share` is of
    what ended, `truncated` of what was sampled; cost is in the currency of the prices, None without
    any; `left_s` is in seconds at that rate, None before anything is done. What an earlier run had
    sampled already is no work of this one.
    """

    stage: str
    wanted: int
    done: int
    failed: int
    failed_share: float
    seconds: float
    prompt_tokens: int
    sampled_tokens: int
    scored_tokens: int
    prompt_tokens_per_s: float
    sampled_tokens_per_s: float
    scored_tokens_per_s: float
    truncated: float
    cost: float | None
    left_s: float | None

    def line(self) -> str:
        """The figures in words."""
        parts = [f"prompts {self.prompt_tokens_per_s:,.0f} tokens/s"]
        if self.stage == "score":
            parts.append(f"scored {self.scored_tokens_per_s:,.0f} tokens/s")
        else:
            parts.append(f"sampled {self.sampled_tokens_per_s:,.0f} tokens/s")
            parts.append(f"{self.truncated:.1%} cut off")
        parts.append(f"{self.failed:,} failed ({self.failed_share:.1%})")
        if self.cost is not None:
            parts.append(f"cost {self.cost:,.2f}")
        return ", ".join(parts)

    def record(self) -> dict[str, float | int | None]:
        """The figures by name."""
        return asdict(self)


@dataclass
class Meter:
    """Reads a run's counts against the clock.

    Rates are counted from the first reading on, with which the stage says that its work begins:
    what it prepares takes minutes. Seconds and their cost count from the meter's making.
    """

    prices: Prices
    stage: str
    start: float = field(default_factory=time.monotonic)
    _first: _Point | None = field(default=None, repr=False)
    _points: deque[_Point] = field(default_factory=deque, repr=False)

    def read(self, counts: Counter[str]) -> Reading:
        """The figures for these counts, with the rates of the last minutes."""
        now = self._point(counts)
        return self._reading(counts, self._points[0], now)

    def whole(self, counts: Counter[str]) -> Reading:
        """The figures for these counts, with the rates of the whole run."""
        now = self._point(counts)
        return self._reading(counts, self._first or now, now)

    def _reading(self, counts: Counter[str], then: _Point, now: _Point) -> Reading:
        """The figures for these counts, with the rates between two points."""
        done, failed, wanted = counts["done"], counts["failed"], counts["wanted"]
        ended = done + failed
        over = max(now[0] - then[0], 1e-9)
        rates = {name: (now[1][name] - then[1][name]) / over for name in (*_TOKENS, "worked")}
        seconds = max(now[0] - self.start, 1e-9)
        read = counts["prompt_tokens"] + counts["scored_tokens"]
        return Reading(
            stage=self.stage,
            wanted=wanted,
            done=done,
            failed=failed,
            failed_share=failed / ended if ended else 0.0,
            seconds=seconds,
            prompt_tokens=counts["prompt_tokens"],
            sampled_tokens=counts["sampled_tokens"],
            scored_tokens=counts["scored_tokens"],
            prompt_tokens_per_s=rates["prompt_tokens"],
            sampled_tokens_per_s=rates["sampled_tokens"],
            scored_tokens_per_s=rates["scored_tokens"],
            truncated=counts["finished: length"] / done if done else 0.0,
            cost=cost(self.prices, read, counts["sampled_tokens"], seconds),
            left_s=(wanted - ended) / rates["worked"] if rates["worked"] > 0 else None,
        )

    def _point(self, counts: Counter[str]) -> _Point:
        """What is counted now; kept for later rates, those before the window are let go."""
        seen = Counter({name: counts[name] for name in _TOKENS})
        seen["worked"] = counts["done"] + counts["failed"] - counts["recovered"]
        now = time.monotonic(), seen
        self._first = self._first or now
        while len(self._points) > 1 and self._points[1][0] <= now[0] - WINDOW_SECONDS:
            self._points.popleft()
        if not self._points or now[0] - self._points[-1][0] >= POINT_SECONDS:
            self._points.append(now)
        return now


def cost(prices: Prices, prompt: int, sampled: int, seconds: float = 0.0) -> float | None:
    """What tokens and time cost; None where no price is given. What is scored is prompt."""
    if prices == Prices():
        return None
    return (
        (prices.million_prompt_tokens or 0.0) * prompt / 1e6
        + (prices.million_sampled_tokens or 0.0) * sampled / 1e6
        + (prices.hour or 0.0) * seconds / 3600
    )
