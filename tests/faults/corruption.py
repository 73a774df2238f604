"""Random damage to a catalog: does anything read wrong rows without a word?

    python tests/faults/corruption.py --points 10000 --seed 1

A point flips a bit of, truncates or deletes one file: data, log entry, checkpoint, a note beside
them, or a file of a build; some put the times back. *Silent-wrong* is a point after which rows of
the damaged table, at the newest or at an old snapshot, differ from the truth, and `verify` says
sound; or after which a build succeeds with other shards, or `gc` would remove what it would not
have; or, of a build's own files, after which `verify` says sound, or the same build again does not
leave it whole. Then the file is put back.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import dasd_data
from builders.run import to_table
from dasd_data import gc, manifest
from dasd_data.build import build
from dasd_data.compact import compact
from dasd_data.errors import DasdError
from dasd_data.keys import question_id
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.store import Store
from dasd_data.verify import verify
from dasd_data.writer import Writer

KINDS = {"data": 35, "log": 25, "checkpoint": 15, "note": 10, "build": 15}
EVERY = 10  # one point in so many asks `verify`, whether or not rows differ
_BOUNDS = re.compile(rb'"(?:min|max)Values": ?{"\w+": ?(\d+)')  # nothing else vouches for them
VIEW = "SELECT response_id FROM responses"


@dataclass(frozen=True)
class Truth:
    """What an undamaged catalog gives: snapshots, rows by table and snapshot, a build, garbage."""

    path: Path
    snapshots: dict[int, Any]
    rows: dict[tuple[str, int], Any]
    build: dict[str, str]
    garbage: set[Any]


def make(path: Path, commits: int = 30) -> Truth:
    """A catalog with more commits than a checkpoint needs, compacted once on the way."""
    catalog = dasd_data.create(path, settings=False)
    (path / "views" / "all.sql").write_text(VIEW)
    writer = Writer(catalog.store, "made")
    for number in range(commits):
        writer.append(_rows(number, pending=number % 7 == 0))
        if number == commits // 2:
            compact(catalog.store)
    catalog.refresh()
    newest = catalog.snapshot.snapshot_id
    shutil.rmtree(build(catalog, "all").path)
    made = build(catalog.refresh(), "all")  # at the snapshot that a build anew would be at
    _die_before_recording(path)
    numbers = (catalog.refresh().snapshot.snapshot_id, newest // 2)
    snapshots = {n: catalog.store.snapshot(n) for n in numbers}
    names = (*TABLES, SNAPSHOTS.name)
    rows = {(name, n): _read(catalog.store, name, snapshots[n]) for name in names for n in numbers}
    return Truth(path, snapshots, rows, _content(made.path), _garbage(catalog.store))


class _DiedError(Exception):
    pass


def _die_before_recording(path: Path) -> None:
    """Leave a commit that no snapshot has recorded."""

    def die(step: str) -> None:
        if step == "questions: committed":
            raise _DiedError

    question = {"question_id": question_id("late"), "text": "late", "domain": "math"}
    with suppress(_DiedError):
        Writer(Store(path, die), "died").append({"questions": to_table("questions", [question])})


def _rows(number: int, pending: bool) -> dict[str, Any]:
    text = f"question {number}"
    question = question_id(text)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    both = {"response_id": key, "run_id": "run"}
    score = {**both, "scorer_id": "s"}
    rows: dict[str, dict[str, Any]] = {
        "questions": {"question_id": question, "text": text, "domain": "math"},
        "tokens": {**score, "token_bytes": [5, 4], "logprobs": [-0.5, -0.25], "n_tokens": 2}
        | {"has_logprobs": True},
        "sentences": {**both, "segmenter": "s", "segmentation_id": "x", "byte_end": [5, 9]}
        | {"kind": [0, 0], "section": [0, 1]},
        "sentence_scores": {**score, "segmentation_id": "x", "n_tokens": [1, 1]}
        | {"logprob_sum": [-0.5, -0.25]},
        "responses": {**both, "question_id": question, "thinking": "Think", "answer": "Done"}
        | {"policy": "teacher", "model": "big", "temperature": 0.6},
    }
    if pending:  # a response that never came, for `gc --pending`
        rows["announced"] = both
        del rows["responses"]
    if number == 0:
        rows["runs"] = {"run_id": "run", "stage": "test", "configuration": "{}"}
        rows["scorers"] = {"scorer_id": "s", "name": "teacher", "model": "big"}
        rows["flags"] = {**both, "filter": "length", "version": "1", "passed": True}
    return {name: to_table(name, [row]) for name, row in rows.items()}


def _read(store: Store, table: str, snapshot: Any) -> Any:
    """Rows of a table at a snapshot, as DuckDB reads them: their number and a sum over them."""
    own = table == SNAPSHOTS.name
    state = store.history(snapshot) if own else snapshot.tables[table]
    paths = store.files(table, state)
    if not paths:
        return (0, None)
    with duckdb.connect() as connection:
        return connection.execute(
            "SELECT count(*), sum(hash(f)::HUGEINT) FROM read_parquet(?) AS f",
            [[str(p) for p in paths]],
        ).fetchone()


def point(truth: Truth, rng: random.Random, number: int) -> tuple[str, str]:
    """Damage one file, look, and put it back. Returns the kind of damage and what came of it."""
    place, kind = _choose(truth.path, rng)
    how = rng.choice(["flip", "flip", "flip", "truncate", "delete"])
    with _damaged(place, how, rng):
        if kind == "build":
            return f"{kind} {how}", _of_build(truth)
        if not place.is_relative_to(truth.path / "tables"):
            return f"{kind} {how}", "SILENT-WRONG" if _built_wrong(truth) else "harmless"
        table = place.relative_to(truth.path / "tables").parts[0]
        table = table if table in TABLES else SNAPSHOTS.name
        wrong = _differs(truth, table)
        if wrong is not True and number % EVERY:
            outcome = "refused" if wrong is None else "read right"
        elif not verify(Store.open(truth.path)).sound:
            outcome = "found by verify"
        else:
            outcome = "SILENT-WRONG" if wrong else "harmless"
        if wrong and (_built_wrong(truth)):
            outcome = "SILENT-WRONG build"
        looks = kind != "data" or number % EVERY == 0  # of data files gc reads little
        if looks and _removed_wrong(truth):
            outcome = "SILENT-WRONG gc"
    return f"{kind} {how}", outcome


def _differs(truth: Truth, table: str) -> bool | None:
    """Whether rows differ from the truth; None where reading them is refused."""
    refused = 0
    for number, snapshot in truth.snapshots.items():
        at = None if number == max(truth.snapshots) else number
        try:
            store = Store.open(truth.path)
            found = store.snapshot(at)
            if found != snapshot or _read(store, table, found) != truth.rows[table, number]:
                return True
        except (DasdError, duckdb.Error, UnicodeDecodeError):  # DuckDB quotes damaged names
            refused += 1
    return None if refused else False


def _built_wrong(truth: Truth) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = build(dasd_data.open(truth.path), "all", out=Path(folder) / "again")
        except DasdError:
            return False
        found = _content(made.path)
        return [found.get(name) for name in _shards(truth)] != [*_shards(truth).values()]


def _garbage(store: Store) -> set[Any]:
    """What `gc` would remove: files, and, with all of its options, numbers of rows."""
    before = store.snapshot(store.snapshot().snapshot_id - 3)
    found = gc.collect(store, pending=True, expire_before=before, dry_run=True, safe_seconds=0)
    return {*found.paths, *((table, n) for table, n in found.rows.items() if n)}


def _removed_wrong(truth: Truth) -> bool:
    with suppress(DasdError, duckdb.Error, UnicodeDecodeError):
        return not _garbage(Store.open(truth.path)) <= truth.garbage
    return False


def _of_build(truth: Truth) -> str:
    """What came of damage to a file of the build: found, and mended by the same build."""
    (folder,) = (truth.path / "builds" / "all").iterdir()
    kept = shutil.copytree(folder, truth.path.parent / "kept")
    harmless = _content(folder) == truth.build  # one case of a hexadecimal digit for the other
    try:
        sound = verify(Store.open(truth.path)).sound
        made = build(dasd_data.open(truth.path), "all")
        if sound and not harmless:
            return "SILENT-WRONG"
        if _content(made.path) != truth.build:
            return "SILENT-WRONG build"
        return "harmless" if sound else "found by verify"
    finally:
        shutil.rmtree(folder)
        kept.rename(folder)


def _content(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a build; of its manifest, of all but when it was built."""
    found = {}
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.name == manifest.NAME:
            with suppress(DasdError):
                rest = {**manifest.parse(data, path), "built_at": "", "sha256": ""}
                data = manifest.encode(rest)
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _shards(truth: Truth) -> dict[str, str]:
    return {name: digest for name, digest in truth.build.items() if name.endswith(".parquet")}


