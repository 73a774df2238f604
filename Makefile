# `make demo` and `make test` set everything up by themselves: Python 3.11 and make are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-quick fuzz lint format clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py

# Quick tests first: a broken build says so within a minute or two.
test: $(READY)
	$(BIN)/python -m pytest -n 2 -m 'not slow'
	$(BIN)/python -m pytest -n 2 -m slow

test-quick: $(READY)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

# Every parser with a million inputs: an hour or two. Findings land in fuzz-findings/.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --runs 1000000

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist *.egg-info
