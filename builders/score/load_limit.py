"""How many requests a server bears: grown while all is well, halved where it is overloaded.

Slow increase, multiplicative decrease: Chiu and Jain, 1989.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST = 16  # requests under way at first
OVERLOAD = 0.05  # share of a round's answers above which the server has too much to do


@dataclass
class Limit:
    """How many requests may be under way, decided once a round of as many answers.

    Where more than a twentieth of a round met an overload, it is halved. Without any it is doubled
    at first and grown by a twentieth later. Rare overloads leave it; other failures do not count.
    """

    most: int
    now: int = FIRST
    _slow: bool = field(default=False, repr=False)
    _answers: int = field(default=0, repr=False)
    _overloads: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self.now = min(self.now, self.most)

    def told(self, *, overloaded: bool) -> None:
        """A completion came, or a sign of too much load: a refusal for it, or no answer in time."""
        self._answers += 1
        self._overloads += overloaded
        if self._answers < self.now:
            return
        if self._overloads > self._answers * OVERLOAD:
            self.now, self._slow = max(1, self.now // 2), True
        elif not self._overloads:
            grown = self.now + max(1, self.now // 20) if self._slow else 2 * self.now
            self.now = min(self.most, grown)
        self._answers = self._overloads = 0
