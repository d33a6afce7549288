# Every target sets up what it needs: a fresh machine needs Python 3.11 or newer and nothing else.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
ROUNDS ?= 50
# Tests wait more than they work: three for every two processors, six at most, since each starts services of its own
WORKERS ?= $(shell n=$$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )); echo $$(( n > 6 ? 6 : n )))
EXTRAS ?=
BIN := .venv/bin

.PHONY: help install run test services lint format bench faults lock clean

help: ## Show the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed $(EXTRAS:%=.venv/installed-%) ## Make .venv, with `turnlog` in .venv/bin; EXTRAS=classifier too.

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Turnlog needs Python 3.11 or newer; none was found (set PYTHON=/path/to/python3)." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv/installed-classifier: .venv/installed requirements-classifier.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-classifier.lock
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: .venv/installed ## Serve on 127.0.0.1:5005, on an embedded Postgres.
	$(BIN)/turnlog run --enable-api

# Services start often: even where Python is told to keep no bytecode, they find it
test: services ## Run all tests against real services.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

services: .venv/installed-dev ## Install what the tests' RabbitMQ and Kafka need; as root with apt-get.
	$(BIN)/python -m tests.installing

lint: .venv/installed-dev ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## Write the code in the project's style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: services ## Measure speed, as ratios to limits of the same run.
	$(BIN)/python -m bench

faults: services ## Kill everything, ROUNDS times, and count what is left.
	$(BIN)/python -m tests.faults --rounds $(ROUNDS)

LOCK := uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-header pyproject.toml

lock: ## Pin what pyproject.toml asks for; needs uv.
	$(LOCK) -o requirements.lock
	$(LOCK) --extra classifier -c requirements.lock -o requirements-classifier.lock
	$(LOCK) --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove what the other targets made.
	rm -rf .venv .services .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
