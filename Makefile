# make demo    set up, then upscale a short clip and say how well it went
# make test    all tests, and the coverage of the code by those that are quick
# make check   style, types and layers
# make scores  measure every model that ships on the films in DATA, for the cards and the README
# make clean   remove what these made
.DEFAULT_GOAL := demo
.PHONY: demo test test-quick test-slow coverage check scores clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python tools/demo.py demo

test: coverage test-slow

# Under two minutes on one core.
test-quick: $(INSTALLED)
	$(BIN)/pytest -m "not slow"

# The same tests; tracing costs them a seventh of their time.
coverage: $(INSTALLED)
	$(BIN)/pytest -m "not slow" --cov

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

DATA ?= footage/val
scores: $(INSTALLED)
	$(BIN)/python tools/scores.py $(DATA)

clean:
	rm -rf .venv demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
