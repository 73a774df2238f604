"""The engines over a real vLLM with the tiny pair: `make test-vllm`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("vllm", reason="needs vLLM, in an environment of its own: make test-vllm")

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import dasd_data
from builders.run import to_table
from builders.sample import prepare, stage
from builders.sample.engine import SampleRequest, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.openai_engine import OpenAIGenerator
from builders.sample.plan import SampleRun
from builders.sample.probe import check_raw
from builders.sample.prompt import load_prompt
from builders.sample.vllm_engine import VLLMGenerator
from builders.score import prepare as score_prepare
from builders.score import vllm_engine
from builders.score.compare import compare
from builders.score.engine import ScoreRequest
from builders.score.server import Server
from builders.score.stage import score
from builders.score.transformers_engine import TransformersScorer
from builders.score.vllm_engine import VLLMScorer
from dasd_data.errors import DataError, UsageError
from dasd_data.keys import question_id
from dasd_data.writer import Writer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
TEACHER = ROOT / "examples" / "tiny" / "teacher"
STUDENT = TEACHER.with_name("student")
PROMPT = load_prompt(TEACHER)
SAMPLING = Sampling(0.6, 0.95, max_tokens=200, stop_ids=PROMPT.stop_ids)
SETTINGS = {"enforce_eager": True, "gpu_memory_utilization": 0.2, "max_model_len": 2048}


@pytest.fixture(scope="session")
def engine():
    """vLLM in this process, in float32."""
    return VLLMGenerator(TEACHER, dtype="float32", arguments=SETTINGS)


@pytest.fixture(scope="session")
def server():
    """The URL of vLLM's own server, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(TEACHER),
        "--served-model-name", "tiny", "--port", str(port), "--dtype", "float32",
        "--enforce-eager", "--gpu-memory-utilization", "0.2", "--max-model-len", "2048",
        "--max-num-batched-tokens", "32768",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/models", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, "the server ended by itself"
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def requests(n):
    return [
        SampleRequest(
            f"r{i}", PROMPT.ids(f"Tom has {i} apples and buys 7 more. How many?"), 100 + i
        )
        for i in range(n)
    ]


def made(engine, asked):
    found = {r.key: r for r in engine.generate(iter(asked), SAMPLING) if r is not None}
    assert sorted(found) == sorted(r.key for r in asked)
    assert not [r.error for r in found.values() if r.error]
    return found


def again(asked, found):
    return [
        ScoreRequest(
            r.key, np.concatenate([r.prompt_ids, found[r.key].token_ids]), len(r.prompt_ids)
        )
        for r in asked
    ]


def worst(scored, found):
    scored = [r for r in scored if r is not None]
    return max(float(np.abs(r.logprobs - found[r.key].logprobs).max()) for r in scored)


def test_log_probs_agree_with_scoring_by_vllm_and_by_transformers(engine):
    """A catalog's teacher would have other probabilities than the model has."""
    asked = requests(40)
    found = made(engine, asked)
    assert {r.finish_reason for r in found.values()} <= {"stop", "length"}
    assert sum(r.finish_reason == "stop" for r in found.values()) > 20
    assert worst(engine.score(again(asked, found)), found) < 1e-5
    embedded = TransformersScorer(TEACHER, device="cpu")
    assert worst(embedded.score(again(asked, found)), found) < 1e-4
    for result in found.values():
        stopped = int(result.token_ids[-1]) in PROMPT.stop_ids
        assert stopped == (result.finish_reason == "stop")


def test_a_completion_is_that_of_its_seed(engine):
    """A run that goes on would draw other samples than one that was never stopped."""
    asked = requests(12)
    together = made(engine, asked)
    for request in asked[::4]:
        alone = made(engine, [request])[request.key]
        assert alone.token_ids.tolist() == together[request.key].token_ids.tolist()


def test_requests_over_the_context_fail_alone(engine):
    """One long question would end vLLM's loop, and the run with it."""
    long = SampleRequest("long", np.full(1900, 5, np.int32), 1)
    found = {r.key: r for r in engine.generate([*requests(3), long], SAMPLING) if r is not None}
    assert [k for k, r in found.items() if r.error] == ["long"]
    assert found["long"].error == "over context: 1900 tokens of prompt and 200 to be sampled > 2048"


