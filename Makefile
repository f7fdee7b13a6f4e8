# `make demo` and `make test` set everything up on a machine with Python and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test test-all lint docs bench clean

help:
	@echo "make demo      paint a survey and make the whole journey over it (demo/)"
	@echo "make test      lint, types and the fast tests"
	@echo "make test-all  the slow tests and the documentation too"
	@echo "make docs      build the documentation (build/site/index.html)"
	@echo "make bench     run the benchmarks and print their ratios"
	@echo "make clean     remove what the others made"

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/documented: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/tltool demo -o demo --overwrite

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2

test-all: lint docs
	$(BIN)/python -m pytest -n 2 -m ''

# Warnings are errors: a broken link, a docstring whose parameters are not the function's.
docs: $(VENV)/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
