"""What a push costs beyond sending, beside the build; what a second push sends, beside the first.

    python benchmarks/push.py --rows 500000

`overhead` is the CPU time of what only a push needs: the facts of the card, the card, its picture,
the Croissant file, what the catalog knows of earlier pushes, the comparison with what the
repository holds, the operations of the commit, and the record of it. `build` is all of `build`,
with its robustness card. The Hub answers at once, and nothing is sent.

Then the rows of that build, or the first `--sent` of them, are written three more times with the
build's own writer, and sent through Xet's client, with its own chunks and hashes, into a content
store in a folder: without the last 2% of the rows and then with them; and with 0.1% of them removed
at random; and without a random 2%, which is what new responses are in the order of their ids.
`plain` is the same without content-defined pages.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from generate import generate

import dasd_data
from dasd_data import build as builds
from dasd_data import card, shards
from dasd_data.hub.remote import Remote, State

pushes = importlib.import_module("dasd_data.hub.push")  # not the function of that name
ROW_BYTES, SENTENCES = 5_000, 10  # of one row


class Clock:
    """CPU seconds of the calls of a function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added up."""

        def call(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - start

        return call


class Silent(Remote):
    """A data set of the Hub that was never pushed to, and takes everything."""

    def need_token(self) -> None:
        """None is needed."""

    def state(self, revision: str | None = None) -> State:
        """An empty one."""
        return State("0" * 40)

    def check_card(self, text: str) -> None:
        """Every card is taken."""

    def commit(self, wanted: Any, changes: Any, *_: Any) -> str:
        """Make the operations, and send none."""
        self.api.preupload_lfs_files = lambda *_, **__: None
        self.send(wanted, changes.sent)
        return "f" * 40

    def tag(self, name: str, revision: str) -> None:
        """Every tag is put."""


def overhead(path: Path, threads: int) -> builds.Build:
    """Push every response; print the CPU seconds of what only a push needs, and of the build."""
    catalog = dasd_data.open(path)
    catalog.config = replace(catalog.config, threads=threads)
    of_card, of_build, whole = Clock(), Clock(), Clock()
    card.gather, card.of_build = of_card.timed(card.gather), of_card.timed(card.of_build)
    pushes.build, pushes.Remote = of_build.timed(builds.build), Silent
    settings = {"keep": 1_000, "required_filters": []}
    done = whole.timed(pushes.push)(catalog, ["select"], "org/name", settings, tag="v1")
    (made,) = done.builds
    beyond = whole.seconds - of_build.seconds
    print(f"{made.rows:,} rows, {sum(s['bytes'] for s in made.manifest['shards']) / 1e6:,.0f} MB")
    print(
        f"  build              {of_build.seconds:8.2f} CPU s, the card {of_card.seconds:.2f} of it"
    )
    print(f"  push, not sending  {beyond:8.2f} CPU s")
    print(f"  overhead / build   {(beyond + of_card.seconds) / of_build.seconds:8.2%}")
    return made


def second_pushes(folder: Path, rows: int, temporary: Path) -> None:
    """Print the share of its bytes that a second push sends, by what has changed since."""
    table = ds.dataset(folder / "data", format="parquet").head(rows)
    n, generator = len(table), np.random.default_rng(7)
    every = np.arange(n)

    def without(share: float) -> np.ndarray:
        return np.sort(generator.permutation(n)[round(n * share) :])

    changes = {
        "2% appended": (every[: n - n // 50], every),
        "0.1% removed at random": (every, without(0.001)),
        "2% new, by random ids": (without(0.02), every),
    }
    print(f"second push of {n:,} rows: bytes sent over the bytes of its files")
    for name, versions in changes.items():
        shares = []
        for cdc in (True, False):
            store = temporary / f"{name}-{cdc}"
            (_, _), (sent, size) = [
                send(table.take(pa.array(kept)), store / str(i), store / "cas", cdc)
                for i, kept in enumerate(versions)
            ]
            shares.append(sent / size)
        print(f"  {name:24} {shares[0]:7.1%}   plain {shares[1]:7.1%}   of {size / 1e6:,.0f} MB")


def send(table: pa.Table, folder: Path, store: Path, cdc: bool) -> tuple[int, int]:
    """Write rows as a build does and send the shards to a store: bytes sent, bytes of the files."""
    import hf_xet

    writer = shards.writer
    if not cdc:
        shards.writer = plain
    try:
        written = shards.write(groups(table), table.schema, folder)
    finally:
        shards.writer = writer
    store.mkdir(parents=True, exist_ok=True)
    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}")
    for shard in written:
        commit.start_upload_file(str(folder / shard.path))
    sent = commit.wait_to_finish().dedup_metrics.total_bytes_uploaded
    return sent, sum(shard.bytes for shard in written)


def groups(table: pa.Table) -> Iterator[tuple[pa.Table, int]]:
    """Row groups as a build makes them."""
    chats = table["messages"].combine_chunks()
    lengths = pc.binary_length(chats.values.field("content")).to_numpy(zero_copy_only=False)
    sizes = np.add.reduceat(lengths, chats.offsets.to_numpy()[:-1]).astype(np.int64)
    start = 0
    for end in shards.group_ends(sizes):
        yield table[start:end].combine_chunks(), int(sizes[start:end].sum())
        start = end


plain = partial(
    pq.ParquetWriter, compression="zstd", write_page_index=True, write_page_checksum=True
)


def main() -> None:
    """Generate, build, and send; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sent", type=int, default=100_000, help="rows of the second pushes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "made.catalog"
        generate(path, options.rows, options.rows * SENTENCES, sentence_bytes=ROW_BYTES / SENTENCES)
        made = overhead(path, options.threads)
        second_pushes(made.path, options.sent, Path(temporary))


if __name__ == "__main__":
    main()
