# `make demo` and `make test` work on a fresh checkout; see CONTRIBUTING.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := $(CURDIR)/.venv/bin
DEMO_RESULTS ?= $(CURDIR)/demo-results
# Where scripts/prepare found the engine (Podman, a docker context).
ENGINE := . .local/env;

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

.PHONY: demo
demo: ## Run the demo models of examples/mad in containers
	@scripts/prepare
	@$(ENGINE) RESULTS='$(DEMO_RESULTS)' PATH="$(BIN):$$PATH" scripts/run-demo

.PHONY: test
test: lint ## Lint, then the whole test suite
	@scripts/prepare --tests
	@$(ENGINE) $(BIN)/python scripts/run_tests.py

.PHONY: test-fast
test-fast: ## Unit and plugin tests with coverage; needs no container engine
	@scripts/prepare --venv-only
	@$(BIN)/python scripts/run_tests.py --fast

.PHONY: test-matrix
test-matrix: ## The fast layers on every Python from 3.10 that this machine has
	@scripts/test-matrix

.PHONY: lint
lint: ## ruff and mypy
	@scripts/prepare --venv-only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: bench
bench: ## Benchmarks of the plugin itself, as ratios against references of the same run
	@scripts/prepare --dev
	@$(ENGINE) $(BIN)/python -m benchmarks

.PHONY: docs
docs: ## Build the documentation into site/
	@scripts/prepare --venv-only --docs
	$(BIN)/mkdocs build --strict

.PHONY: stop
stop: ## Stop the container engine that `make` started, if it did
	@scripts/stop-engine

.PHONY: clean
clean: stop ## Remove everything that `make` made in this checkout (images stay)
	rm -rf .venv .local site build dist demo-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
