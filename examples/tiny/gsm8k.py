"""Take the real GSM8K candidates from the model solutions published with the data set.

    python gsm8k.py example_model_solutions.jsonl --out gsm8k_candidates.jsonl.gz

The file is grade_school_math/data/example_model_solutions.jsonl of openai/grade-school-math: the
test questions, each with the solutions of four models. They are copied as they are.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def main() -> None:
    """Write a seeded choice of questions with their four solutions, gzipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("solutions", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=150)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.solutions.read_text().splitlines()]
    chosen = sorted(random.Random(0).sample(range(len(rows)), args.questions))
    lines = []
    for i in chosen:
        row = rows[i]
        made = {
            "id": f"gsm8k-test-{i:04d}",
            "domain": "math",
            "prompt": row["question"],
            "reference_answer": row["ground_truth"].rsplit("A: ", 1)[-1].strip(),
            "completions": [row[m]["solution"] for m in MODELS],
            "is_correct": [row[m]["is_correct"] for m in MODELS],
            "models": MODELS,
        }
        lines.append(json.dumps(made, ensure_ascii=False) + "\n")
    args.out.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
