"""Bad rows through the real command: quarantined with file, line and reason, neighbours kept."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import dasd_data

MAIN = "from dasd_data.cli import main; main()"
STRANGE = b'new\nline "quoted" \x1b[31m \xff.jsonl'


def good(name: str, i: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"{name} {i}?", "completion": f"{name} {i}", **more}


def lines(name: str, *bad: bytes, end: bytes = b"\n") -> bytes:
    """Good rows with bad ones between them: the k-th bad row stands on line 2k."""
    rows = [json.dumps(good(name, 1)).encode()]
    for i, row in enumerate(bad, 2):
        rows += [row, json.dumps(good(name, i)).encode()]
    return end.join(rows) + end


def scored(name: str, *values: Any, text: str = "ab", ask: int = 0) -> bytes:
    """A chat completion of `text` with one token a letter and these log-probs."""
    content = [
        {"token": c, "bytes": [ord(c)], "logprob": v} for c, v in zip("ab", values, strict=False)
    ]
    row = {"object": "chat.completion", "model": "m", "messages": [
        {"role": "user", "content": f"{name} {text} {ask}?"}], "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text},
         "logprobs": {"content": content}}]}  # fmt: skip
    return json.dumps(row).encode()


def chats(name: str, *bad: bytes) -> bytes:
    return b"\n".join([scored(name, -0.5, -0.25), *bad]) + b"\n"


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def damaged_page() -> bytes:
    rows = [good("page", i) for i in range(300)]
    data = bytearray(parquet(
        {c: [r[c] for r in rows] for c in rows[0]}, row_group_size=100, compression="none",
        use_dictionary=False, write_page_checksum=True,
    ))  # fmt: skip
    data[data.index(b"page 150?") + 3] ^= 1  # still text: only the checksum tells
    return bytes(data)


def typed() -> bytes:
    """Wrong types, nested nulls, dictionary columns."""
    messages = [
        [{"role": "user", "content": "t 1?"}, {"role": "assistant", "content": "t 1"}],
        [{"role": "user", "content": None}, {"role": None, "content": "x"}],
        [None],
        None,
        [{"role": "user", "content": "t 5?"}, {"role": "assistant", "content": "t 5"}],
    ]
    domain = pa.array(["math", "math", "math", "math", "code"]).dictionary_encode()
    far = pa.array([1, 2, 3, 4, 5], pa.timestamp("s", "Europe/Berlin"))
    return parquet({"messages": messages, "domain": domain, "when": far})


def table_of(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


DEEP = 100_000
LIST = b'{"prompt": "deep?", "completion": "x", "a": ' + b"[" * DEEP + b"]" * DEEP + b"}"
OBJECT = b'{"a":' * DEEP + b"1" + b"}" * DEEP
PACKED = gzip.compress(lines("cut") * 2000)
# name: its bytes, the refused (line, part of the reason), how many responses are kept
CASES: dict[str, tuple[bytes, list[tuple[int, str]], int]] = {
    "utf8.jsonl": (lines("utf8", b'{"prompt": "\xff\xfe", "completion": "x"}'), [(2, "0xff")], 2),
    "surrogate.jsonl": (lines("surrogate", b'{"prompt": "\\ud83d"}'), [(2, "surrogate")], 2),
    "torn.jsonl": (lines("torn") + b'{"prompt": "to', [(2, "cut off")], 1),
    "torn_first.jsonl": (b'{"prompt": "to\n' + lines("torn_first"), [(1, "")], 1),
    "twice.jsonl": (lines("twice", b'{"prompt": "a", "prompt": "b"}',
                          b'{"prompt": "a", "x": {"y": 1, "y": 2}}'),
                    [(2, "'prompt' stands twice"), (4, "'y' stands twice")], 3),
    "deep.jsonl": (lines("deep", LIST, OBJECT), [(2, "too deeply"), (4, "too deeply")], 3),
    "deeper_than_we_store.jsonl": (
        lines("below", LIST.replace(b"[" * DEEP, b"[" * 900).replace(b"]" * DEEP, b"]" * 900)),
        [(2, "too deeply")], 2),
    "deep.json": (b"[" + json.dumps(good("doc", 1)).encode() + b"," + LIST + b"," +
                  json.dumps(good("doc", 2)).encode() + b"]", [(2, "too deeply")], 2),
    "nul.jsonl": (lines("nul", b"\0" * 64, b'{"prompt": "a\0b", "completion": "x"}'),
                  [(2, ""), (4, "")], 3),
    "bom.jsonl": (b"\xef\xbb\xbf" + lines("bom", b"\xef\xbb\xbf{}"), [(2, "")], 2),
    "utf16.jsonl": (lines("utf16").decode().encode("utf-16"), [(1, "UTF-16")], 0),
    "crlf.jsonl": (lines("crlf", b"{", end=b"\r\n"), [(2, "cut off")], 2),
    "nan.jsonl": (chats("nan", *(scored("nan", v, -1, text=t) for v, t in (
        (float("nan"), "n1"), (float("inf"), "n2"), (float("-inf"), "n3")))),
        [(2, "NaN is not JSON"), (3, "Infinity is not JSON"), (4, "-Infinity is not JSON")], 1),
    "logprobs.jsonl": (chats(
        "lp", *(scored("lp", v, -1, ask=i) for i, v in enumerate(
            (None, -9999.0, 0.1, "-0.5", 1e-5, 2e-4), 1))),
        [(2, "not a log-probability"), (3, "vLLM's floor"), (4, "above 0"), (7, "above 0")], 7),
    "lengths.jsonl": (chats("len", scored("len", -1), scored("len", -1, -1, text="xy")),
                      [(2, "do not tile"), (3, "do not tile")], 2),
    "lists.jsonl": (b'{"prompt": "l?", "completion": "ab", "token_ids": [1, 2], "logprobs": [-1]}\n',
                    [(1, "2 token ids, 1 log-probs")], 1),
    "domain.jsonl": (lines("dom", b'{"prompt": "a", "completion": "b", "domain": "cooking"}'),
                     [(2, "domain 'cooking' is none of")], 2),
    "other.jsonl": (lines("other", *(json.dumps(good("key", i) | {
        "prompt": "k?", "uuid": "8f1c0000-0000-4000-8000-000000000000"}).encode() for i in (1, 2))),
        [(4, "same key and other content")], 4),
    "numbers.jsonl": (lines("num", *(json.dumps(good("n", i, seed=seed)).encode() for i, seed in
                                     enumerate((2**70, "12", 1.5, 10**400)))),
                      [(2, "64 bits"), (6, "whole number"), (8, "64 bits")], 6),
    "cut.jsonl.gz": (PACKED[:-30], [(1000, "damaged")], 1),
    "cut.jsonl.zst": (zstandard.ZstdCompressor().compress(lines("zst") * 9)[:-9], [(1, "damaged")], 0),
    "members.jsonl.gz": (gzip.compress(lines("m1")) + gzip.compress(lines("m2")), [], 2),
    "empty.jsonl": (b"", [], 0),
    "page.parquet": (damaged_page(), [(101, "row group 1 is damaged")], 200),
    "types.parquet": (typed(), [(2, "a turn"), (3, "not an object"), (4, "not a list")], 2),
    "wrong.parquet": (parquet({"prompt": [1, 2], "completion": ["a", "b"]}),
                      [(1, "not text but a number"), (2, "not text but a number")], 0),
    "wide.csv": (table_of([["prompt", "completion"], ["w 1?", "w 1"], ["w 2?"], ["w 3?", "w 3"]]),
                 [(2, "1 fields under a header of 2")], 2),
    "twice.csv": (table_of([["prompt", "prompt"], ["a", "b"]]), [(1, "stands twice")], 0),
    "config.json": (b'{"architectures": ["Qwen3"], "vocab_size": 9}', [(1, "no shape")], 0),
    "first_is_odd.jsonl": (b'{"odd": 1}\n' + lines("odd"), [(1, "no shape")], 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], ...]:
    """The folder of all cases ingested by the real command.

    Gives the quarantine by file, what was printed, and the number of responses by source.
    """
    folder = tmp_path_factory.mktemp("bad")
    data = folder / "data"
    data.mkdir()
    for name, (content, _, _) in CASES.items():
        (data / name).write_bytes(content)
    (data / os.fsdecode(STRANGE)).write_bytes(lines("strange", b"{"))
    os.mkfifo(data / "pipe.jsonl")
    (data / "nowhere.jsonl").symlink_to(data / "gone.jsonl")
    (data / "round").symlink_to(data)
    catalog = dasd_data.create(folder / "dasd.catalog", settings=False)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "ingest", str(data), "--catalog", str(folder / "dasd.catalog")],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = {}
    rows = catalog.refresh().sql(
        "SELECT file, line, reason, raw FROM quarantine ORDER BY file, line"
    )
    for file, line, reason, raw in rows.fetchall():
        found.setdefault(file.removeprefix(f"{data}/"), []).append((line, reason, raw))
    kept = catalog.sql("SELECT source, count(*) FROM responses GROUP BY ALL").fetchall()
    return found, done.stderr, dict(kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_bad_rows_are_quarantined_with_their_line(ingested: Any, name: str) -> None:
    """A bad row would vanish, stand at another line, or give no reason that helps."""
    found = ingested[0].get(name, [])
    wanted = CASES[name][1]
    if name == "cut.jsonl.gz":
        assert len(found) == 1 and found[0][0] > 1000 and "damaged" in found[0][1]
        return
    assert [line for line, _, _ in found] == [line for line, _ in wanted]
    for (_, reason, raw), (_, part) in zip(found, wanted, strict=True):
        assert part in reason and len(reason) <= 500 and reason.isprintable()
        assert "Traceback" not in reason and len(raw.encode()) <= 3 * 4096


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_rows_around_are_kept(ingested: Any, name: str) -> None:
    """One bad row would take its neighbours with it."""
    source = name.split(".", maxsplit=1)[0]
    shared = sum(case[2] for other, case in CASES.items() if other.split(".")[0] == source)
    assert ingested[2].get(source, 0) == shared


@pytest.mark.slow
def test_files_that_are_none_and_strange_names(ingested: Any) -> None:
    """A pipe would block, a link in a circle go on for ever, a name not UTF-8 end the run."""
    found = ingested[0]
    assert found["pipe.jsonl"][0][:2] == (1, "not a file but a pipe")
    assert "cannot be read" in found["nowhere.jsonl"][0][1]
    name = STRANGE.decode("utf-8", "backslashreplace")
    assert found[name][0][0] == 2 and "cut off" in found[name][0][1]
    assert not any(file.startswith("round/") for file in found)


@pytest.mark.slow
def test_the_counts_are_printed(ingested: Any) -> None:
    """Nobody would notice that rows were refused."""
    found, printed, _ = ingested
    refused = sum(map(len, found.values()))
    assert f"{refused} rows refused" in printed and "FROM quarantine" in printed
    assert "1 file of no known shape" in printed and "Traceback" not in printed


def test_a_file_of_no_known_shape_is_given_up(
    jsonl: Callable[..., Path], tmp_path: Path, context: Callable[..., Any]
) -> None:
    """A wrong file of a million rows would fill the quarantine, or stop the files beside it."""
    from builders.ingest.stage import ingest
    from dasd_data.errors import UsageError

    catalog = dasd_data.create(tmp_path / "dasd.catalog")
    wrong = jsonl([{"odd": i} for i in range(300)], "wrong.jsonl")
    with pytest.raises(UsageError, match="no shape has the columns odd"):
        ingest(catalog, [str(wrong)], context())
    right = jsonl([good("right", 1)], "right.jsonl")
    counts = ingest(catalog, [str(wrong), str(right)], context())
    assert (counts["responses"], counts["refused"], counts["unknown files"]) == (1, 101, 1)


def test_an_input_of_which_nothing_could_be_taken_is_exit_code_3(tmp_path, command):
    """A script would go on without data."""
    (tmp_path / "notes.md").write_text("# No rows here\n")
    command("init")
    done = command("ingest", "notes.md")
    assert (done.returncode, "no row could be taken" in done.stderr) == (3, True)
