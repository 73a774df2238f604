from __future__ import annotations

import subprocess
import sys

import numpy as np

from builders.score.engine import ScoreRequest, checked
from builders.score.fake import FakeScorer


def score(scorer, requests):
    return {result.key: result for result in scorer.score(requests)}


def test_fake_values_depend_on_the_model_and_on_all_that_precedes(random_requests):
    """Tests built on the fake would not notice a swapped model or a wrong prompt."""
    (request,) = random_requests((20, 5))
    other_prompt = request.ids.copy()
    other_prompt[0] += 1
    base = score(FakeScorer("a"), [request])["r0"].logprobs
    np.testing.assert_array_equal(base, score(FakeScorer("a"), [request])["r0"].logprobs)
    assert base.shape == (15,)
    assert base.dtype == np.float32
    assert ((base < 0) & (base > -8)).all()
    assert (base != score(FakeScorer("b"), [request])["r0"].logprobs).all()
    moved = score(FakeScorer("a"), [ScoreRequest("r0", other_prompt, 5)])["r0"].logprobs
    assert (base != moved).all()


def test_fake_refuses_like_a_real_engine():
    """A stage tested with the fake would never meet an unscored response."""
    ids = np.arange(10, dtype=np.int32)
    scorer = FakeScorer(max_context=9, vocab_size=8)
    got = score(scorer, [ScoreRequest("long", ids, 1), ScoreRequest("id", ids[:9], 1)])
    assert got["long"].error == "over context: 10 tokens > 9"
    assert got["id"].error == "unknown token: id 8 with 8 logits"
    assert got["id"].reason == "unknown token"


def test_rounding_above_zero_is_clamped_and_infinity_is_an_error():
    """A certain token would break the contract that a log-prob is at most 0."""
    fine = checked("k", np.array([1e-7, -1.0, 0.0], np.float32))
    assert fine.logprobs.tolist() == [0.0, -1.0, 0.0]
    bad = checked("k", np.array([-1.0, -np.inf], np.float32))
    assert (bad.logprobs, bad.error) == (None, "not finite: -inf at scored token 1")


def test_the_light_modules_import_no_torch():
    """People who only query or tokenize would have to install torch."""
    code = (
        "import sys; import builders.score.fake, builders.score.render, builders.score.encode,"
        " builders.score.estimate, builders.score.packing, builders.score.identity;"
        " sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_extra_prints_the_install_line():
    """Without torch the user would see an ImportError and guess."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from dasd_data.errors import MissingExtraError\n"
        "try:\n    import builders.score.transformers_engine\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'dasd-data[score]'" in done.stdout


def test_what_is_no_log_prob_is_refused():
    """A server set to give logits would have its values kept as certain tokens."""
    values = np.array([-1, 1e-5, -2], np.float32)
    assert checked("k", values).logprobs.tolist() == [-1, 0, -2]
    values[2] = 7.5
    assert checked("k", values).error == "above 0: 7.5 at scored token 2"
