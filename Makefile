# Every target makes .venv itself where there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: install demo test test-slow check fix clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       the whole way on synthetic videos and a tiny model, on a CPU"
	@echo "make test       fast tests, no network"
	@echo "make test-slow  the rest"
	@echo "make check      ruff and mypy;  make fix: format"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "scenescribe needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 …"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/python scripts/demo.py

# two at a time, a file's tests together, a thread each; what trains for minutes begins first
PYTEST = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=15
LONG_FIRST = tests/slow tests/data tests/train

test: install
	$(PYTEST)

test-slow: install
	$(PYTEST) --no-loadscope-reorder -m slow $(LONG_FIRST)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) prepared runs preview evals merged LMUData
