"""`plan` beside the view that it plans, over the same generated candidates, in the same run.

    python benchmarks/plan.py --responses 2000000 --sentences 40000000

`view` chooses rows as a build does, without shards; `plan` compares what it chooses with a build
that was made before the last `--commits` commits of the catalog, and gives each row that changes a
reason. Each is a process of its own: CPU seconds (least of `--repeat`), and its peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from generate import generate
from process import peak_mb, run

import dasd_data
from dasd_data import manifest, shards
from dasd_data.inputs import gather, tables_of
from dasd_data.plan import plan

VIEW = "low_t_das"


def _session(path: Path, threads: int, at: int | None = None) -> tuple[Any, Any, Any]:
    catalog = dasd_data.open(path, at=at)
    catalog.config = replace(catalog.config, threads=threads)
    file = catalog.find_view(VIEW)
    return catalog, file, catalog.session(file)


def earlier(path: Path, commits: int) -> None:
    """Write ids and manifest of a build at an earlier snapshot: what `plan` reads of one."""
    catalog, file, session = _session(path, 2, at=-commits)
    session.compile(file.sql, "_view")
    rows = session.table("SELECT response_id FROM _view ORDER BY 1")
    draft = gather(catalog, file, session, tables_of(file), unlocked=False)
    written = shards.write([(rows, rows.nbytes)], rows.schema, path / "earlier")
    draft |= {"rows": len(rows), "shards": [shard.json() for shard in written], "built_at": ""}
    draft |= {"contract": {}, "facts": {}, "funnel": [], "worth": None, "robustness": None}
    made = manifest.seal({**draft, "card": hashlib.sha256().hexdigest()})
    (path / "earlier" / manifest.NAME).write_bytes(manifest.encode(made))


def of_view(path: Path, threads: int) -> tuple[float, list[int]]:
    """CPU seconds of choosing rows; (rows)."""
    _, file, session = _session(path, threads)
    session.compile(file.sql, "_view")
    start = time.process_time()
    session.execute("CREATE TEMP TABLE _chosen AS SELECT * FROM _view")
    seconds = time.process_time() - start
    (chosen,) = session.rows("SELECT count(*) AS n FROM _chosen")
    return seconds, [chosen["n"]]


def of_plan(path: Path, threads: int) -> tuple[float, list[int]]:
    """CPU seconds of the plan, the session's making included; (rows, rows in, rows out)."""
    catalog = dasd_data.open(path)
    catalog.config = replace(catalog.config, threads=threads)
    start = time.process_time()
    found = plan(catalog, VIEW, against=str(path / "earlier"))
    seconds = time.process_time() - start
    whole = found.domains[0]
    assert sum(row["rows"] for row in found.reasons) == whole["in"] + whole["out"]
    return seconds, [whole["after"], whole["in"], whole["out"]]


MEASURES: dict[str, Callable[[Path, int], tuple[float, list[int]]]] = {
    "view": of_view,
    "plan": of_plan,
}


def main() -> None:
    """Generate, measure by turns, print seconds, peaks and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--responses", type=int, default=50_000)
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--commits", type=int, default=4, help="made after the earlier build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--path", type=Path, help="catalog to keep, or to use again")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        seconds, result = MEASURES[options.measure](options.path, options.threads)
        print(json.dumps([seconds, peak_mb(), result]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = options.path or Path(temporary) / "dasd.catalog"
        if not path.exists():
            generate(path, options.responses, options.sentences, text=False)
        if not (path / "earlier").exists():
            earlier(path, options.commits)
        found: dict[str, tuple[float, float, list[int]]] = {}
        for _ in range(options.repeat):
            for name in MEASURES:
                arguments = ["--measure", name, "--threads", options.threads, "--path", path]
                seconds, peak, result = run(__file__, *arguments)
                least, most, _ = found.get(name, (seconds, peak, result))
                found[name] = min(least, seconds), max(most, peak), result
    print(f"{options.responses:,} responses, {options.sentences:,} sentences x 2 models")
    rows, coming, going = found["plan"][2]
    assert rows == found["view"][2][0], "the two chose other rows"
    print(f"{rows:,} rows, {coming:,} in, {going:,} out")
    for name, (least, peak, _) in found.items():
        print(f"  {name:5} {least:8.3f} CPU s   peak {peak:7.0f} MB")
    print(f"plan / view {found['plan'][0] / found['view'][0]:.2f}")


if __name__ == "__main__":
    main()
