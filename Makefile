# Two commands on a fresh machine: `make demo` and `make test`. Both need python3 >= 3.11 only.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Without --no-compile, pip compiles every file of every package; tests import a part of them.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

BENCH  := .venv-bench

MINUTES ?= 10

# With THOROUGH=1, property tests try three times as many examples.
export THOROUGH

# Where it is set, each process that a test starts would compile all it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test coverage check docs docs-serve pictures format chaos bench check-speed house vendor browser screenshots clean

# With CONSOLE=1, the console shows the deliveries in a browser at the end.
demo: $(VENV)/.demo
	$(BIN)/anytrack demo $(if $(CONSOLE),--console)

test: check
	$(BIN)/pytest -n auto --dist worksteal
	@command -v chromium >/dev/null || printf '\n%s\n%s\n\n' \
		'*** Chromium is missing: the tests of the console in a browser were SKIPPED. ***' \
		'*** Install it with `make browser`, and run `make test` again.               ***'

# The lines and branches that the tests run. It takes twice the processor time of `make test`.
coverage: check
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

# Chromium for the tests of the console, where apt can install it.
browser:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; }

# The tests with other versions of Python, each in a virtual environment of its own:
# make test-pythons PYTHONS="python3.12 ~/.pyenv/versions/3.13.0/bin/python"
.PHONY: test-pythons
test-pythons:
	@test -n "$(PYTHONS)" || { echo 'name interpreters: make test-pythons PYTHONS="python3.12 python3.13"'; exit 2; }
	set -e; for python in $(PYTHONS); do \
		venv=.venv-$$($$python -c 'import platform; print(platform.python_version())'); \
		$$python -m venv $$venv; \
		$$venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
		$$venv/bin/pytest -n auto --dist worksteal; \
	done

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j 2 check-types check-site

.PHONY: check-types check-site
check-types: $(VENV)/.dev
	$(BIN)/mypy

check-site: $(VENV)/.dev
	$(BIN)/python -m tools.reference --check
	$(BIN)/zensical build --strict

# The site, and the same for programs: site/llms.txt and site/reference.md.
docs: $(VENV)/.dev
	$(BIN)/python -m tools.reference
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m tools.reference --site site

docs-serve: $(VENV)/.dev
	$(BIN)/zensical serve

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Attacks on processes, files and connections for up to ten minutes; SEED=… repeats a run.
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos $(ATTACKS) --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# The peers have a virtual environment of their own, so that they never get into the tests'.
bench: $(BENCH)/.bench
	$(BENCH)/bin/python -m benchmarks

check-speed: $(VENV)/.dev
	$(BIN)/python -m benchmarks.counts

# The pictures in docs/images, from text and from what commands print.
pictures: $(VENV)/.dev
	$(BIN)/python -m tools.pictures

# How easy the code is to walk through, in numbers; fails nothing.
house: $(VENV)/.dev
	$(BIN)/python -m benchmarks.house

# The pictures of the console in docs/images, from a demo in Chromium.
screenshots: $(VENV)/.dev
	$(BIN)/python -m tests.web_console.screenshots

# The console's scripts and styles, from their npm packages; only after a change of a version.
vendor: $(VENV)/.dev
	$(BIN)/python -m tools.vendor

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.python
	$(PIP) -e '.[cli,console,sandbox]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(BENCH)/.bench: pyproject.toml constraints.txt | $(VENV)/.python
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) $(BENCH) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache dist site
