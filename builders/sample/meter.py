"""How a sample run goes: rates, shares of what was cut off and of what failed, cost, time left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from dasd_data.config import Prices


@dataclass(frozen=True)
class Reading:
    """Figures of a run so far. Rates are tokens per second since it began; cost is in the
    currency of the prices, None without any; `left_s` is in seconds, None before anything is done.
    """

    wanted: int
    done: int
    failed: int
    seconds: float
    prompt_tokens: int
    sampled_tokens: int
    prompt_tokens_per_s: float
    sampled_tokens_per_s: float
    truncated: float
    cost: float | None
    left_s: float | None

    def line(self) -> str:
        """The figures in words."""
        parts = [
            f"prompts {self.prompt_tokens_per_s:,.0f} tokens/s",
            f"sampled {self.sampled_tokens_per_s:,.0f} tokens/s",
            f"{self.truncated:.1%} cut off",
            f"{self.failed:,} failed",
        ]
        if self.cost is not None:
            parts.append(f"cost {self.cost:,.2f}")
        return ", ".join(parts)

    def record(self) -> dict[str, float | int | None]:
        """The figures by name."""
        return asdict(self)


@dataclass
class Meter:
    """Reads a run's counts against the clock, from its making on."""

    prices: Prices
    start: float = field(default_factory=time.monotonic)

    def read(self, counts: Counter[str]) -> Reading:
        """The figures for these counts."""
        seconds = max(time.monotonic() - self.start, 1e-9)
        done, failed, wanted = counts["done"], counts["failed"], counts["wanted"]
        ended = done + failed
        return Reading(
            wanted=wanted,
            done=done,
            failed=failed,
            seconds=seconds,
            prompt_tokens=counts["prompt_tokens"],
            sampled_tokens=counts["sampled_tokens"],
            prompt_tokens_per_s=counts["prompt_tokens"] / seconds,
            sampled_tokens_per_s=counts["sampled_tokens"] / seconds,
            truncated=counts["finished: length"] / done if done else 0.0,
            cost=cost(self.prices, counts["prompt_tokens"], counts["sampled_tokens"], seconds),
            left_s=seconds * (wanted - ended) / ended if ended else None,
        )


def cost(prices: Prices, prompt: int, sampled: int, seconds: float = 0.0) -> float | None:
    """What tokens and time cost; None where no price is given."""
    if prices == Prices():
        return None
    return (
        (prices.million_prompt_tokens or 0.0) * prompt / 1e6
        + (prices.million_sampled_tokens or 0.0) * sampled / 1e6
        + (prices.hour or 0.0) * seconds / 3600
    )