def _choose(catalog: Path, rng: random.Random) -> tuple[Path, str]:
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    pattern = {
        "data": "*/*.parquet",
        "log": "*/_delta_log/*.json",
        "checkpoint": "*/_delta_log/*.checkpoint.parquet",
        "note": "*/_delta_log/_last_checkpoint",
        "build": "all/*/**/*",
    }[kind]
    folder = catalog / ("builds" if kind == "build" else "tables")
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if kind == "note":
        found += [folder / "head.json", catalog / "verified.json"]
    return rng.choice(found), kind


@contextmanager
def _damaged(place: Path, how: str, rng: random.Random) -> Iterator[None]:
    data, times = place.read_bytes(), place.stat()
    changed = bytearray(data)
    if how == "flip":
        numbers = [at for found in _BOUNDS.finditer(data) for at in range(*found.span(1))]
        aimed = numbers and rng.random() < 0.3
        at = rng.choice(numbers) if aimed else rng.randrange(len(data))
        changed[at] ^= 1 << rng.randrange(8)
    elif how == "truncate":
        del changed[rng.randrange(len(data)) :]
    try:
        if how == "delete":
            place.unlink()
        else:
            place.write_bytes(changed)
            if rng.random() < 0.5:
                os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
        yield
    finally:
        place.write_bytes(data)


