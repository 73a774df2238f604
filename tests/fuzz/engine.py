"""The fuzzer behind `python -m tests.fuzz`: atheris (libFuzzer) in a child process per target."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.target import Target

SLOW_S = 1.0  # CPU time of one input
RESTARTS = 8  # after a crash of the process, with another seed


def compiled() -> list[str]:
    """The modules that numba compiles, whose bytecode must then be as it was written."""
    root = Path(__file__).parents[2]
    found = [p for p in (root / "builders").rglob("*.py") if "import njit" in p.read_text()]
    return ["builders.jit", *(".".join(p.relative_to(root).with_suffix("").parts) for p in found)]


@dataclass
class Done:
    """What one target's run came to."""

    inputs: int = 0
    cpu_s: float = 0.0
    findings: list[str] = field(default_factory=list)


def instrumented() -> dict[str, Target]:
    """All targets by name, with the code under test instrumented for coverage."""
    import atheris

    sys.stderr.flush()
    quiet, shown = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(quiet, 2)  # a line for every module
    try:
        with atheris.instrument_imports(
            include=[
                "builders",
                "dasd_data.config",
                "dasd_data.log",
                "dasd_data.manifest",
                "dasd_data.parameters",
                "dasd_data.reproduce",
                "dasd_data.sqlfiles",
            ],
            exclude=compiled(),
        ):
            from tests.fuzz.targets import TARGETS
    finally:
        os.dup2(shown, 2)
    return {target.name: target for target in TARGETS}


def fuzz(target: Target, work: Path, out: Path, runs: int, seconds: float, seed: int) -> Done:
    """Run a target for `runs` inputs or `seconds` of CPU time, whichever is over first."""
    done = Done()
    for attempt in range(RESTARTS):
        report = work / f"report-{attempt}.json"
        child = os.fork()
        if not child:
            _child(target, work, out, report, runs - done.inputs, seconds - done.cpu_s, seed)
        _, status = os.waitpid(child, 0)
        part = json.loads(report.read_text()) if report.exists() else {}
        done.inputs += part.get("inputs", 0)
        done.cpu_s += part.get("cpu_s", 0.0)
        done.findings += [f for f in part.get("findings", []) if f not in done.findings]
        if status == 0:
            return done
        log = (work / "log").read_text(errors="replace").splitlines()
        last = next((line for line in reversed(log) if "ERROR" in line), f"status {status}")
        done.findings.append(f"the process died ({last}); inputs in {out}")
        seed += 1
    return done


def fuzz_named(name: str, out: Path, runs: int, seconds: float, seed: int) -> Done:
    """`fuzz` of a target that this process, or the one it was forked from, has instrumented."""
    from tests.fuzz.targets import TARGETS

    (target,) = [t for t in TARGETS if t.name == name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        return fuzz(target, Path(work), out / name, runs, seconds, seed)


def _child(
    target: Target, work: Path, out: Path, report: Path, runs: int, seconds: float, seed: int
) -> None:
    """Fuzz until the end, which is the end of the process."""
    import atheris

    corpus = work / "corpus"
    corpus.mkdir(exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(target.seeds):
        (corpus / f"seed-{i}").write_bytes(data)
    log = os.open(work / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = [
        f"-seed={seed}", f"-max_len={target.max_len}", "-timeout=60", "-rss_limit_mb=4096",
        f"-artifact_prefix={out}/", "-len_control=20", f"-runs={runs + 10**6}",
    ]  # fmt: skip
    if target.words:
        (work / "dict").write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        options.append(f"-dict={work / 'dict'}")
    for data in target.seeds[:1]:
        target.check(data)  # loads and compiles what the first input would be blamed for
    counted = _counted(target.check, out, report, runs, seconds)
    atheris.Setup(["fuzz", *options, str(corpus)], counted)
    atheris.Fuzz()


def _counted(
    check: Callable[[bytes], None], out: Path, report: Path, runs: int, seconds: float
) -> Callable[[bytes], None]:
    """`check` that notes its findings, counts, and ends the process when it is time."""
    found: dict[str, str] = {}
    began = written = time.process_time()
    inputs = 0

    def note(kind: str, data: bytes, text: str) -> None:
        if kind not in found:
            name = hashlib.sha256(data).hexdigest()[:12]
            (out / name).write_bytes(data)
            (out / f"{name}.txt").write_text(text, errors="replace")
            found[kind] = f"{kind} ({out / name})"

    def run(data: bytes) -> None:
        nonlocal inputs, written
        start = time.process_time()
        try:
            check(data)
        except Exception as error:
            note(_kind(error), data, traceback.format_exc())
        now = time.process_time()
        if now - start > SLOW_S and (again := _cpu_s(check, data)) > SLOW_S:
            note(f"over {SLOW_S:g} s of CPU time", data, f"{again:.1f} s")
        inputs += 1
        if (over := inputs >= runs or now - began >= seconds) or now - written > 1:
            written = now
            state = {"inputs": inputs, "cpu_s": now - began, "findings": list(found.values())}
            report.write_text(json.dumps(state))
            if over:
                os._exit(0)

    return run


def _cpu_s(check: Callable[[bytes], None], data: bytes) -> float:
    """CPU time of an input once more: the first time may have compiled or loaded something."""
    start = time.process_time()
    with suppress(Exception):
        check(data)
    return time.process_time() - start


def _kind(error: BaseException) -> str:
    """An exception by type and place: findings of one kind are one finding."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f for f in frames if f"{os.sep}builders{os.sep}" in f.filename or "dasd_data" in f.filename
    ]
    frame = (own or frames)[-1]
    kind = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return kind if own else f"{kind}: {str(error)[:120]!r}"


def _escaped(word: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)
