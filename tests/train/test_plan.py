"""The plan: full packs, the same steps at any number of processes, and nothing lost silently."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from tests.train.conftest import OFFLOAD, TINY, ZERO3, chat_row
from train import data, estimate, plan
from train.config import Config, TrainError
from train.data import Rows
from train.plan import EMPTY, Plan
from train.rows import load_template
from train.run import learning_rate

Make = Callable[..., Config]


def planned(config: Config) -> tuple[Plan, Rows]:
    rows = data.load(config, load_template(config))
    return plan.make(config, rows), rows


def some(count: int) -> list[dict[str, Any]]:
    return [chat_row(f"r{i}", "one two three " * (1 + 7 * i % 5)) for i in range(count)]


def test_packs_of_long_traces_are_full() -> None:
    """Every percent of a pack that is padding is a percent of the GPUs' time."""
    lengths = np.random.default_rng(0).lognormal(9.6, 0.8, 20_000).astype(int).clip(200, 65_536)
    packs = plan.pack(lengths, 65_536)
    sizes = np.array([lengths[one].sum() for one in packs])
    assert sorted(chain(*packs)) == list(range(20_000))
    assert sizes.max() <= 65_536
    assert lengths.sum() / (len(packs) * 65_536) >= 0.995


def test_every_row_trains_once_per_epoch(config: Make) -> None:
    """A row that a plan forgets, or repeats, changes the data that was chosen."""
    made, rows = planned(config(some(30), epochs=3, packs_per_step=2))
    half = len(made.stream) // 3
    for epoch in range(3):
        packs = made.stream[epoch * half : (epoch + 1) * half]
        assert sorted(chain(*(made.packs[p] for p in packs))) == list(range(30))
    assert len({tuple(made.stream[e * half : (e + 1) * half]) for e in range(3)}) == 3, "one order"
    assert np.array_equal(
        made.tokens, [sum(rows.column("tokens")[r] for r in p) for p in made.packs]
    )


def test_no_process_has_the_longer_rows_at_every_turn(config: Make) -> None:
    """Dealt always in one direction, the first process would do the most work in every step."""
    made, _ = planned(config(some(40), packs_per_step=4))
    costs = made.squares[made.deal(0, 2)]
    assert costs[0, 0] >= costs[0, 1] and costs[1, 0] <= costs[1, 1]
    assert len(set(costs.flat)) > 2


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_a_step_has_the_same_packs_at_any_number_of_processes(config: Make, processes: int) -> None:
    """On more GPUs a run would be another run."""
    made, _ = planned(config(some(40), packs_per_step=5))
    for step in range(made.steps):
        dealt = made.deal(step, processes)
        assert Counter(p for p in dealt.flat if p != EMPTY) == Counter(made.step(step).tolist())
        costs = np.array([[made.squares[p] if p != EMPTY else 0 for p in row] for row in dealt])
        assert (costs[:-1].min(1) >= costs[1:].max(1)).all(), "unlike costs wait for each other"


def test_the_hash_names_the_plan(config: Make) -> None:
    """A checkpoint must not go on with other data, another order or other weights."""
    base = config(some(12))
    made, rows = planned(base)
    assert plan.make(base, rows).hash == made.hash
    others = [{"seed": 7}, {"packs_per_step": 2}, {"epochs": 3}, {"cutoff": 200}]
    hashes = {plan.make(msgspec.structs.replace(base, **other), rows).hash for other in others}
    changed = some(12)
    changed[3]["messages"][1]["content"] += "!"
    hashes.add(planned(config(changed))[0].hash)
    assert len(hashes | {made.hash}) == 6


