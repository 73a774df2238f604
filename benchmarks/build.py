"""A build of generated rows beside a plain copy of them with pyarrow, in the same run.

    python benchmarks/build.py --rows 100000 500000

`build` chooses all rows of a catalog of 5 KB texts and writes a split, as `dasd-data build` does:
hashes the files it reads, chooses, puts the texts in order, renders, writes shards, hashes them,
writes the card (without its robustness part, which measures sentences, unless `--robustness` says
so). `copy` reads the shards of that build and writes the same rows again: 1,000 rows at
a time, with the same settings (zstd, page index, page checksums, content-defined chunks), and
hashes what it wrote. It neither joins nor sorts nor renders.

Each is a process of its own: seconds and CPU seconds of the work, and the peak resident memory of
the process. The last line tells how the peak of the build grew from the first number of rows to
the last, which it does until DuckDB has all of its `--memory-limit`, and spills.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from generate import generate
from process import peak_mb, run

import dasd_data
from dasd_data import shards
from dasd_data.build import build

ROW_BYTES, SENTENCES = 5_000, 10  # of one row


def with_build(options: argparse.Namespace, path: Path, out: Path) -> int:
    """Build every response; returns the rows."""
    catalog = dasd_data.open(path)
    limits = replace(catalog.config.sql, memory_limit=options.memory_limit)
    catalog.config = replace(catalog.config, threads=options.threads, sql=limits)
    (path / "verified.json").unlink(missing_ok=True)  # all inputs are hashed again
    settings = {"keep": 1_000, "required_filters": []}
    return build(catalog, "select", settings, out=out, robustness=options.robustness).rows


def with_copy(out: Path) -> int:
    """Copy the shards of a build; returns the rows."""
    rows = 0
    for shard in sorted((out / "data").glob("*.parquet")):
        copy = out.parent / "copy.parquet"
        with (
            pq.ParquetFile(shard, pre_buffer=False) as source,  # else it holds the whole shard
            shards.writer(copy, source.schema_arrow) as target,
        ):
            for batch in source.iter_batches(shards.GROUP_ROWS, use_threads=False):
                target.write_batch(batch, row_group_size=shards.GROUP_ROWS)
                rows += len(batch)
        with copy.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        copy.unlink()
    return rows


def main() -> None:
    """Generate, build and copy at each size; print seconds, peaks and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--robustness", choices=("off", "fast", "full"), default="off")
    parser.add_argument("--memory-limit", help="of DuckDB, as `sql.memory_limit` in dasd.toml")
    parser.add_argument("--folder", type=Path, help="folder to keep the catalogs in")
    parser.add_argument("--measure", choices=("build", "copy"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        out = options.folder.with_suffix(".split")
        start, cpu = time.perf_counter(), time.process_time()
        rows = (
            with_build(options, options.folder, out)
            if options.measure == "build"
            else with_copy(out)
        )
        spent = [time.process_time() - cpu, time.perf_counter() - start]
        print(json.dumps([*spent, peak_mb(), rows]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        peaks = []
        for rows in options.rows:
            path = (options.folder or Path(temporary)) / f"{rows}.catalog"
            if not path.exists():
                generate(path, rows, rows * SENTENCES, sentence_bytes=ROW_BYTES / SENTENCES)
            peaks.append(measure_both(path, options))
    print(
        f"from the first to the last, the peak of the build grew by {peaks[-1] - peaks[0]:.0f} MB"
    )


def measure_both(path: Path, options: argparse.Namespace) -> float:
    """Build and copy, taking turns; print the least seconds, the greatest peaks, the ratio.

    Returns the peak of the build in MB.
    """
    found: dict[str, list[tuple[float, ...]]] = {"build": [], "copy": []}
    for _ in range(options.repeat):
        shutil.rmtree(path.with_suffix(".split"), ignore_errors=True)
        for name, runs in found.items():
            arguments = ["--measure", name, "--folder", path, "--threads", options.threads]
            if options.memory_limit:
                arguments += ["--memory-limit", options.memory_limit]
            *spent, rows = run(__file__, *arguments, "--robustness", options.robustness)
            runs.append(tuple(spent))
    shutil.rmtree(path.with_suffix(".split"))
    print(f"{rows:,} rows of {ROW_BYTES:,} bytes, robustness {options.robustness}")
    cpu, wall = ({n: min(r[i] for r in runs) for n, runs in found.items()} for i in (0, 1))
    for name, runs in found.items():
        peak = max(run[2] for run in runs)
        print(f"  {name:6} {cpu[name]:8.2f} CPU s {wall[name]:8.2f} s   peak {peak:7.0f} MB")
    print(
        f"  build / copy {cpu['build'] / cpu['copy']:.2f} in CPU time,"
        f" {wall['build'] / wall['copy']:.2f} in time"
    )
    return max(run[2] for run in found["build"])


if __name__ == "__main__":
    main()
