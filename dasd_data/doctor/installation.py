"""Python, libraries against the versions that the tests ran with, extras, the Hub's settings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from dasd_data import __version__
from dasd_data.doctor.finding import OK, PROBLEM, WARNING, Finding

_PYTHON = (3, 11)
_NEEDED_BY = {
    "score": "`score`, `sample` and `select` need it",
    "collect": "`collect` reads the Hub's data sets with it",
    "vllm": "`sample` and `score` run models with it",
    "openai": "`sample` and `score` ask servers with it",
    "tiktoken": "for *.tiktoken vocabularies",
    "notebook": "for `.df()` in notebooks",
    "report": "`push` draws the card's pictures with it",
}


def python() -> Iterator[Finding]:
    """The interpreter, and where dasd-data is."""
    state = OK if sys.version_info >= _PYTHON else PROBLEM
    do = "" if state == OK else f"use Python {'.'.join(map(str, _PYTHON))} or newer"
    yield Finding("python", state, f"{platform.python_version()}, {sys.executable}", do)
    yield Finding("dasd-data", OK, f"{__version__}, {Path(__file__).parents[1]}")


def libraries() -> Iterator[Finding]:
    """What is required, against the versions that the tests ran with."""
    wanted, pins, other = requirements().get("", []), tested(), []
    for name in wanted:
        found = installed(name)
        if found is None:
            yield Finding("libraries", PROBLEM, f"{name} is missing", f"pip install {name}")
        elif name in pins and _minor(found) != _minor(pins[name]):
            other.append(f"{name}=={pins[name]}")
            yield Finding(
                "libraries",
                WARNING,
                f"{name} {found}: the tests ran with {pins[name]}",
                f"if it misbehaves: pip install {name}=={pins[name]}",
            )
    if not other:
        yield Finding("libraries", OK, f"{len(wanted)} required ones, as tested")


def extras() -> Iterator[Finding]:
    """Optional dependencies, with the line that installs what is missing."""
    for extra, use in _NEEDED_BY.items():
        names = requirements().get(extra, [])
        missing = [name for name in names if installed(name) is None]
        if not missing:
            found = ", ".join(f"{name} {installed(name)}" for name in names)
            yield Finding(f"extra {extra}", OK, found)
            continue
        yield Finding(
            f"extra {extra}",
            WARNING if extra == "score" else OK,
            f"{', '.join(missing)} not installed ({use})",
            f"pip install 'dasd-data[{extra}]'",
        )


def numba_cache() -> Iterator[Finding]:
    """Whether compiled code can be kept: else every process compiles for seconds."""
    spec = importlib.util.find_spec("builders")
    beside = Path((spec.submodule_search_locations or ["."])[0] if spec else ".") / "__pycache__"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "numba"
    given = os.environ.get("NUMBA_CACHE_DIR")
    for folder in (Path(given),) if given else (beside, user):
        if writable(folder):
            yield Finding("numba cache", OK, str(folder))
            return
    yield Finding(
        "numba cache",
        WARNING,
        "no folder to keep compiled code in: every process compiles anew, for some 20 s",
        "set NUMBA_CACHE_DIR to a folder that you can write",
    )


def hub() -> Iterator[Finding]:
    """Token (never shown), endpoint and offline flags of the Hugging Face Hub."""
    from huggingface_hub import constants, get_token

    endpoint = urlsplit(constants.ENDPOINT)
    host = f"{endpoint.scheme}://{endpoint.hostname}" + (f":{endpoint.port}" * bool(endpoint.port))
    token = "with a token" if get_token() else "without a token: public repositories only"
    flags = [n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if truth(os.environ.get(n))]
    if flags:
        yield Finding(
            "hub",
            WARNING,
            f"offline ({', '.join(flags)}): only models that are on this machine are found",
            f"unset {' '.join(flags)} to reach {host}",
        )
    else:
        yield Finding("hub", OK, f"{host}, {token}")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python,
    libraries,
    extras,
    numba_cache,
    hub,
)


def requirements() -> dict[str, list[str]]:
    """Names of the required distributions by extra; "" are those always needed."""
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("dasd-data") or []:
        if (name := re.match(r"[\w.-]+", line)) and name[0] != "dasd-data":
            extra = re.search(r"extra == ['\"](.+?)['\"]", line)
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def tested() -> dict[str, str]:
    """Versions that the tests ran with, by name."""
    here = Path(__file__).parents[1]
    packaged = here / "constraints.txt"
    path = packaged if packaged.is_file() else here.parent / "constraints.txt"
    lines = (line.partition("==") for line in path.read_text().splitlines() if "==" in line)
    return {name: version for name, _, version in lines}


def installed(name: str) -> str | None:
    """The version of a distribution, None where it is absent."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def truth(value: str | None) -> bool:
    """Whether a variable is set to something that means yes."""
    return (value or "").strip().lower() in {"1", "true", "yes", "on"}


def spill_folder() -> Path:
    """Where DuckDB puts what does not fit in memory."""
    return Path(tempfile.gettempdir())


def _minor(version: str) -> list[str]:
    return version.split("+", maxsplit=1)[0].split(".")[:2]
