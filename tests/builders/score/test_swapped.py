from __future__ import annotations

import pytest

from builders.score.stage import score
from builders.score.swapped import check_same
from dasd_data.errors import DataError


def test_another_model_under_a_served_name_is_told(made, response, fake_run):
    """Scores of two models would be filed as those of one."""
    catalog = made(response("a"))
    echo = (-1.0, -0.5, -3.0)
    run = fake_run(only_eligible=False, repeat=0, echo=echo)
    check_same(catalog, run.scorer_id, echo)
    score(catalog, run)
    check_same(catalog, run.scorer_id, (-1.02, -0.51, -2.97))
    check_same(catalog, "another context", (-2.0, -2.0, -2.0))
    check_same(catalog, run.scorer_id, ())  # an engine of this machine: its weights are hashed
    with pytest.raises(
        DataError,
        match="moved by 0.83 nats on average; name the new one by a --revision of its own, with "
        "--tokenizer owner/name",
    ):
        check_same(catalog, run.scorer_id, (-2.0, -1.0, -2.0))
