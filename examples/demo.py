"""`make demo`: the main job on the bundled sample, as the commands a user would type.

Real GSM8K answers of four models as candidates, then samples of the tiny teacher in four domains
at two temperatures; both scored by a tiny student with another tokenizer. Everything is written to
`demo/`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TINY = Path("examples/tiny")
DEMO = Path("demo")
CATALOG = DEMO / "dasd.catalog"
COMMAND = str(Path(sysconfig.get_path("scripts")) / "dasd-data")

SENTENCES = """
SELECT label, round(p_teacher, 3) AS p_T, round(p_student, 3) AS p_S,
       trim(sentence_text(thinking, answer, byte_start, byte_end)) AS sentence
FROM sentence_pairs INNER JOIN responses USING (response_id)
WHERE least(n_teacher, n_student) >= 6
QUALIFY row_number() OVER (PARTITION BY label ORDER BY abs(difference) DESC, response_id) = 1
ORDER BY label DESC
"""


def run(*arguments: str | Path) -> None:
    """Show a command, then run it; end the demo if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ dasd-data {shlex.join(words)}", flush=True)
    done = subprocess.run([COMMAND, *words], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Run the demo."""
    os.environ.pop("DASD_CATALOG", None)
    started = time.monotonic()
    shutil.rmtree(ROOT / DEMO, ignore_errors=True)
    (ROOT / DEMO).mkdir()

    print("1. The shortest way: the best of four models' answers to real GSM8K questions.")
    run(
        "select", TINY / "gsm8k_candidates.jsonl.gz",
        "--student", TINY / "student", "--teacher", TINY / "teacher",
        "--keep", "1", "--out", DEMO / "train.jsonl",
    )  # fmt: skip

    print("\n2. The main job: a catalog of a teacher's samples, scored by the student.")
    at = ("--catalog", CATALOG)
    run("init", CATALOG)
    run("ingest", TINY / "samples.jsonl.gz", "--tokenizer", TINY / "teacher", *at)
    run("score", "--model", TINY / "student", "--name", "student", *at)
    run("build", "--view", "low_t_das", *at)
    run("build", "--view", "high_t_das", *at)

    print("\nThree sentences, one of each kind where there is one:")
    run("sql", " ".join(SENTENCES.split()), *at)
    builds = subprocess.run(
        [COMMAND, "sql", "SELECT view, path FROM builds ORDER BY view", "--json", *map(str, at)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for row in json.loads(builds.stdout):
        print(f"{row['view']}: {os.path.relpath(ROOT / CATALOG / row['path'], ROOT)}")
    print(
        f"""
Done in {time.monotonic() - started:.0f} s. To try next (`.venv/bin` holds the command):
  dasd-data build --view low_t_rs --catalog {CATALOG}
  dasd-data build --view low_t_das --set rank_by=teacher_count_resid --dry-run --catalog {CATALOG}
  dasd-data sql "FROM responses_scored ORDER BY teacher_count DESC LIMIT 5" --catalog {CATALOG}"""
    )


if __name__ == "__main__":
    main()
