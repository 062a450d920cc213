# Each target sets up what it needs in $(VENV), from nothing; a second call finds it there.
VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-input -c constraints.txt
EXTRAS := test,parquet,root,pythia,bench
# All that need no arguments; top_physics and simulators name files and train or judge on them.
BENCHMARKS ?= $(filter-out __init__ classifiers simulators top_physics,$(basename $(notdir $(wildcard benchmarks/*.py))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test bench docs lint check review constraints clean

help:  ## what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/.core  ## from the bundled sample to a trained tagger, friend trees, plots and a page
	$(BIN)/hepgen quickstart $(ARGS)

test: check  ## ruff, mypy and all tests; ARGS="-k name" for some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m root $(ARGS) || test $$? -eq 5
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not root' -n $(JOBS) --dist worksteal $(ARGS)

bench: $(VENV)/.test  ## speed against other programs, side by side; BENCHMARKS=name for one
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name $(ARGS); done

docs: $(VENV)/.docs  ## the site, in docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

lint: check review  ## everything that reads the code without running it

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

review: $(VENV)/.test
	$(BIN)/codespell
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/repo-review .

constraints: $(VENV)/.test $(VENV)/.docs  ## write the installed versions into constraints.txt
	{ grep '^#' constraints.txt; \
	  $(BIN)/python -m pip freeze --exclude-editable --exclude hepgen | sed 's/+.*//' | LC_ALL=C sort -f; \
	} > constraints.tmp
	mv constraints.tmp constraints.txt

clean:  ## remove what was built; .venv stays
	rm -rf build dist docs/_build docs/api/generated .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone: where a build for CPUs is offered beside others, pip takes it for the
# exact version, and nothing asked for later replaces it.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) -e '.[$(EXTRAS)]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) -e '.[docs,parquet]'
	touch $@
