# make demo        install into .venv, upscale a short clip, and print its scores
# make test        run all tests, and print the coverage of the code by the quick ones
# make test-quick  run the tests that are not marked slow
# make test-slow   run the tests that are marked slow
# make coverage    run the quick tests and print their coverage of the code
# make check       check style, types and layers
# make docs        build the documentation into build/site; a broken link is an error
# make scores      measure all included models on the films in DATA, for their cards and the README
# make clean       remove everything that these targets create
#
# PYTHON=python3.12 creates .venv with another Python than python3.
.DEFAULT_GOAL := demo
.PHONY: demo test test-quick test-slow coverage check docs scores clean

PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes: none compiles the modules of another again.
unexport PYTHONDONTWRITEBYTECODE
# One process per core.
PARALLEL := -n logical --dist worksteal
INSTALLED := .venv/installed-$(notdir $(PYTHON))
DOCS_INSTALLED := .venv/docs-installed

$(INSTALLED): pyproject.toml
	test -e $@ || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python tools/demo.py demo

test: coverage test-slow

test-quick: $(INSTALLED)
	$(BIN)/pytest -m "not slow" $(PARALLEL)

# The same tests; tracing costs them a seventh of their time.
coverage: $(INSTALLED)
	$(BIN)/pytest -m "not slow" --cov $(PARALLEL)

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow $(PARALLEL)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

DATA ?= footage/val
scores: $(INSTALLED)
	$(BIN)/python tools/scores.py $(DATA)
	$(BIN)/python tools/compare_models.py --table

clean:
	rm -rf .venv demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
