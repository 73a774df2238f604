"""The view `low_t_das` over generated sentences, beside what any query must do, in the same run.

    python benchmarks/views.py --responses 500000 --sentences 50000000

`view` chooses rows as a build does, without shards. Beside it, over the same catalog:

- `unnest`: unnests the lists of `sentence_scores` (both models), counts their elements by response,
  and counts those of `sentences`; no join, no arithmetic;
- `scores`: the same over `sentence_scores` alone, of which the view reads those at its temperature;
- `count`: `unnest` without groups: reading and unnesting alone;
- `wide`: the per-sentence part alone (p under both models, label, counts and exact sums by
  response, at the view's temperature) over a hand-made table: one row per sentence with the values
  of both models, ordered by response, written before the clock starts.

Each is a process of its own: CPU seconds of the query (least of `--repeat`), and the peak resident
memory of the process. A catalog of a tenth of the size tells how the time grows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb
from generate import generate, scorer_id
from process import peak_mb, run

import dasd_data
from dasd_data import sqlfiles
from dasd_data.session import Session

VIEW = "low_t_das"

COUNT = """
SELECT
    (SELECT count(n) + count(l) FROM (
        SELECT unnest(n_tokens) AS n, unnest(logprob_sum) AS l FROM sentence_scores
    )),
    (SELECT count(b) + count(k) + count(s) FROM (
        SELECT unnest(byte_end) AS b, unnest(kind) AS k, unnest(section) AS s FROM sentences
    ))
"""

SCORES = """
SELECT sum(n) + sum(l) FROM (
    SELECT response_id, count(n) AS n, count(l) AS l FROM (
        SELECT response_id, unnest(n_tokens) AS n, unnest(logprob_sum) AS l FROM sentence_scores
    ) GROUP BY response_id
)
"""

UNNEST = COUNT.replace(
    """SELECT count(n) + count(l) FROM (
        SELECT unnest(n_tokens) AS n, unnest(logprob_sum) AS l FROM sentence_scores
    )""",
    SCORES,
)

WRITE_WIDE = f"""
COPY (
    SELECT response, temperature, unnest(n_teacher) AS n_teacher, unnest(n_student) AS n_student,
        unnest(logprob_sum_teacher) AS logprob_sum_teacher,
        unnest(logprob_sum_student) AS logprob_sum_student
    FROM (
        SELECT row_number() OVER (ORDER BY response_id)::INT AS response, r.temperature,
            t.n_tokens AS n_teacher, s.n_tokens AS n_student,
            t.logprob_sum AS logprob_sum_teacher, s.logprob_sum AS logprob_sum_student
        FROM responses AS r
        INNER JOIN sentence_scores AS t USING (response_id)
        INNER JOIN sentence_scores AS s USING (response_id)
        WHERE t.scorer_id = '{scorer_id("teacher")}' AND s.scorer_id = '{scorer_id("student")}'
    )
) TO '{{path}}' (FORMAT parquet, COMPRESSION zstd)
"""

SCORED = """
SELECT count(*) AS n, sum(teacher_count)::BIGINT AS t FROM responses_scored WHERE temperature = 0.6
"""

WIDE = """
SELECT count(*), sum(teacher_count) FROM (
    SELECT
        response,
        count(*) AS n_sentences,
        count(*) FILTER (WHERE label_code = 1) AS teacher_count,
        exact_mean(p_teacher - p_student) AS mean_difference,
        sum(n_teacher) AS n_tokens_teacher,
        sum(n_student) AS n_tokens_student,
        exact_sum(logprob_sum_teacher) AS logprob_teacher,
        exact_sum(logprob_sum_student) AS logprob_student
    FROM (
        SELECT *, p(logprob_sum_teacher, n_teacher) AS p_teacher,
            p(logprob_sum_student, n_student) AS p_student,
            label_code(p_teacher, p_student, 0.1) AS label_code
        FROM read_parquet('{path}')
        WHERE temperature = 0.6
    )
    WHERE label_code IS NOT NULL AND n_teacher >= 1 AND n_student >= 1
    GROUP BY response
)
"""


def view(path: Path, threads: int) -> tuple[float, list[object]]:
    """CPU seconds of choosing rows; (rows; responses scored, sum of their teacher_count)."""
    catalog = dasd_data.open(path)
    catalog.config = replace(catalog.config, threads=threads)
    file = catalog.find_view(VIEW)
    session = catalog.session(file)
    session.compile(file.sql, "_view")
    start = time.process_time()
    session.execute("CREATE TEMP TABLE _chosen AS SELECT * FROM _view")
    seconds = time.process_time() - start
    (chosen,) = session.rows("SELECT count(*) AS n FROM _chosen")
    (scored,) = session.rows(SCORED)
    return seconds, [chosen["n"], scored["n"], scored["t"]]


def over_lists(query: str, path: Path, threads: int) -> tuple[float, list[object]]:
    """CPU seconds of a query over the catalog's tables; (elements of scores, of sentences)."""
    session = Session(dasd_data.open(path).files, threads=threads)
    start = time.process_time()
    (row,) = session.connection.sql(query).fetchall()
    return time.process_time() - start, [int(value) for value in row]


