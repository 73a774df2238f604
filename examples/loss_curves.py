"""Loss curves of runs, as in the paper's Figure 3b: training and held-out loss over the steps.

python examples/loss_curves.py runs/stage1_low_t runs/stage2_high_t [--out loss.html]
"""

import argparse
import json
from pathlib import Path

import altair as alt


def chart(runs: list[Path]) -> alt.Chart:
    """A line for each run's training loss and each of its held-out groups, on shared axes."""
    points = []
    for run in runs:
        for line in (run / "log.jsonl").read_text().splitlines():
            row = json.loads(line)
            losses = {name[5:]: value for name, value in row.items() if name.startswith("eval/")}
            for name, loss in losses.items() or [("training", row.get("loss"))]:
                point = {"run": run.name, "step": row["step"], "of": name, "loss": loss}
                points += [point] if loss is not None else []
    table = alt.Chart(alt.Data(values=points))
    loss = alt.Y("loss:Q", title="loss per target token", scale=alt.Scale(zero=False))
    lines = table.mark_line(point=True).encode(x="step:Q", y=loss, color="run:N", strokeDash="of:N")
    return lines.properties(width=640, height=400)


def main() -> None:
    """Draw the logs of runs."""
    parser = argparse.ArgumentParser(description=chart.__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", default="loss.html", help=".html, or .svg with vl-convert-python")
    arguments = parser.parse_args()
    chart(arguments.runs).save(arguments.out)


if __name__ == "__main__":
    main()