def test_the_server_gives_what_the_engine_gives(engine, server):
    """The same model would have two sets of probabilities, by the way it is asked."""
    over = OpenAIGenerator(Server(server, "tiny"), TEACHER)
    assert over.max_context == 2048
    assert over.describe().engine_version
    check_raw(over, PROMPT, SAMPLING)
    asked = requests(24)
    found, own = made(over, asked), made(engine, asked)
    same = [k for k in own if own[k].token_ids.tolist() == found[k].token_ids.tolist()]
    assert len(same) >= 20  # a rounding may turn a draw
    for key in same:
        assert np.abs(own[key].logprobs - found[key].logprobs).max() < 1e-4
        assert own[key].finish_reason == found[key].finish_reason
    assert worst(over.score(again(asked, found)), found) < 1e-5


def test_another_tokenizer_than_the_server_s_is_refused(server, tmp_path):
    """Log-probs would be filed under other words."""
    import json

    folder = tmp_path / "other"
    folder.mkdir()
    for file in TEACHER.iterdir():
        if file.suffix in (".json", ".jinja"):
            (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "tokenizer.json"
    vocabulary = json.loads(path.read_text())
    words = vocabulary["model"]["vocab"]
    words["I"], words["s"] = words["s"], words["I"]
    path.write_text(json.dumps(vocabulary))
    with pytest.raises(DataError, match="give the model's own with --tokenizer"):
        OpenAIGenerator(Server(server, "tiny"), folder)


def test_a_bad_argument_is_told(tmp_path):
    """A typing error would end in a stack trace of vLLM."""
    with pytest.raises(UsageError, match="vLLM cannot load"):
        VLLMGenerator(TEACHER, arguments={"tensor_parallel": 8})


def test_a_failure_of_the_engine_is_one_line(engine, monkeypatch):
    """A lack of memory, or a dead engine core, would be a stack trace of a hundred lines."""
    import torch
    import vllm
    from vllm.v1.engine.exceptions import EngineDeadError

    def short(**_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB")

    def dead():
        raise EngineDeadError

    with monkeypatch.context() as patch:
        patch.setattr(vllm, "LLM", short)
        with pytest.raises(DataError, match="cannot load .* memory. Tried to allocate 9 GiB; its"):
            VLLMGenerator(TEACHER, arguments=SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(engine.llm.llm_engine, "step", dead)
        with pytest.raises(DataError, match="vLLM failed with .*EngineCore"):
            list(engine.generate(requests(2), SAMPLING))
    made(engine, requests(2))


# From here on every test has an engine of its own, whose end takes the shared one's groups with it.
def test_processed_log_probs_are_found_out():
    """A server set for chat would fill the catalog with probabilities that are too high."""

    class Processed(VLLMGenerator):
        """vLLM set as `--logprobs-mode processed_logprobs` sets it."""

        FIXED: ClassVar = {**VLLMGenerator.FIXED, "logprobs_mode": "processed_logprobs"}

    engine = Processed(TEACHER, dtype="float32", arguments=SETTINGS)
    with pytest.raises(DataError, match="the engine returns processed log-probs"):
        check_raw(engine, PROMPT, Sampling(0.4, max_tokens=100, stop_ids=PROMPT.stop_ids))


def asking(folder, n):
    """A catalog of questions."""
    catalog = dasd_data.create(folder / "dasd.catalog")
    texts = [f"What is {i} + {i}?" for i in range(n)]
    rows = [{"question_id": question_id(t), "text": t} for t in texts]
    sources = [
        {"question_id": question_id(t), "source": "made", "row": t, "domain": "math"} for t in texts
    ]
    Writer(catalog.store, "test").append(
        {
            "questions": to_table("questions", rows),
            "question_sources": to_table("question_sources", sources),
        }
    )
    return catalog.refresh()


def test_the_command_fills_a_catalog(tmp_path):
    """Engine and stage would not fit together."""
    catalog = asking(tmp_path, 20)
    options = prepare.Options(
        model=str(TEACHER), temperature=0.6, engine="vllm", n=2, max_tokens=200, dtype="float32",
        engine_arguments=SETTINGS,
    )  # fmt: skip
    counts = stage.sample(catalog, prepare.prepare(catalog, options))
    assert counts["responses"] == 40
    (row,) = catalog.sql(
        "SELECT engine, engine_version, dtype, logprobs_mode FROM scorers"
    ).fetchall()
    import vllm

    assert row == ("vllm", vllm.__version__, "float32", "raw_logprobs")


def test_a_command_with_vllm_in_processes_of_its_own_stops_and_ends(tmp_path):
    """By default vLLM has its own processes: the command would wait for them for ever."""
    path = asking(tmp_path, 60).path
    environment = {k: v for k, v in os.environ.items() if k != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    command = [
        Path(sys.executable).with_name("dasd-data"), "sample", "--engine", "vllm",
        "--model", TEACHER, "--temperature", "0.6", "--n", "16", "--max-tokens", "200",
        "--dtype", "float32", "--catalog", path,
    ]  # fmt: skip
    for name, value in SETTINGS.items():
        command += ["--engine-argument", f"{name}={json.dumps(value)}"]

    def start():
        return subprocess.Popen(
            list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def done():
        sql = "SELECT count(*), count(DISTINCT response_id) FROM responses"
        return dasd_data.open(path).sql(sql).fetchall()[0]

    process = start()
    lines = iter(process.stderr.readline, "")
    assert any("samples are kept" in line for line in lines)  # loaded
    time.sleep(8)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to vLLM's processes as well
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command to go on" in told
    first = done()
    assert first[0] < 960

    process = start()
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert f"{960 - first[0]} responses of teacher" in told
    assert done() == (960, 960)
    with pytest.raises(ProcessLookupError):  # none of its group is left
        for _ in range(200):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def test_a_student_s_training_render_has_the_same_scores_on_both_backends(tmp_path):
    """Which candidates teach a student would depend on what computed its probabilities."""
    catalog = asking(tmp_path, 20)
    fake = FakeGenerator(PROMPT.tokenizer.encode)
    scorer = PROMPT.describe(fake.describe())
    stage.sample(catalog, SampleRun(fake, PROMPT, scorer, "teacher", SAMPLING, n=2))
    for engine in ("vllm", "transformers"):
        options = score_prepare.Options(
            model=str(STUDENT), name=engine, engine=engine, dtype="float32", everything=True,
            engine_arguments=SETTINGS, repeat=0,
        )  # fmt: skip
        counts = score(catalog, score_prepare.prepare(catalog, options))
        assert counts["done"] == 40
    found = compare(catalog, "vllm", "transformers")
    assert found["differ"].keys() == {"engine", "engine_version"}
    assert found["tokens"] > 1_000
    assert found["max_gap"] < 1e-4
    assert found["labelled"] > 100
    assert found["flips"] <= found["labelled"] / 100


def test_a_gpu_s_memory_is_not_filled_with_the_logits_of_a_step(monkeypatch):
    """Scoring on a GPU would run out of memory at its defaults: 20 GB of logits at once."""
    import vllm

    asked = {}

    class Stop(Exception):  # noqa: N818
        pass

    def load(**settings):
        asked.update(settings)
        raise Stop

    monkeypatch.setattr(vllm, "LLM", load)
    for cpu, kind, batched in (
        (True, VLLMScorer, 32_768), (True, VLLMGenerator, 32_768),
        (False, VLLMScorer, 2_048), (False, VLLMGenerator, None),
    ):  # fmt: skip
        monkeypatch.setattr(type(vllm_engine.current_platform), "is_cpu", lambda self, c=cpu: c)
        with pytest.raises(Stop):
            kind(TEACHER)
        assert asked["max_num_batched_tokens"] == batched


def test_arguments_on_which_values_depend_are_part_of_the_scorer(engine):
    """Values of a quantized model would be filed with those of the model itself."""
    import vllm

    assert engine.gpus == 0
    assert engine.describe().engine_version == vllm.__version__  # those of SETTINGS do not count
    other = VLLMGenerator(
        TEACHER, dtype="float32", arguments={**SETTINGS, "kv_cache_dtype": "auto"}
    )
    assert other.describe().engine_version == f"{vllm.__version__} kv_cache_dtype=auto"
