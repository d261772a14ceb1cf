# `make run` and `make test` are all a newcomer types. Python 3.11+ and make are all they need.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOAD_VENV := .venv-loadtest
SCRIPT ?= mixed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install run test check format lock fuzz bench growth loadtest clean

help: ## Show what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.lock requirements/build.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/run.lock -r requirements/build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run | $(BIN)/python
	$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@

install: $(VENV)/.run ## Make .venv with the pinned dependencies

run: $(VENV)/.run ## Start the hub with embedded servers at http://127.0.0.1:8000
	@exec $(BIN)/hub serve $(ARGS)

test: $(VENV)/.dev ## Run every test, against real servers that the tests start
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## Lint, types, the rooms' walls, and the lock files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	@! grep -nE 'https?://|index-url' requirements/*.lock || { echo "a lock file names an index"; exit 1; }

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

lock: $(VENV)/.dev ## Pin the newest dependencies that pyproject.toml allows, with hashes
	for set in prod: run:--extra=embedded dev:--extra=embedded+--extra=dev loadtest:--extra=loadtest; do \
	  $(BIN)/uv pip compile pyproject.toml $$(echo $${set#*:} | tr + ' ') --upgrade --generate-hashes --universal \
	    --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet -o requirements/$${set%%:*}.lock; \
	done
	$(BIN)/uv pip compile requirements/build.in --upgrade --generate-hashes --universal --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header --quiet -o requirements/build.lock

fuzz: $(VENV)/.dev ## Fuzz every operation by every role, 200 examples each (many minutes)
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(VENV)/.run ## Measure the hub beside its references in one run (ARGS=--quick for a minute)
	$(BIN)/python -m loadtest.bench $(ARGS)

growth: $(VENV)/.run ## Measure and plot what grows with connections, audiences and streams
	$(BIN)/python -m loadtest.growth $(ARGS)

# Locust brings a pytest plugin that patches every socket for gevent, so it does not share a venv with the tests.
$(LOAD_VENV)/.made: requirements/loadtest.lock | $(BIN)/python
	$(PYTHON) -m venv $(LOAD_VENV)
	$(LOAD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/loadtest.lock
	@touch $@

loadtest: $(LOAD_VENV)/.made ## Let an office of people loose on `make run` for a minute (SCRIPT=storm ARGS='-u 500')
	$(LOAD_VENV)/bin/python -m locust -f loadtest/people/$(SCRIPT).py --headless --only-summary -u 200 -r 25 -t 60s $(ARGS)

clean: ## Remove what make made (not the data in .hub)
	rm -rf $(VENV) $(LOAD_VENV) loadtest/.build loadtest/reference/node_modules .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
