# Every command works on a fresh clone: the first one creates .venv and installs the pinned dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo ui test unit contract storms soak lint format bench lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(INSTALLED): requirements.lock pyproject.toml $(wildcard research/engine/native/*.[ch])
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "barloom needs Python 3.11 to 3.13, this is %d.%d: set PYTHON=/path/to/python3" % v)'
	@echo "Installing the pinned dependencies into $(VENV) (a minute or two, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "Compiling the engine for this machine (half a minute, once) ..."
	@$(BIN)/python -m research.engine.native
	@$(BIN)/python -m research.engine.kernel
	@touch $(INSTALLED)

demo: $(INSTALLED) ## real bars -> clean -> quality -> three backtests -> leaderboard
	@$(BIN)/barloom demo

ui: $(INSTALLED) ## the Dagster UI on http://127.0.0.1:3000, with history that survives a restart
	@$(BIN)/barloom ui

test: $(INSTALLED) ## the whole suite
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

unit: $(INSTALLED) ## only the fast part of the suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not thorough' tests/unit

contract: $(INSTALLED) ## the vendor's own clients and ib_async on the gateway simulator, in environments of their own
	@$(BIN)/python tests/contract

storms: $(INSTALLED) ## two hundred random storms over live trading: kills, faults, halts; ledger and broker must agree
	@$(BIN)/python tests/storms --count 200 --processes 2

soak: $(INSTALLED) ## random runs on every engine and other storms, ten minutes each, then the whole grid of the crossover
	@$(BIN)/python tests/soak --minutes 10
	@$(BIN)/python tests/storms --minutes 10 --seed $$(date +%s)
	@$(BIN)/python tests/soak --grid
	@$(BIN)/python tests/soak --calibration

lint: $(INSTALLED) ## formatting, style, types, import directions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## rewrite the sources in the project's style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## ratios against plain Backtrader, and the warehouse's speed
	@$(BIN)/python tests/bench

lock: $(INSTALLED) ## compile requirements.lock again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-strip-extras --no-emit-index-url --upgrade -o requirements.lock pyproject.toml --group dev

clean: ## remove derived data and results (raw bars and your experiments stay)
	rm -rf data/clean data/quality data/actions data/quarantine data/revisions data/stamps data/catalog.duckdb results .dagster
