SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := .tiebreak/demo
DATA ?=
WORLD ?= corpus
BENCH ?= $(patsubst bench/%.py,%,$(wildcard bench/[a-z]*.py))
ARGS ?=

# One BLAS thread: sums keep their order, so equal inputs give bit-equal rows; also faster at our sizes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

FIND_PYTHON = for p in python3.11 python3 python3.12 python3.13; do \
	  $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done

.PHONY: help setup inference labelstudio browser check test torture demo bench bench-judge bench-consensus bench-routing \
  serve-labelstudio reference lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

setup: $(READY) ## the environment in .venv, from the lock (1 to 2 minutes once, then nothing)
	@:

$(READY): pyproject.toml constraints.txt
	@python=$$($(FIND_PYTHON)) || true; \
	if [ -z "$$python" ]; then \
	  echo "no Python with venv found; expected python3.11 or newer; next: install python3.11 and python3.11-venv" >&2; \
	  exit 2; \
	fi; \
	echo "setup: $$($$python --version) into $(VENV), 1.5 GB, 1 to 2 minutes; pip writes to $(VENV)/install.log"; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv --clear $(VENV); \
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' -c constraints.txt >$(VENV)/install.log 2>&1 \
	  || { tail -n 20 $(VENV)/install.log >&2; echo "setup failed; all of it: $(VENV)/install.log" >&2; exit 1; }; \
	touch $@; \
	echo "setup: done in $$SECONDS s"

inference: ## vLLM for CPUs in .venv-inference, for the tests that need it (about 3 minutes once, 3 GB; CPU=1 where a GPU is)
	@python=$$($(FIND_PYTHON)); $$python inference/build.py .venv-inference $(if $(CPU),--cpu)

labelstudio: ## Label Studio's server in .venv-labelstudio, for tests and local use (about 2 minutes once)
	@python=$$($(FIND_PYTHON)); $$python labelstudio/build.py .venv-labelstudio

serve-labelstudio: labelstudio ## a Label Studio server on this machine, until Ctrl-C; prints its address
	@.venv-labelstudio/bin/python labelstudio/run.py $(ARGS)

browser: ## headless Chromium, for the tests that look at pages (Debian and Ubuntu, as root; elsewhere: install Chromium)
	@for b in chromium chromium-browser google-chrome; do command -v $$b >/dev/null && exit 0; done; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null \
	  || { echo "no Chromium and apt-get cannot install it; next: install Chromium by hand" >&2; exit 2; }

check: setup ## before every commit: ruff, mypy --strict, fast tests, house rules, docs (half a minute)
	@$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/pytest -q -n 2 -m "not service and not slow" && echo "check: passed in $$SECONDS s"

test: check ## check, then slow tests and those that start servers, kill processes or read all real data (about half an hour cold)
	@$(BIN)/pytest -m "slow or service" -n 2 --dist loadfile --durations 40 && echo "test: passed, service tests in $$SECONDS s"

torture: setup ## the service tests with 1,000 faults and 50 random kills (long; TIEBREAK_SEED=n repeats a run)
	@TIEBREAK_KILLS=50 TIEBREAK_FAULTS=1000 $(BIN)/pytest -m service

demo: setup ## a whole loop on the demo corpus, in a simulated world (WORLD=simulated) or on DATA="folder ..." (1 to 2 minutes)
	@TIEBREAK_WORKSPACE=$(DEMO) $(BIN)/tiebreak demo --world $(WORLD) $(foreach folder,$(DATA),--data $(folder)) $(ARGS)

bench: setup ## quality and speed against peers, on real data (minutes; BENCH=routing for one, ARGS for options)
	@for program in $(BENCH); do echo "## $$program"; $(BIN)/python -m bench.$$program $(ARGS); done

bench-judge: setup ## calls/s of the judge stage against a bare client, and the look-up of a million known calls (minutes)
	@$(BIN)/python -m bench.judge $(ARGS)

bench-consensus: setup ## hidden votes predicted: log-loss, Brier and accuracy of each consensus on recorded votes (minutes)
	@$(BIN)/python -m bench.consensus $(ARGS)

bench-routing: setup ## what each routing method buys on recorded votes, by budget (minutes)
	@$(BIN)/python -m bench.routing $(ARGS)

reference: setup ## write the reference pages from the code: commands, recipe fields, settings, views
	@$(BIN)/python docs/generate.py

lock: setup ## write the environment's versions into constraints.txt
	@head=$$(grep '^#' constraints.txt); \
	pins=$$($(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | sort -f); \
	printf '%s\n' "$$head" "$$pins" > constraints.txt

clean: ## remove caches, builds and the demo's workspace; .venv and other workspaces stay
	@rm -rf dist .hypothesis .mypy_cache .pytest_cache .ruff_cache $(DEMO)
	@find . -name .venv -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf
