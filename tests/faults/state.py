"""What a catalog holds, so that two of them can be compared row by row."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dasd_data import files
from dasd_data.schema import TABLES
from dasd_data.snapshots import Snapshot
from dasd_data.store import Store

# When, by whom and from which snapshot a row came to be differs between two runs.
# A build's id has the hashes of files in it, and these hold run ids.
_VOLATILE = {
    "run_id",
    "built_at",
    "snapshot_id",
    "path",
    "content_hash",
    "build_id",
    "files",
    "robustness",
    "card",
}
OF_RUNS = {"runs", "run_events"}


@dataclass
class State:
    """Rows of every table at a snapshot: as they are, and without what differs between runs."""

    snapshot_id: int
    rows: Mapping[str, Counter[str]]  # every column
    content: Mapping[str, Counter[str]]  # those that another run repeats; no tables of runs
    repeated: list[str]  # keys that stand twice
    children: Mapping[str, Mapping[str, set[str]]]  # table -> response_id or question_id -> rows
    questions: Mapping[str, str]  # response_id -> question_id
    outputs: Counter[str]  # files of builds, and what `select` wrote, with their hashes


def read(store: Store, snapshot: Snapshot, folder: Path, noise: Collection[str] = ()) -> State:
    """Read a snapshot whole; columns of `noise` are not content."""
    tables = {name: table(store, snapshot, name) for name in TABLES}
    children: dict[str, dict[str, set[str]]] = {}
    rows, content, repeated = {}, {}, []
    for name, found in tables.items():
        listed = found.to_pylist()
        rows[name] = Counter(_text(row) for row in listed)
        plain = [
            {k: v for k, v in row.items() if k not in _VOLATILE and k not in noise}
            for row in listed
        ]
        if name not in OF_RUNS:
            content[name] = Counter(_text(row) for row in plain)
        keys = Counter(_text({k: row[k] for k in TABLES[name].key}) for row in listed)
        repeated += [f"{name} {key}" for key, number in keys.items() if number > 1]
        owner = next((c for c in ("response_id", "question_id") if c in found.column_names), None)
        if owner and name != "responses":
            for row in plain:
                children.setdefault(name, {}).setdefault(row[owner], set()).add(_text(row))
    answered = tables["responses"]
    questions = dict(
        zip(answered["response_id"].to_pylist(), answered["question_id"].to_pylist(), strict=True)
    )
    return State(
        snapshot.snapshot_id, rows, content, repeated, children, questions, outputs(folder)
    )


def table(store: Store, snapshot: Snapshot, name: str) -> pa.Table:
    """Rows of a table at a snapshot."""
    parts = [pq.read_table(path) for path in store.files(name, snapshot.tables[name])]
    return pa.concat_tables([TABLES[name].schema.empty_table(), *parts])


def _text(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def outputs(folder: Path) -> Counter[str]:
    """Every finished output with its hash: files of builds, and what `select` wrote."""
    found: Counter[str] = Counter()
    for path in [*folder.glob("*.jsonl"), *folder.glob("dasd.catalog/builds/*/[!.]*/**/*")]:
        if path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            volatile = {*_VOLATILE, "sha256"}  # the digest of all the rest
            plain = {k: v for k, v in manifest.items() if k not in volatile}
            found[f"manifest {_text(plain)}"] += 1
        elif path.is_file() and path.name != "README.md":
            found[f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"] += 1
    return found


def acknowledged_whole(state: State, tables: tuple[str, ...], reference: State) -> list[str]:
    """Children that a response of the snapshot should have brought with it, and are not there."""
    missing = []
    for response, question in state.questions.items():
        for name in tables:
            owner = question if name.startswith("question") else response
            wanted = reference.children.get(name, {}).get(owner, set())
            if name == "question_sources":  # a question of other responses may have more, later
                wanted = set()
            if not wanted <= state.children.get(name, {}).get(owner, set()):
                missing.append(f"{name} of {response}")
    return missing


def damaged(store: Store, snapshot: Snapshot) -> list[str]:
    """Files of a snapshot that are not what they are named by."""
    wrong = []
    for name in TABLES:
        for path in store.files(name, snapshot.tables[name]):
            try:
                files.verify(path, {})
            except files.DamagedFileError as error:
                wrong.append(str(error))
    return wrong
