# Every target sets up what it needs: a virtual environment in .venv, made with $(PYTHON).
# Packages in an environment of your own will do as well: make test BIN=/path/to/env/bin/

PYTHON ?= python3
VENV := .venv
BIN ?= $(VENV)/bin/
WORKERS ?= 2
SHARE ?= 1

# With a BIN of one's own there is nothing to set up.
ifeq ($(BIN),$(VENV)/bin/)
TEST_ENV := $(VENV)/test.stamp
DEV_ENV := $(VENV)/dev.stamp
PEERS_ENV := $(VENV)/peers.stamp
endif

.PHONY: help test demo notebooks lint types bench bench-peers bench-store bench-durability torture warmup clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(TEST_ENV) ## run the tests
	$(BIN)bitdex warmup
	$(BIN)python -m pytest -n $(WORKERS) --dist worksteal

demo: $(TEST_ENV) ## generate 200,000 images with 4 million tags, load them, ask questions
	$(BIN)python examples/demo.py

notebooks: $(TEST_ENV) ## run the notebooks, a million images too, and store what they show
	$(BIN)bitdex warmup
	$(BIN)python -m tests.notebooks

lint: $(DEV_ENV) ## check style and formatting
	$(BIN)ruff check .
	$(BIN)ruff format --check .

types: $(DEV_ENV) ## check types
	$(BIN)mypy

bench: $(DEV_ENV) ## run the benchmarks once (asv) and keep what they measure, a few minutes
	$(BIN)bitdex warmup
	$(BIN)python -m asv machine --yes --config asv_benchmarks/asv.conf.json
	$(BIN)python -m asv run --python=same --set-commit-hash "$$(git rev-parse HEAD)" --quick --show-stderr \
		--config asv_benchmarks/asv.conf.json

bench-peers: $(PEERS_ENV) ## compare with DuckDB, SQLite, Tantivy, Polars on one million images: loaded, changed, analysed
	$(BIN)python -m asv_benchmarks.peers
	$(BIN)python -m asv_benchmarks.changes
	$(BIN)python -m asv_benchmarks.analysis

bench-store: $(TEST_ENV) ## measure the store alone
	$(BIN)python -m asv_benchmarks.store

bench-durability: $(PEERS_ENV) ## measure compaction, durable writes beside LMDB, reads beside pending writes
	$(BIN)python -m asv_benchmarks.durability

torture: $(TEST_ENV) ## run the long forms of the tests, a night; SHARE=3/20 runs the third of twenty shares
	$(BIN)bitdex warmup
	BITDEX_TORTURE=$(SHARE) $(BIN)python -m pytest -n $(WORKERS) --timeout 0 -s $(TORTURE)

warmup: $(TEST_ENV) ## compile all kernels
	$(BIN)bitdex warmup

clean: ## remove the environment, caches and what demo and benchmarks have made
	rm -rf $(VENV) demo-data demo-index bench-data build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf asv_benchmarks/env asv_benchmarks/results asv_benchmarks/html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bitdex needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@
