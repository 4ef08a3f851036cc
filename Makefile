PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt

.PHONY: help study lessons docs test format clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/:/'

study: .venv/study  ## compare, train and time everything; writes reports/latest/report.html
	$(BIN)/rosetta study

lessons: .venv/study  ## run the lessons; writes reports/latest/lessons/index.html
	$(BIN)/rosetta lessons

docs: .venv/docs  ## write the reference of all modules into reports/latest/api/index.html
	$(BIN)/python -m reports.reference

test: .venv/test  ## tests, lint, formatting, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

format: .venv/test  ## format and sort
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the environment and the latest output
	rm -rf .venv reports/latest

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/study: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing NumPy, JAX, PyTorch and the report's libraries into .venv (about 1.8 GB)"
	$(PIP) --editable '.[all]'
	@touch $@

.venv/docs: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing NumPy, JAX, PyTorch, the report's libraries and pdoc into .venv (about 1.8 GB)"
	$(PIP) --editable '.[docs]'
	@touch $@ .venv/study

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing everything, with the tools of the tests, into .venv (about 2 GB)"
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/study .venv/docs