def run(
    points: int, seed: int, folder: Path, outcomes: Counter[tuple[str, str]] | None = None
) -> Counter[tuple[str, str]]:
    """Try `points` points on a fresh catalog in `folder`; counts by damage and outcome."""
    rng = random.Random(seed)
    truth = make(folder / "made.catalog")
    outcomes = Counter() if outcomes is None else outcomes
    for number in range(points):
        outcomes[point(truth, rng, number)] += 1
        # A build that was refused recorded nothing; one that came through did: start afresh.
        if Store.open(truth.path).snapshot() != truth.snapshots[max(truth.snapshots)]:
            shutil.rmtree(folder / "made.catalog")
            truth = make(folder / "made.catalog")
    assert verify(Store.open(truth.path)).sound
    return outcomes


def main() -> None:
    """Run the harness and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):  # Ctrl-C: so far
        run(chosen.points, chosen.seed, Path(folder), outcomes)
    for (damage, outcome), n in sorted(outcomes.items()):
        print(f"{damage:<20} {outcome:<18} {n:>7,}")
    silent = sum(n for (_, outcome), n in outcomes.items() if outcome.startswith("SILENT"))
    print(f"{outcomes.total():,} points, seed {chosen.seed}: silent-wrong {silent}")
    raise SystemExit(1 if silent else 0)


if __name__ == "__main__":
    main()
