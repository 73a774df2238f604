"""The distributions of a card, as a picture and as text."""

from __future__ import annotations

import struct

from dasd_data.build import build
from dasd_data.card import histogram

SCORES = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.9), (6, 0.95)]}
PLAIN = {"teacher": [(6, 0.9)], "student": [(6, 0.9)]}


def rows(made, response):
    """The distributions of a split of two responses, of a pool of four."""
    catalog = made(
        *(response(f"{q}0", question=q, scores=SCORES) for q in "AB"),
        *(response(f"{q}1", question=q, scores=PLAIN) for q in "AB"),
    )
    return build(catalog, "low_t_das", robustness="off").manifest["facts"]["distributions"]


def test_split_and_pool_are_counted_in_bins_of_a_twentieth(made, response):
    """The picture would show another selection than was made."""
    found = {(r["measure"], r["low"]): (r["split"], r["pool"]) for r in rows(made, response)}
    # Chosen: 1 of 3 sentences is the teacher's, the differences are .4, 0 and -.05: mean .1167
    assert found == {
        ("teacher_share", 0.3): (2, 2),
        ("teacher_share", 0.0): (0, 2),
        ("mean_difference", 0.1): (2, 2),
        ("mean_difference", 0.0): (0, 2),
    }


def test_the_text_has_a_bar_for_each_bin_and_no_gaps(made, response):
    """An empty stretch would not be seen."""
    text = histogram.text(rows(made, response))
    lines = [line for line in text.splitlines() if line.startswith("  0.")]
    assert [line.split()[0] for line in lines[:7]] == [
        "0.00",
        "0.05",
        "0.10",
        "0.15",
        "0.20",
        "0.25",
        "0.30",
    ]
    assert "█" * histogram.WIDTH in lines[6] and lines[6].endswith("100.0%")
    assert "░" * (histogram.WIDTH // 2) + " " in text


def test_the_picture_is_a_png_of_both_measures(made, response):
    """The card would show a broken image."""
    png = histogram.picture(rows(made, response), "a split")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width > 2 * height > 400  # two panels, side by side
