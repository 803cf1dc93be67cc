# The front door. Every target sets up what it needs in .venv first; only Python 3.11 and pip are assumed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow lint bench serve clean

$(STAMP): pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(RUN)dewfall demo

test: $(STAMP)
	$(RUN)python -m pytest -n 2

test-slow: $(STAMP)
	$(RUN)python -m pytest -m slow -n 2 --dist loadfile --timeout 1800 -p no:randomly

lint: $(STAMP)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

bench: $(STAMP)
	$(RUN)python -m benchmarks

serve: $(STAMP)
	$(RUN)dewfall up

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
