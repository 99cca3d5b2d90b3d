# Every target sets up what it needs: a virtualenv in .venv, installed from the lock files with their hashes.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile --require-hashes
# The first Python of 3.11 or later on the path; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Test processes side by side, one more than there are cores, since many tests wait for a process; `make test JOBS=1`
# runs them in one.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))' 2>/dev/null || echo 1)
ARGS ?=
SECONDS ?= 60

# Where this is set, every process that the demo and the tests start compiles boto3 and recon anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install dev demo test test-slow test-browser test-faults fuzz lint fix check golden docs site bench bench-kinds bench-fleet dist lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed ## set up .venv to run recon from this checkout
dev: $(VENV)/installed-dev ## set up .venv to work on recon

demo: $(VENV)/installed ## tell the story end to end on the embedded sandbox
	@$(BIN)/python -m reconciler.demo $(ARGS)

test: $(VENV)/installed-dev ## run the tests (ARGS="tests/test_names.py -k idna" for some)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not browser" $(ARGS)

test-slow: $(VENV)/installed-dev ## run the heavier suites
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow --hypothesis-profile others $(ARGS)

test-browser: $(VENV)/installed-browser site ## look at the pages of recon and at the site in Chromium
	@$(BIN)/python -m pytest -n 0 -m browser -rs $(ARGS)

test-faults: $(VENV)/installed-dev ## send every fault at every write of every kind; takes a while
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/test_faults*.py $(ARGS)

fuzz: $(VENV)-fuzz/installed ## fuzz the DMARC, SPF and TXT codecs, guided by coverage (SECONDS=60 for each)
	@for codec in dmarc spf txt; do $(VENV)-fuzz/bin/python tests/fuzz/run.py $$codec -max_total_time=$(SECONDS) -print_final_stats=1 \
		|| exit 1; done

lint: $(VENV)/installed-dev ## ruff's checks and format, mypy --strict, the files of pipelines
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python tests/lint_workflows.py

fix: $(VENV)/installed-dev ## let ruff fix and format what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: lint test ## what CI runs

golden: $(VENV)/installed-dev ## rewrite the golden outputs; then read the difference
	@RECON_GOLDEN=write $(BIN)/python -m pytest -n 0 tests/test_render_golden.py tests/test_runbooks.py $(ARGS)
	@$(BIN)/python docs/pictures.py
	@git --no-pager diff --stat -- tests/golden docs/runbooks docs/*.svg

docs: $(VENV)/installed ## rewrite what docs/ takes from the code
	@$(BIN)/python docs/generate.py

site: $(VENV)-site/installed ## build the docs as a site in build/site; a broken link is an error
	@$(VENV)-site/bin/zensical build --strict $(ARGS)

bench: $(VENV)/installed ## measure plan and apply; writes the table of docs/performance.md
	@$(BIN)/python benchmarks/bench.py $(ARGS)

bench-kinds: $(VENV)/installed ## count the calls of each kind; writes their table of docs/performance.md
	@$(BIN)/python benchmarks/kinds.py

bench-fleet: $(VENV)/installed-dev ## plan a thousand stacks while their workers are killed
	@$(BIN)/python benchmarks/fleet.py $(ARGS)

dist: $(VENV)/installed-dev ## build the sdist and the wheel of the last commit, the same bytes each time
	@rm -rf dist build/dist && mkdir -p dist build/dist
	@git archive HEAD | tar -x -C build/dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --outdir dist build/dist
	@cd dist && sha256sum *.whl *.tar.gz > SHA256SUMS && cat SHA256SUMS

lock: $(VENV)/uv ## resolve the lock files anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --no-annotate pyproject.toml --group build -o requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --no-annotate --group pyproject.toml:dev -c requirements.lock -o requirements-dev.lock
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --no-annotate --group pyproject.toml:browser -c requirements-dev.lock -o requirements-browser.lock

clean: ## remove what make made
	rm -rf $(VENV) $(VENV)-fuzz $(VENV)-site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- how .venv comes to be -------------------------------------------------------------------------------------------

$(VENV)/python:
	@test -n "$(PYTHON)" || { echo "recon needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); the first time takes about a minute." >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python requirements.lock pyproject.toml
	@$(PIP) -r requirements.lock
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	@$(PIP) -r requirements-dev.lock
	@touch $@

$(VENV)/installed-browser: $(VENV)/installed-dev requirements-browser.lock
	@$(PIP) -r requirements-browser.lock
	@touch $@

$(VENV)-fuzz/installed: tests/fuzz/requirements.txt
	@$(PYTHON) -m venv --clear $(VENV)-fuzz
	@$(VENV)-fuzz/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -r tests/fuzz/requirements.txt
	@touch $@

$(VENV)-site/installed: docs/requirements.txt
	@$(PYTHON) -m venv --clear $(VENV)-site
	@$(VENV)-site/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -r docs/requirements.txt
	@touch $@

$(VENV)/uv: $(VENV)/installed
	@$(BIN)/python -m pip --disable-pip-version-check install -qq uv
	@touch $@
