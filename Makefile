# One word a job; `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup lint format test test-all unit man map
PYTHON := .venv/bin/python

help: ## list the jobs
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/'

setup: ## install vvwatch and the packages of the tests into .venv
	python3 -m venv .venv
	.venv/bin/pip install -q --require-hashes --no-deps -r config/requirements/test.txt
	.venv/bin/pip install -q --no-deps --no-build-isolation -e .

lint: ## ruff, mypy and import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy src tests bench
	.venv/bin/lint-imports

format: ## format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

test: ## a slice of the tests
	$(PYTHON) -m pytest

test-all: ## all tests with all their cases
	VVWATCH_FULL=1 $(PYTHON) -m pytest

unit: ## the tests that start no server
	$(PYTHON) -m pytest -m unit

man: ## write the man pages and shell completions in share/
	$(PYTHON) docs/manual.py --write

map: ## redraw the map in docs/architecture.md
	$(PYTHON) docs/map.py --write
