# The commands of a person. `make chat` and `make test` make their own .venv; done once, it takes a second.
#
#   make chat       install, train the default model if there is none yet, and talk to it
#   make test       lint, types, floors and the test suite
#   make install    .venv with what `chat` needs
#   make lint       ruff and mypy and the floors, without the tests
#   make serve      the API on http://127.0.0.1:8000 (MODEL=name-or-folder for another than the current one)
#   make bench      write the tables of benchmarks/results
#
#   make test-llama     llama.cpp reads our GGUF files (builds llama-cpp-python: some minutes)
#   make test-clients   every client of docs/guides/clients.md, each installed in an environment of its own
#   make test-long      fuzz, overload, aborts and a ten-minute soak of a running server: about half an hour
#
#   make clean      remove .venv and caches (runs and models stay)
#
# PYTHON=python3.12 chooses another interpreter. pip's own settings (an index of your own, a cache) are honoured.

PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install

.DEFAULT_GOAL := help
.PHONY: help install chat serve test test-llama test-clients test-long lint bench clean

help:
	@sed -n 's/^#   //p' Makefile

install: .venv/.installed

chat: .venv/.installed
	@$(BIN)/liaoliao chat

serve: .venv/.installed
	@$(BIN)/liaoliao serve $(MODEL)

test: .venv/.installed-test lint
	@echo "==> tests"
	@$(BIN)/pytest -q

lint: .venv/.installed-test
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> mypy (strict)"
	@$(BIN)/mypy
	@echo "==> floors"
	@$(BIN)/lint-imports

test-llama: .venv/.installed-llama
	@$(BIN)/pytest -q -n0 tests/oracles tests/model/test_gguf.py

test-clients: .venv/.installed-test
	@$(BIN)/python tests/clients/run.py --install .venv-clients
	@CLIENTS_VENVS=.venv-clients $(BIN)/pytest -q -n0 tests/clients

test-long: .venv/.installed-test
	@$(BIN)/python -m tests.long.fuzz --requests 100000
	@$(BIN)/python -m tests.long.aborts --aborts 10000
	@$(BIN)/python -m tests.long.overload --seconds 30
	@$(BIN)/python -m tests.long.soak --minutes 10 --streams 200

bench: .venv/.installed-llama
	@for file in benchmarks/[!_]*.py; do echo "==> $$file"; $(BIN)/python "$$file" || exit 1; done

clean:
	rm -rf .venv .venv-clients .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: what is installed is installed until one of these files changes.

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "liaoliao needs Python 3.11 or newer, this is %s; name one: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@echo "==> making .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	@echo "==> installing liaoliao (torch is the big one: a minute or a few)"
	@$(PIP) --editable .
	@touch $@

.venv/.installed-test: .venv/.installed
	@echo "==> installing what the tests need"
	@$(PIP) --editable '.[test]'
	@touch $@

.venv/.installed-llama: .venv/.installed-test
	@echo "==> building llama-cpp-python for this machine"
	@CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_CURL=OFF" $(PIP) --editable '.[llama]'
	@touch $@
