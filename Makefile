# Everything here needs Python >= 3.11 and make, nothing else. PYTHON picks the interpreter.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := .bench-peers
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test chaos bench bench-peers lint format up clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with every extra

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Emendo needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## real jobs end to end on an embedded stack
	$(BIN)/emendo demo

test: install ## the whole test suite, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: install ## ruff, mypy strict, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: install ## kill things at full size; a table with zeros in the last four columns
	$(BIN)/python tests/chaos

bench: install ## every figure beside its baseline; ARGS="--only bytes --json report.json"
	$(BIN)/python tests/bench $(ARGS)

bench-peers: install $(PEERS)/.installed ## the same beside mem0, which gets an environment of its own
	$(BIN)/python tests/bench --peers $(PEERS)/bin/python $(ARGS)

$(PEERS)/.installed: tests/bench/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/bench/peers.txt
	@touch $@

up: install ## the whole stack in the foreground; Ctrl-C stops it
	$(BIN)/emendo up

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