def test_what_is_dropped_is_counted_and_named(config: Make) -> None:
    """Rows that vanish without a word are found months later, if at all."""
    rows = [*some(3), chat_row("long", "one two " * 400), chat_row("quoted", "say <|im_end|> now"),
            chat_row("silent", "x", masked=[[0, len("<think>\nx\n</think>\n\nsilent")]], weight=0.0)]  # fmt: skip
    made, _ = planned(config(rows))
    reasons = {names[0]: reason for reason, names in made.dropped.items() if len(names) == 1}
    assert reasons.keys() == {"long", "quoted", "silent"}
    assert "cut-off of 256" in reasons["long"]
    assert "special token" in reasons["quoted"]
    assert "masked" in reasons["silent"]
    assert all(name in made.summary(256) for name in ("long", "quoted", "silent"))


def test_an_empty_plan_says_why(config: Make) -> None:
    """A run over nothing would end well and export the student unchanged."""
    with pytest.raises(TrainError, match=r"empty(.|\n)*long"):
        planned(config([chat_row("long", "one two " * 400)]))


def test_held_out_questions_are_the_same_in_every_split(config: Make) -> None:
    """A question of stage 2's evaluation would have been learned in stage 1."""
    one, rows_1 = planned(config(some(60), holdout=0.3))
    again = [{**row, "response_id": f"other{i}"} for i, row in enumerate(reversed(some(60)))]
    two, rows_2 = planned(config(again, holdout=0.3))

    def held(made: Plan, rows: Rows) -> set[str]:
        assert set(made.held_out) == {"made/math"}
        return {str(rows.column("question")[r]) for r in chain(*made.held_out["made/math"])}

    assert 5 < len(held(one, rows_1)) < 35
    assert held(one, rows_1) == held(two, rows_2)
    trained = {str(rows_1.column("question")[r]) for r in chain(*one.packs)}
    assert not trained & held(one, rows_1)


def test_a_source_weighs_as_often_as_its_weight_says(config: Make) -> None:
    """Mixing 20K off-policy rows into stage 3 at half their number needs exactly that."""
    base = config(some(200))
    counts = {}
    for weight in (0.5, 2.0, 2.5):
        source = msgspec.structs.replace(base.data[0], weight=weight)
        made, _ = planned(msgspec.structs.replace(base, data=[source]))
        counts[weight] = Counter(Counter(chain(*made.packs)).values())
    assert 70 < counts[0.5][1] < 130 and set(counts[0.5]) == {1}
    assert counts[2.0] == {2: 200}
    assert counts[2.5][3] == counts[0.5][1] and counts[2.5][2] == 200 - counts[0.5][1]


def test_gamma_reweights_within_a_question(config: Make) -> None:
    """Distribution-aware reweighting: p 0.9 and 0.6 of a question, gamma 2, are 0.81 and 0.36."""
    rows = [chat_row("a", "x", question_id="q", teacher_probability=0.9),
            chat_row("b", "x", question_id="q", teacher_probability=0.6),
            chat_row("c", "x", question_id="p", teacher_probability=0.1)]  # fmt: skip
    made, _ = planned(config(rows, gamma=2.0))
    assert made.scale == pytest.approx([0.81 / 0.585, 0.36 / 0.585, 1.0])
    assert (planned(config(rows))[0].scale == 1).all()
    with pytest.raises(TrainError, match="teacher_probability"):
        planned(config(some(3), gamma=1.0))
    with pytest.raises(TrainError, match="lower value"):
        planned(config(rows, gamma=-1e5))


