# Two commands do everything on a fresh machine; each builds its own virtual environment if there is none.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SUITE ?= configs/suites/quick.yaml
OUT ?= runs/$(basename $(notdir $(SUITE)))

.PHONY: help leaderboard test check browser

help:
	@echo "make leaderboard   set up, train every agent family, rank them (about five minutes on two cores)"
	@echo "make test          set up, run the tests"
	@echo "make check         set up, then lint, types and import contracts"
	@echo "make browser       set up, get a Chromium for the tests of the HTML page where there is none"

leaderboard: $(VENV)/ready
	$(BIN)/python -m scripts.benchmark $(SUITE) --out $(OUT)
	$(BIN)/python -m scripts.page $(OUT)

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -W error -n auto -q

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Best effort: without a network it says that these tests will be skipped, and succeeds.
browser: $(VENV)/ready
	$(BIN)/python -m tests.browsers

# PyTorch first and pinned: an open range can pull in gigabytes of a GPU build that nothing here needs.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,backends]"
	touch $@
