"""What `dasd-data --help` costs beside an empty Python, and one that imports click alone.

    python benchmarks/help.py

CPU seconds of a process, user and system: the least of `--repeat`, taking turns. The last line says
whether any of the heavy libraries was imported.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

HELP = "import sys; from dasd_data.main import main; sys.argv[1:] = ['--help']; main()"
COMMANDS = {"dasd-data --help": HELP, "import click": "import click", "pass": "pass"}
HEAVY = ("torch", "duckdb", "deltalake", "pyarrow", "numpy", "polars", "transformers")


def cpu(code: str) -> float:
    """CPU seconds of Python code in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(code: str) -> list[str]:
    """The heavy libraries that code imports before it exits."""
    listed = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, sep='\\0')); {code}"
    done = subprocess.run(
        [sys.executable, "-c", listed], check=True, stdout=subprocess.PIPE, text=True
    )
    modules = done.stdout.splitlines()[-1].split("\0")
    assert "click" in modules
    return [name for name in HEAVY if name in modules]


def main() -> None:
    """Run each in turn; print the least seconds and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeat", type=int, default=10)
    repeat = parser.parse_args().repeat
    seconds = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(repeat):
        for name, code in COMMANDS.items():
            seconds[name] = min(seconds[name], cpu(code))
    for name, least in seconds.items():
        print(f"{name:18} {least:6.3f} CPU s")
    ours, click, nothing = seconds.values()
    print(f"ratio to click {ours / click:.1f}, to nothing {ours / nothing:.1f}")
    print(f"heavy libraries imported: {', '.join(imported(HELP)) or 'none'}")


if __name__ == "__main__":
    main()
