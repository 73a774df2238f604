"""Texts are those of the rows that were asked for, wherever in the files these are."""

from __future__ import annotations

import itertools
from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_data import lookup, render
from dasd_data.errors import DamagedFileError
from dasd_data.schema import TABLES
from dasd_data.session import Session

SCHEMA = TABLES["questions"].schema
SCHEMA_OF_PAIRS = pa.schema([("t", pa.string()), ("a", pa.string())])


def text(number):
    """Lengths differ; some are not ASCII."""
    return f"{number} é" * (number % 5 + 1)


def write(path, texts, first=0, **options):
    """A file of questions q<first>, q<first + 1>, ... of these texts."""
    columns = {name: pa.nulls(len(texts), SCHEMA.field(name).type) for name in SCHEMA.names}
    columns["question_id"] = [f"q{first + n:02d}" for n in range(len(texts))]
    columns["text"] = texts
    schema = pa.schema([field.with_nullable(True) for field in SCHEMA])
    pq.write_table(pa.table(columns, schema), path, **options)
    return path


def flips_of_footer(data):
    """A Parquet file with every third bit of its footer flipped, one at a time."""
    size = int.from_bytes(data[-8:-4], "little")
    for bit in range(0, 8 * size, 3):
        flipped = bytearray(data)
        flipped[len(data) - 8 - size + bit // 8] ^= 1 << bit % 8
        yield flipped


@pytest.fixture
def session(tmp_path):
    """Questions 0 to 59 in three files, of row groups of seven rows."""
    options = {"row_group_size": 7, "write_page_checksum": True, "use_dictionary": False}
    paths = [
        write(tmp_path / f"{n}'s.parquet", [text(n + i) for i in range(20)], n, **options)
        for n in (40, 0, 20)
    ]
    session = Session({"questions": paths})
    yield session
    session.close()


def found(session, wanted):
    """Number of a row -> its text."""
    rows = ", ".join(f"('q{n:02d}', {row})" for row, n in enumerate(wanted))
    numbered = f"SELECT * FROM (VALUES {rows}) AS v (question_id, _row)"
    batches = list(lookup.texts(session, "questions", ["text"], numbered))
    pairs = [pair for b in batches for pair in zip(*b.to_pydict().values(), strict=True)]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.parametrize("batch_rows", [1, 3, 8_192])
@pytest.mark.parametrize(
    "wanted",
    [
        list(range(60)),
        [59, 0, 33, 34, 35, 19, 20],  # ends of files and of row groups
        [7, 7, 50, 7],  # a question of several rows
    ],
)
def test_each_row_gets_its_text(session, monkeypatch, batch_rows, wanted):
    """A row would be trained with the text of another."""
    monkeypatch.setattr(lookup, "BATCH_ROWS", batch_rows)
    assert found(session, wanted) == {row: text(n) for row, n in enumerate(wanted)}


def test_long_texts_come_a_few_at_a_time(session, monkeypatch):
    """A thousand of the longest responses at once would not fit in memory."""
    monkeypatch.setattr(lookup, "BATCH_BYTES", 100)
    numbered = "SELECT question_id, row_number() OVER () - 1 AS _row FROM questions"
    batches = list(lookup.texts(session, "questions", ["text"], numbered))
    assert sum(map(len, batches)) == 60
    assert max(sum(len(t.as_py().encode()) for t in b["text"]) for b in batches) < 100


def test_a_text_that_many_rows_share_comes_a_few_at_a_time(session, monkeypatch):
    """A question of a million responses would take all memory, or more than an array holds."""
    monkeypatch.setattr(lookup, "BATCH_BYTES", 200)
    rows = "FROM questions, range(1_000) WHERE question_id = 'q14'"
    numbered = f"SELECT question_id, row_number() OVER () - 1 AS _row {rows}"
    batches = list(lookup.texts(session, "questions", ["text"], numbered))
    assert {t for b in batches for t in b["text"].to_pylist()} == {text(14)}
    assert sorted(n for b in batches for n in b["_row"].to_pylist()) == list(range(1_000))
    assert max(b["text"].nbytes for b in batches) < 400


def test_a_long_text_that_many_rows_share_comes_a_few_at_a_time(tmp_path, monkeypatch):
    """Among short ones it would be taken for one of them, and a thousand at once."""
    monkeypatch.setattr(lookup, "BATCH_BYTES", 20_000)
    session = Session({"questions": [write(tmp_path / "made.parquet", ["a", "b" * 9_000, "c"])]})
    rows = "FROM questions, range(1_000) WHERE question_id <> 'q00'"
    numbered = f"SELECT question_id, row_number() OVER () - 1 AS _row {rows}"
    batches = list(lookup.texts(session, "questions", ["text"], numbered))
    assert sorted(n for b in batches for n in b["_row"].to_pylist()) == list(range(2_000))
    assert max(sum(len(t.as_py()) for t in b["text"]) for b in batches) < 20_000
    session.close()


def test_a_damaged_page_is_told(session):
    """A split would hold a text that nobody wrote."""
    path = session.files["questions"][1]
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(1).column(SCHEMA.get_field_index("text"))
    data[column.data_page_offset + column.total_compressed_size - 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="verify") as raised:
        found(session, list(range(60)))
    assert raised.value.file == path


def test_a_damaged_footer_is_told_and_ends_no_process(tmp_path):
    """A build would end with a signal, or with an error that names no file."""
    texts = [text(n) for n in range(20)]
    whole = write(tmp_path / "whole", texts, row_group_size=7, use_dictionary=False)
    broken, told = tmp_path / "broken", Counter()
    for flipped in flips_of_footer(whole.read_bytes()):
        broken.write_bytes(flipped)
        try:
            for _ in lookup._batches(broken, ["text"], np.arange(20)):
                pass
        except DamagedFileError as error:
            assert error.file == broken
            told[type(error.__cause__).__name__] += 1
    assert told.keys() >= {"OSError", "ArrowInvalid", "ArrowNotImplementedError"}
    assert told["UnicodeDecodeError"]  # no error of Arrow


def test_a_footer_that_duckdb_calls_invalid_is_damage(session):
    """It would be told as a mistake in the user's SQL."""
    path = session.files["questions"][0]
    data = path.read_bytes()
    for flipped in flips_of_footer(data):
        path.write_bytes(flipped)
        try:
            duckdb.execute("SELECT count(question_id) FROM read_parquet(?)", [str(path)]).fetchall()
        except duckdb.InvalidInputException as error:
            if "Parquet metadata is corrupt" in str(error):
                break
        except (duckdb.Error, UnicodeDecodeError):
            pass
    with pytest.raises(DamagedFileError, match=r"of questions .*metadata is corrupt.*verify"):
        found(session, [1])


def test_folders_named_like_partitions_are_no_columns(tmp_path):
    """All rows would get the text of one, or a model that did not write them."""
    folder = tmp_path / "file_row_number=3" / "filename=x" / "_row=5" / "text=none"
    folder.mkdir(parents=True)
    session = Session({"questions": [write(folder / "made.parquet", ["a", "b", "c"])]})
    assert session.rows("SELECT text FROM questions") == [{"text": t} for t in "abc"]
    assert found(session, [2, 0]) == {0: "c", 1: "a"}
    session.close()


def test_what_is_not_there_has_no_text(session):
    """It is counted as missing; a table without files has none of them."""
    numbered = "SELECT 'q99' AS question_id, 0 AS _row"
    assert list(lookup.texts(session, "questions", ["text"], numbered)) == []
    numbered = "SELECT 'r' AS response_id, 0 AS _row"
    assert list(lookup.texts(session, "responses", ["answer"], numbered)) == []


@pytest.mark.parametrize("thinking", [["a\n"], ["a", ""], [None], ["a é", "", None]])
@pytest.mark.parametrize("answer", [["x"], [None], ["z é", "", None]])
def test_completions_are_what_the_macro_says(session, thinking, answer):
    """Splits would hold other texts than SQL over the catalog shows, and the contract looks at."""
    pairs = list(itertools.product(thinking, answer))
    rows = pa.table(list(map(list, zip(*pairs, strict=True))), SCHEMA_OF_PAIRS)
    session.connection.register("rows", rows)
    told = session.table("SELECT completion(t, a) AS c FROM rows")["c"].to_pylist()
    made = render.completions(*(column.chunk(0) for column in rows.itercolumns()))
    assert made.to_pylist() == told
