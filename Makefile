# A fresh machine needs Python 3.11, 3.12 or 3.13 and make; everything else is installed into $(VENV).
#
#   make demo      the whole job on bundled clips
#   make test      every test that this machine can run
#
# Variables: PYTHON (the interpreter to start from), VENV (where to install), PIP_ARGS (for pip install, for example an
# index with CPU builds of torch), PYTEST_ARGS, JOBS (test processes), DEMO_ARGS (for fmltk demo),
# BENCH_ARGS (for tests/benchmarks/bench.py: --only extraction, --small).

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PIP_ARGS ?=
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
TORCH ?= 2.13.0

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadgroup --max-worker-restart 0 $(PYTEST_ARGS)

.PHONY: help setup demo test test-rounding lint format bench soak docs constraints clean

help:
	@echo 'make demo           install and run the whole job on bundled clips'
	@echo 'make test           install and run every test that this machine can run'
	@echo 'make test-rounding  run the numeric tests as older x86 processors round'
	@echo 'make setup          install everything for work on fmltk itself, also the git hooks'
	@echo 'make lint           format, lint, types, import rules (make format repairs what a program can)'
	@echo 'make bench          measure speed and memory, and write docs/performance.md (20 minutes)'
	@echo 'make soak           run the slow tests at full size, and write docs/reliability.md'
	@echo 'make docs           build the documentation into site/'
	@echo 'make constraints    write constraints.txt from what pip resolves today'
	@echo 'make clean          remove what these targets made, $(VENV) too'

# Stamps say what $(VENV) holds, so that a second call is quick. Each is written after its step has succeeded.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "fmltk needs Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) -e ".[demo]"
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) -e ".[test]"
	@touch $@ $(VENV)/.demo

$(VENV)/.all: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) -e ".[test,lint,docs]"
	@touch $@ $(VENV)/.test $(VENV)/.demo

setup: $(VENV)/.all
	@if [ -d .git ] && [ -z "$$CI" ]; then $(BIN)/pre-commit install; fi

demo: $(VENV)/.demo
	$(BIN)/fmltk demo $(DEMO_ARGS)

test: $(VENV)/.test
	$(PYTEST)

test-rounding: $(VENV)/.test
	$(BIN)/python tests/tools/rounding.py avx2 $(PYTEST) -m numeric
	$(BIN)/python tests/tools/rounding.py plain $(PYTEST) -m numeric

lint: $(VENV)/.all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p fmltk
	PYTHONPATH=.typing $(BIN)/lint-imports

format: $(VENV)/.all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test
	$(BIN)/python tests/benchmarks/bench.py $(BENCH_ARGS)

soak: $(VENV)/.test
	$(BIN)/pytest -n 0 --full-size tests/reliability $(PYTEST_ARGS)
	$(PYTEST) --full-size -m slow --ignore tests/benchmarks --ignore tests/reliability

docs: $(VENV)/.all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The file names no build of torch ("+cpu" is cut off), so that it serves every machine.
constraints:
	rm -rf .venvs/constraints
	$(PYTHON) -m venv .venvs/constraints
	.venvs/constraints/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) torch==$(TORCH) -e ".[docs,lint,ray,tensorboard,test]"
	@{ echo '# The exact versions that the project is tested with: pip install -c constraints.txt -e ".[demo]"'; \
	   echo '# Written by `make constraints`; do not edit.'; \
	   .venvs/constraints/bin/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; \
	} > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf .venvs/constraints

clean:
	rm -rf $(VENV) .venvs build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
