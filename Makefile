# Needs Python 3.11 to 3.13 and make; everything else goes into .venv.

FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c '$(FITS)' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
READY := .venv/.ready
# Files are handed out in the order of `tests/conftest.py`, not by their number of tests.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
SOURCE := $(if $(TAPE),--tape "$(TAPE)")

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-slow test-long lint bench lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 18

setup: $(READY) ## set up .venv from requirements.lock (the other targets do it too)
	@echo "Ready: .venv"

demo: $(READY) ## run every quarter and print the walk-forward table; TAPE=path, else the synthetic source
	@$(BIN)/earlysignal demo $(SOURCE)

up: $(READY) ## start PostgreSQL, the Dagster UI, its daemon and the reports; Ctrl-C stops them; TAPE=path
	@$(BIN)/earlysignal up $(SOURCE)

test: $(READY) ## the default test suite
	@$(BIN)/python -m pytest -m "not slow and not long" $(WORKERS)

test-slow: $(READY) ## the tests that take longer than twenty seconds each
	@$(BIN)/python -m pytest -m slow $(WORKERS)

test-long: $(READY) ## the whole system lived through a break and through faults; minutes each, not in CI
	@$(BIN)/python -m pytest -m long

lint: $(READY) ## style, types and the floors of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## the benchmarks; TAPE=path
	@$(BIN)/python benchmarks/features.py $(SOURCE)
	@$(BIN)/python benchmarks/overhead.py $(SOURCE)
	@$(BIN)/python benchmarks/live.py
	@$(BIN)/python benchmarks/replay.py $(SOURCE)

lock: $(READY) ## pin the dependencies of pyproject.toml anew in requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock --quiet

clean: ## remove .venv and all caches; the data in .earlysignal stays
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip brings uv, pinned by the same lock, and uv the rest: it is faster and byte-compiles on every core.
$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { \
		echo "EarlySignal needs Python 3.11, 3.12 or 3.13. Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@{ $(BIN)/python -c '$(FITS)' && $(BIN)/python -m pip --version; } >/dev/null 2>&1 || \
		"$(PYTHON)" -m venv --clear .venv || { \
		echo "Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (once; a minute or two) …"
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >.venv/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
