# Everything here needs Python >= 3.11 and make, nothing else. PYTHON picks the interpreter.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := .bench-peers
SERVED := $(VENV)/.web-servers
SUPPLY := .supply-chain
NODE   := .typescript
MEM0   := .mem0-clients
# Without retries: where npm cannot install, the tests that need it are left out soon.
NPM    := --silent --no-package-lock --no-audit --no-fund --fetch-retries=0 --fetch-timeout=30000
# Each wheel must have a hash of requirements.lock. For an index with wheels of its own build: make install HASHES=no
HASHES ?= yes
ARGS   ?=
RUN    ?= $(BIN)/python -m
# tests/conftest.py says how many processes "auto" is on this machine. Tests go to whichever process is free.
PYTEST  = $(RUN) pytest -n auto --dist worksteal

# Without the variable it advertises another program.
MKDOCS  = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow coverage chaos bench bench-peers lint docs format lock audit sbom up clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with every extra

$(STAMP): pyproject.toml constraints.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Emendo needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
ifeq ($(HASHES),no)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
endif
	@touch $@

demo: install ## real jobs end to end on an embedded stack
	$(BIN)/emendo demo

test: install ## everything but the slow tests, in parallel
	$(PYTEST) -m "not slow"

test-slow: install $(SERVED) $(MEM0)/.installed $(NODE)/.installed ## the slow tests: chaos, storms, web servers, the benchmark's harness
	$(PYTEST) -m slow

coverage: install $(SERVED) $(MEM0)/.installed $(NODE)/.installed ## both with coverage, which takes nearly twice the time
	$(BIN)/coverage erase
	$(MAKE) test test-slow RUN="$(BIN)/coverage run -m"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: install ## ruff, mypy strict, import directions, generated code, prose, the documentation's site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/async_to_sync.py --check
	$(BIN)/python tools/prose.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	@site=$$(mktemp -d) && trap 'rm -rf "$$site"' EXIT && $(MKDOCS) build --strict --site-dir "$$site"

docs: install ## the documentation as a site, in .site/; ARGS=serve shows it while you write
	$(MKDOCS) $(or $(ARGS),build --strict)

format: install ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# uv reads versions from constraints.txt, and asks the index for the hashes of all wheels, whatever machine they are for.
PIN = $(SUPPLY)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
  --emit-build-options --no-header --no-annotate --no-strip-extras --constraint constraints.txt \
  --no-emit-package httpx2-jsfetch
# What the container image can be built with, and below the same with the offline embedder.
IMAGE = --no-emit-package tzdata --extra worker --extra gateway --extra flower --extra traces

lock: $(SUPPLY)/.installed ## write the hashes of all pinned wheels, after a change of constraints.txt
	printf 'hatchling\neditables\n' | $(PIN) --no-emit-package tzdata --extra dev pyproject.toml - --output-file requirements.lock
	$(PIN) tests/support/web/servers.txt --output-file tests/support/web/servers.lock
	$(PIN) tests/support/mem0/clients.txt --output-file tests/support/mem0/clients.lock
	printf 'hatchling\n' | $(PIN) $(IMAGE) pyproject.toml - --output-file ops/images/requirements.lock
	printf 'hatchling\n' | $(PIN) $(IMAGE) --extra local pyproject.toml - --output-file ops/images/with-local.lock
	$(PIN) tools/supply-chain.txt --output-file tools/supply-chain.lock

audit: $(SUPPLY)/.installed ## look for dependencies with known vulnerabilities, and for risky calls in our own code
	$(SUPPLY)/bin/bandit --quiet --configfile pyproject.toml --recursive config api_client workers ops tools
	$(SUPPLY)/bin/python tools/audit.py requirements.lock tests/support/web/servers.lock tests/support/mem0/clients.lock \
	  tools/supply-chain.lock

sbom: install $(SUPPLY)/.installed ## write sbom.json: every installed package with its licence (CycloneDX)
	$(SUPPLY)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON \
	  --output-file sbom.json $(BIN)/python

$(SUPPLY)/.installed: tools/supply-chain.lock
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

chaos: install ## kill things at full size; a table with zeros in the last four columns
	$(BIN)/python -m tests.chaos

bench: install ## every figure beside its baseline; ARGS="--only bytes --json report.json"
	$(BIN)/python -m tests.bench $(ARGS)

bench-peers: install $(PEERS)/.installed ## the same beside mem0, which gets an environment of its own
	$(BIN)/python -m tests.bench --peers $(PEERS)/bin/python $(ARGS)

$(PEERS)/.installed: tests/bench/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/bench/peers.txt
	@touch $@

$(SERVED): $(STAMP) tests/support/web/servers.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/support/web/servers.lock
	@if command -v cc >/dev/null; then $(BIN)/python -m pip install --quiet --disable-pip-version-check uWSGI==2.0.31; \
	  else echo "uWSGI is left out: it needs a C compiler"; fi
	@touch $@

# No lock file: it would name one registry for everybody. The versions are exact.
$(NODE)/.installed: tests/support/typescript/package.json
	@mkdir -p $(NODE) && cp $< $(NODE)/
	@{ command -v npm && npm install --prefix $(NODE) $(NPM) --ignore-scripts; } >/dev/null \
	  || echo "npm is not here, or cannot install: no test of a generated TypeScript client"
	@touch $@

# mem0's official clients. No script of an npm package is run, and what only mem0's own library needs is left out.
$(MEM0)/.installed: tests/support/mem0/clients.lock tests/support/mem0/npm.txt
	$(PYTHON) -m venv $(MEM0)
	$(MEM0)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@{ command -v npm && npm install --prefix $(MEM0) $(NPM) --no-save --ignore-scripts \
	    --omit=peer --omit=optional --legacy-peer-deps $$(cat tests/support/mem0/npm.txt); } >/dev/null \
	  || echo "npm is not here, or cannot install: no tests with mem0's npm client"
	@touch $@

up: install ## the whole stack in the foreground; Ctrl-C stops it
	$(BIN)/emendo up

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(VENV)-3.* $(PEERS) $(SUPPLY) $(MEM0) $(NODE) .site sbom.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