def test_rows_are_encoded_once(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 GB of text take hours to encode, on every start."""
    base = config(some(3))
    first = planned(base)[1]
    monkeypatch.setattr(data, "_encoded", lambda *_: pytest.fail("encoded again"))
    again = planned(base)[1]
    for row in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(first[row], again[row], strict=True))


def test_a_split_without_messages_is_refused(config: Make) -> None:
    """The message has to say which column is missing."""
    with pytest.raises(TrainError, match=r"no column messages: `dasd-data build`"):
        planned(config([{"text": "x"}]))
    with pytest.raises(TrainError, match="is it the folder of a build"):
        (folder := Path("empty")).mkdir()
        base = config(some(1))
        planned(
            msgspec.structs.replace(
                base, data=[msgspec.structs.replace(base.data[0], path=str(folder))]
            )
        )


@pytest.mark.parametrize(
    ("context", "fine"),
    [
        ({"system_prompt": None}, True),
        ({"system_prompt": "Be brief."}, False),
        ({"chat_template": "0"}, False),
    ],
)
def test_a_build_scored_in_another_context_is_refused(
    config: Make, context: dict[str, Any], fine: bool
) -> None:
    """Its rows were chosen by what a student under another prompt knows."""
    base = config(some(2))
    scored = {
        "context": "training_render",
        "system_prompt": None,
        "chat_template": load_template(base).hash,
        **context,
    }
    manifest = {"scorers": {"student": scored}}
    (Path(base.data[0].path) / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    if fine:
        planned(base)
    else:
        with pytest.raises(TrainError, match=next(iter(context))):
            planned(base)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 5e-6), (9, 5e-5), (10, 5e-5), (54, 3.0353e-5), (99, 1e-5)]
)
def test_the_learning_rate_warms_up_and_falls(config: Make, step: int, expected: float) -> None:
    """A tenth of the steps up to lr, half a cosine down to lr_min at the last."""
    recipe = config(some(1), lr=5e-5, lr_min=1e-5, warmup=0.1)
    assert learning_rate(recipe, step, 100) == pytest.approx(expected, rel=1e-3)


def test_flops_are_those_of_the_docstring() -> None:
    """MFU is a number that people compare."""
    from transformers import DeepseekV3Config, MixtralConfig

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 60}  # fmt: skip
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 2 * 32
    dense = 2 * (layer + 2 * 8 + 3 * 32 * 48) + 32 + 60 * 32
    experts = 2 * (layer + 32 * 4 + 2 * 3 * 32 * 48) + 32 + 60 * 32
    latent = {"hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 16,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
              "vocab_size": 60, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
              "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "head_dim": 8,
              "qk_nope_head_dim": 8, "v_head_dim": 8}  # fmt: skip
    kinds = [
        (Qwen3Config(**small), dense),
        (Qwen3Config(**small, tie_word_embeddings=True), dense),
        (MixtralConfig(**small, num_local_experts=4, num_experts_per_tok=2), experts),
        (
            DeepseekV3Config(**latent, n_routed_experts=4, num_experts_per_tok=2),
            25_184 - 2 * 3 * 32 * 16 - 60 * 32,
        ),
    ]
    for kind, active in kinds:
        with torch.device("meta"):
            shape = estimate.shape_of(AutoModelForCausalLM.from_config(kind))
        assert shape.active == active
        assert shape.flops(10, 50) == 6 * active * 10 + 6 * 2 * 4 * 8 * 50


def test_an_estimate_knows_where_the_optimizer_is(config: Make, tmp_path: Path) -> None:
    """30B would be planned for GPUs that it does not fit, or not for those that it does."""
    shape = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 36,
             "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 151_936}  # fmt: skip
    for file in TINY.iterdir():
        if file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    Qwen3Config(**shape).save_pretrained(tmp_path)
    texts = []
    for settings in (ZERO3, OFFLOAD):
        made = config(some(3), init_from=str(tmp_path), deepspeed=str(settings), dtype="bfloat16")
        texts.append(estimate.report(made, planned(made)[0], 1))
    parameters = int(re.search(r"optimizer ([\d.]+)", texts[0])[1].split(".")[0]) / 18  # type: ignore[index]
    assert f"weights {parameters * 2:.0f}" in re.sub(r"(weights \d+)\.\d", r"\1", texts[1])
    assert "host memory" not in texts[0] and f"{parameters * 16:.0f} GiB of host memory" in texts[1]
    wide = msgspec.structs.replace(made, cutoff=2**21, deepspeed=str(ZERO3))
    assert "MORE THAN ITS 79" in estimate.report(wide, planned(wide)[0], 1)
    assert "MORE" not in texts[1]
