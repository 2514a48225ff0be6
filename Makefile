# Two commands: `make demo` and `make test`. Both create the environment themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-faults test-laws bench-build bench-funnel bench-identity bench-landing bench-sessions test-fast check docs lock clean

help: ## Print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Create .venv with the locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	@echo "creating $(VENV) (once; a minute or three)"
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

demo: $(READY) ## Run the whole path on a simulated shop and print what it found
	@$(BIN)/journey demo

up: $(READY) ## Start the local Kafka broker
	@$(BIN)/journey broker start

down: $(READY) ## Stop it
	@$(BIN)/journey broker stop

test: $(READY) ## Run every test, the real broker and the real Airflow included
	@$(BIN)/pytest -n auto -m "not integration" --durations=8
	@$(BIN)/pytest -m integration --durations=8

test-faults: $(READY) ## Kill, stop, starve and poison the lander at full size, both clients; about an hour
	@$(BIN)/pytest tests/faults --full --durations=8

test-laws: $(READY) ## The laws on random worlds at full size: ten thousand steps of building; an hour or two
	@$(BIN)/pytest tests/properties --full --durations=8

bench-build: $(READY) ## Lake to journeys, full and incremental, at several sizes
	@$(BIN)/python -m benchmarks.build

bench-funnel: $(READY) ## A funnel beside ClickHouse and pandas, in one run (pip install chdb)
	@$(BIN)/python -m benchmarks.funnel

bench-sessions: $(READY) ## Sessions beside ClickHouse, in one run (pip install chdb)
	@$(BIN)/python -m benchmarks.sessions

bench-identity: $(READY) ## Ten million links to customers, in one run
	@$(BIN)/python -m benchmarks.identity --links 10000000

bench-landing: $(READY) ## Landing beside its peers and its clients' ceilings, in one run
	@$(BIN)/python -m benchmarks.landing

test-fast: $(READY) ## Run the unit and property tests: a minute or two, no Java
	@$(BIN)/pytest -n auto -m "not integration" --hypothesis-profile=fast

check: $(READY) ## Lint, types, SQL style, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar sql
	@$(BIN)/lint-imports

docs: $(READY) ## Write the generated references: docs/cli.md, docs/tables.md, schemas/events/*.json
	@$(BIN)/python docs/generate.py

lock: $(READY) ## Renew requirements.lock (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras \
		--python-version 3.11 pyproject.toml -o requirements.lock

clean: ## Remove the environment; data under .journey stays
	@rm -rf $(VENV)