def wide(path: Path, threads: int) -> tuple[float, list[object]]:
    """CPU seconds over the hand-made table; (responses, sum of their teacher_count)."""
    with duckdb.connect(config={"threads": threads}) as db:
        db.execute(sqlfiles.macros())
        start = time.process_time()
        (row,) = db.execute(WIDE.format(path=path / "wide.parquet")).fetchall()
        return time.process_time() - start, [int(value) for value in row]


MEASURES: dict[str, Callable[[Path, int], tuple[float, list[object]]]] = {
    "view": view,
    "unnest": partial(over_lists, UNNEST),
    "scores": partial(over_lists, SCORES),
    "count": partial(over_lists, COUNT),
    "wide": wide,
}


def measure_here(name: str, path: Path, threads: int) -> None:
    """Run one measure and print CPU seconds, peak MB and its result as JSON."""
    seconds, result = MEASURES[name](path, threads)
    print(json.dumps([seconds, peak_mb(), result]))


def measure(path: Path, threads: int, repeat: int) -> dict[str, tuple[float, float, list[int]]]:
    """Least CPU seconds, greatest peak MB and result of every measure, taking turns."""
    found: dict[str, tuple[float, float, list[int]]] = {}
    for _ in range(repeat):
        for name in MEASURES:
            arguments = ["--measure", name, "--threads", threads, "--path", path]
            seconds, peak, result = run(__file__, *arguments)
            least, most, _ = found.get(name, (seconds, peak, result))
            found[name] = min(least, seconds), max(most, peak), result
    return found


def prepared(path: Path, responses: int, sentences: int) -> Path:
    """A generated catalog and its wide table, made where they are missing."""
    catalog = (
        dasd_data.open(path) if path.exists() else generate(path, responses, sentences, text=False)
    )
    if not (path / "wide.parquet").exists():
        session = Session(catalog.files, trusted=True)
        session.execute(WRITE_WIDE.format(path=path / "wide.parquet"))
    return path


def main() -> None:
    """Generate both sizes, measure, print seconds, peaks and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--responses", type=int, default=50_000)
    parser.add_argument("--sentences", type=int, default=5_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--path", type=Path, help="folder to keep the catalogs in")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure_here(options.measure, options.path, options.threads)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.path or Path(temporary)
        seconds: list[float] = []
        for share in (10, 1):
            responses, sentences = options.responses // share, options.sentences // share
            path = prepared(folder / f"{sentences}.catalog", responses, sentences)
            found = measure(path, options.threads, options.repeat)
            print(f"{responses:,} responses, {sentences:,} sentences x 2 models")
            assert found["view"][2][1:] == found["wide"][2], "the two count other sentences"
            cpu = found["view"][0]
            for name, (least, peak, _) in found.items():
                print(f"  {name:8} {least:8.3f} CPU s   peak {peak:7.0f} MB   "
                      f"view / {name} {cpu / least:5.2f}")  # fmt: skip
            seconds.append(cpu)
    print(f"10 times the sentences take {seconds[1] / seconds[0]:.2f} times the CPU of the view")


if __name__ == "__main__":
    main()
