# `make demo` and `make test` set everything up by themselves. PYTHON chooses the interpreter (3.11 to 3.13).
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for v in python3 python3.13 python3.12 python3.11; do \
            $$v -c '$(SUITS)' 2>/dev/null && echo $$v && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup demo test lint bench kills network network-b detector sensitivity requirements clean

help:
	@echo "make demo    the whole chain on an embedded data set; results in vcmbench-demo/"
	@echo "make test    linters, type checker, and all tests (those that need Docker skip where no engine runs)"
	@echo "             FAST=1 does without engine, browser and networks: two minutes; TESTS=tests/data runs some"
	@echo "make setup   only the set-up: .venv with pinned requirements"
	@echo "make lint    linters and type checker"
	@echo "make bench   what is timed, and against what, into docs/performance.md (over an hour; BENCH=--small tries it)"
	@echo "make kills   kill -9 at random moments, over and over: is anything lost? (twenty minutes)"
	@echo "make network the embedded segmentation network, trained anew (half an hour)"
	@echo "make network-b one of another architecture, trained anew (a quarter of an hour)"
	@echo "make detector the embedded detector, trained anew (twenty minutes)"
	@echo "make sensitivity the predictor of where a network is sensitive, trained anew (an hour)"

setup: .venv/metrics

.venv/base: requirements/base.txt requirements/cli.txt pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(SUITS)' || \
	  { echo "vcmbench needs Python 3.11, 3.12 or 3.13; none was found. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@echo "setting up .venv (about half a minute)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements/base.txt -r requirements/cli.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# PyTorch with what it needs for GPUs: about 6 GB. Compressing alone needs only .venv/base. Everything is pinned, and
# what mmengine asks for beyond it (OpenCV with windows) is left out: hence --no-deps.
.venv/metrics: .venv/base requirements/metrics.txt
	@echo "installing PyTorch, mmsegmentation and piq (a minute or two)"
	@$(PIP) install --no-deps --require-hashes -r requirements/metrics.txt
	@touch $@

.venv/dev: .venv/metrics requirements/dev.txt
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

demo: .venv/metrics
	@$(BIN)/vcmbench demo $(DEMO)

test: .venv/dev lint
	@$(BIN)/python -m pytest $(if $(FAST),-m "not slow and not docker") $(or $(TESTS),-n 2 --dist loadfile --no-loadscope-reorder --durations=20)

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: .venv/dev
	@$(BIN)/python benchmarks/run.py $(BENCH)

kills: .venv/dev  # kill -9 at random moments: about twenty minutes
	@$(BIN)/python benchmarks/kills.py

network: .venv/metrics  # the embedded network anew: draws its scenes and trains, half an hour on two cores
	@$(BIN)/python -m vcmbench.demo.train

network-b: .venv/metrics  # the one of another architecture anew, by which what a map gains on the first is judged
	@$(BIN)/python -m vcmbench.demo.train --network demo-b

detector: .venv/metrics  # the embedded detector anew, which begins with what the network has learned
	@$(BIN)/python -m vcmbench.demo.train_detector

sensitivity: .venv/metrics  # the predictor behind [importance] source = "predicted", from what the loop comes to
	@$(BIN)/python -m vcmbench.demo.train_sensitivity

requirements:  # needs uv; pins what the *.in files ask for
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  -o requirements/base.txt requirements/base.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  -o requirements/cli.txt requirements/cli.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --override requirements/metrics.overrides -o requirements/metrics.txt requirements/metrics.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  -o requirements/dev.txt requirements/dev.in

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
