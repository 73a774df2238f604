"""Which rows a run trains on, which it only evaluates, which it drops and why; what each weighs."""

import hashlib
from pathlib import Path

import numpy as np

from train.config import Config, TrainError
from train.data import Rows

Choice = tuple[np.ndarray, dict[str, np.ndarray], dict[str, list[str]], np.ndarray]


def choose(config: Config, rows: Rows) -> Choice:
    """The choice of a configuration. TrainError if no row is left to train on.

    Numbers of rows to train on, as often as they come in an epoch; of held-out rows, by
    "source/domain"; ids of dropped rows, by reason; a factor of each row's loss weights, [rows].
    A question is held out by its hash and the seed: the same ones in every stage.
    """
    names, lengths, questions = (rows.column(c) for c in ("id", "tokens", "question"))
    reasons, dropped = rows.column("dropped").copy(), dict[str, list[str]]()
    reasons[lengths > config.cutoff] = f"longer than the cut-off of {config.cutoff:,} tokens"
    usable = np.array([reason is None for reason in reasons], bool)
    for reason, name in zip(reasons[~usable], names[~usable], strict=True):
        dropped.setdefault(reason, []).append(name)
    aside = {q for q in set(questions) if _draw(config.seed, "holdout", q) < config.holdout}
    held = usable & np.array([question in aside for question in questions], bool)
    taken, groups = [np.zeros(0, int)], dict[str, np.ndarray]()
    for number, source in enumerate(rows.sources):
        label = source.name or source.config or Path(source.path).name
        mine = np.flatnonzero(usable & ~held & (rows.source == number))
        draws = np.array([_draw(config.seed, "part", name) for name in names[mine]])
        taken += [mine] * int(source.weight) + [mine[draws < source.weight % 1]]
        for domain in sorted(set(rows.column("domain")[held & (rows.source == number)])):
            here = held & (rows.source == number) & (rows.column("domain") == domain)
            groups[f"{label}/{domain}"] = np.flatnonzero(here)
    trained = np.concatenate(taken)
    if not len(trained):
        raise TrainError("\n".join(["the plan is empty: no row to train on", *listed(dropped)]))
    return trained, groups, dropped, _scale(config.gamma, rows, trained)


def listed(dropped: dict[str, list[str]]) -> list[str]:
    """A line per reason, with the first ids."""
    return [f"{len(ids):,} dropped, {reason}: {', '.join(ids[:5])}{', …' if ids[5:] else ''}"
            for reason, ids in dropped.items()]  # fmt: skip


def _scale(gamma: float, rows: Rows, trained: np.ndarray) -> np.ndarray:
    """[rows] exp(gamma * ln p of the teacher), with mean 1 over a question's trained rows."""
    scale = np.ones(len(rows.source))
    if gamma:
        logarithms = gamma * rows.column("teacher")[trained]
        if not (np.abs(logarithms) < 700).all():
            raise TrainError("gamma needs a lower value, or teacher_probability in every row")
        raw = np.exp(logarithms)
        question = np.unique(rows.column("question")[trained].astype(str), return_inverse=True)[1]
        scale[trained] = raw / (np.bincount(question, raw) / np.bincount(question))[question]
    return scale


def _draw(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing else."""
    return int(hashlib.sha256(f"{seed} {purpose} {name}".encode()).hexdigest()[:13], 16) / 16**13
