# What a person or a machine runs here. Everything but `lock` needs only make and Python 3.11 or later with pip and venv.
#
#   make demo         the comparison of the README, from nothing: packages, model, page
#   make test         the tests, without PyTorch (the embedded model is fetched first, with and without its adapter)
#   make test-torch   the tests that need PyTorch, in an environment of their own
#   make test-server  the panel through a llama.cpp server, which compiles for five minutes (needs a C++ compiler, CMake)
#   make lint         ruff and mypy
#   make gate         are the verdicts as stable and as right as in the blessed run? From kept answers, without a model
#   make gate-live    the same on a few cases, asking the model
#   make baseline     keep the model's answers anew, and bless a run: make baseline WHO="A. Editor" WHY="new adapter"
#   make adapter      train the adapter of the embedded model again, calibrate, and measure (about an hour)
#   make lock         resolve requirements/*.txt anew from pyproject.toml (needs uv)
#   make clean        remove the environments and what tools have left; models stay in their cache
#
# PYTHON=python3.12 make demo   takes another interpreter.

PYTHON ?= python3
UV ?= uv
VENV := .venv
TORCH_VENV := .venv-torch
SERVER_VENV := .venv-server
CASES := evals/cases/smolagents-2 evals/cases/mistral-3b

# pip as it is configured on this machine; a locked file is installed only with the hash that the lock names
INSTALL := -m pip install --disable-pip-version-check -qq
BIN := bin
ifeq ($(OS),Windows_NT)
BIN := Scripts
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch test-server lint adapter lock clean model base-model gate gate-live baseline
.DELETE_ON_ERROR:

help:
	@sed -n '3,13s/^# *//p' Makefile

demo: $(VENV)/.demo model
	$(VENV)/$(BIN)/review-panel compare $(CASES) --open

# In two processes: a test that presses Ctrl-C does not share one with native libraries. Where an OpenVINO engine was
# loaded and freed before, the signal ends the process with a segmentation fault (in a run, the engine is never freed).
test: $(VENV)/.dev model base-model
	$(VENV)/$(BIN)/python -m pytest -m "not torch and not model and not browser and not server"
	$(VENV)/$(BIN)/python -m pytest -m "(model or browser) and not torch"

test-torch: $(TORCH_VENV)/.torch
	$(TORCH_VENV)/$(BIN)/review-panel models pull embedded
	$(TORCH_VENV)/$(BIN)/review-panel models pull embedded-base
	$(TORCH_VENV)/$(BIN)/python -m pytest -m torch

# The tests run in the environment of `make test`; only the server is in its own.
test-server: $(VENV)/.dev $(SERVER_VENV)/.server base-model
	$(VENV)/$(BIN)/python -m pytest -m server

lint: $(VENV)/.dev
	$(VENV)/$(BIN)/ruff check .
	$(VENV)/$(BIN)/mypy

# What the gate goes through: dev and calibration tools, not those that figures are reported on. Two cases are enough to
# see in a minute that the model still answers as it did; promises such as `labels` need no blessed run to be broken.
GATE := --part dev --part calibration --repeats 2 --draws 2 --live 1 $(addprefix --only ,order copies padding rewording \
	severe strong price-doubled security-incident licence-closed docs-added live same-seed)
GATE_LIVE := --cases beancount --cases thimblecode --repeats 2 --draws 2 --live 1 $(addprefix --only ,order labels \
	severe same-seed)
BASELINE := evals/baselines/stability.json
# options for both gates, as --html FILE --junit FILE --markdown FILE
REPORT ?=
# What may be chance is said, and stops nobody; everything else that is not a pass does.
unless_chance = || { code=$$?; test $$code -eq 3 && echo "(inconclusive: nothing is stopped for that)" || exit $$code; }

gate: $(VENV)/.dev
	$(VENV)/$(BIN)/review-panel eval stability --replay $(GATE) --baseline $(BASELINE) --quiet \
		--out outputs/evals/gate $(REPORT) $(unless_chance)

gate-live: $(VENV)/.dev model
	rm -rf outputs/evals/gate-live
	$(VENV)/$(BIN)/review-panel eval stability $(GATE_LIVE) --baseline $(BASELINE) --quiet \
		--out outputs/evals/gate-live $(REPORT) $(unless_chance)

baseline: $(VENV)/.dev model
	@test -n "$(WHO)" -a -n "$(WHY)" || { echo 'say who blesses, and why: make baseline WHO="A. Editor" WHY="new adapter"' >&2; exit 1; }
	rm -rf outputs/evals/baseline
	$(VENV)/$(BIN)/review-panel eval stability $(GATE) --out outputs/evals/baseline --answers evals/baselines/answers.jsonl
	$(VENV)/$(BIN)/review-panel eval bless outputs/evals/baseline/stability.json --who "$(WHO)" --why "$(WHY)"

# Written into panel/engines/embedded_adapter and personas/calibrations.yaml; nothing is fitted on dev or test.
adapter: $(TORCH_VENV)/.torch $(VENV)/.dev
	$(TORCH_VENV)/$(BIN)/python -m evals.adapter.train
	$(VENV)/$(BIN)/review-panel models pull embedded
	$(VENV)/$(BIN)/review-panel personas calibrate
	$(TORCH_VENV)/$(BIN)/review-panel personas calibrate --engine transformers
	$(VENV)/$(BIN)/python -m evals.gold --baselines
	$(VENV)/$(BIN)/python -m evals.probe

# Idempotent: checks the files and says nothing where they are there.
model: | $(VENV)/.demo
	$(VENV)/$(BIN)/review-panel models pull embedded

# The same weights without our adapter, which tests compare with what was published.
base-model: | model
	$(VENV)/$(BIN)/review-panel models pull embedded-base

# ------------------------------------------------------------------------------------------------ environments
# Each environment keeps a stamp per lock file: while neither the lock nor pyproject.toml changes, nothing is done.

# $(call fresh_venv,FOLDER): an environment, with one readable line where it cannot be made
define fresh_venv
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or later, or name one: PYTHON=... make" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is `$(PYTHON) -V`: Python 3.11 or later is needed, name one: PYTHON=python3.12 make" >&2; exit 1; }
	@test -x $(1)/$(BIN)/python && $(1)/$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(1); $(PYTHON) -m venv $(1); } || { rm -rf $(1); echo "$(PYTHON) cannot make environments: install its venv module (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
endef

# $(call install_us,FOLDER): this checkout itself, editable; its build needs nothing that is not locked
define install_us
	$(1)/$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
endef

$(VENV)/.demo: requirements/demo.txt pyproject.toml
	$(call fresh_venv,$(VENV))
	@echo "installing the packages of requirements/demo.txt into $(VENV) (a minute or two)"
	$(VENV)/$(BIN)/python $(INSTALL) --require-hashes -r requirements/demo.txt
	$(call install_us,$(VENV))
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	$(VENV)/$(BIN)/python $(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# The CPU build of PyTorch where pip is configured to find one, else the registry's with what it brings along.
$(TORCH_VENV)/.torch: requirements/torch.txt requirements/dev.txt pyproject.toml
	$(call fresh_venv,$(TORCH_VENV))
	$(TORCH_VENV)/$(BIN)/python $(INSTALL) --require-hashes -r requirements/dev.txt
	$(TORCH_VENV)/$(BIN)/python $(INSTALL) -r requirements/torch.txt
	$(call install_us,$(TORCH_VENV))
	@touch $@

# From source: there are no wheels of it, and its build wants the machine's own compiler.
$(SERVER_VENV)/.server: requirements/server.txt
	$(call fresh_venv,$(SERVER_VENV))
	@echo "compiling the llama.cpp server into $(SERVER_VENV) (about five minutes)"
	$(SERVER_VENV)/$(BIN)/python $(INSTALL) -r requirements/server.txt
	@touch $@

# -------------------------------------------------------------------------------------------------------- lock
# demo.txt: what a run needs, and what builds this package. dev.txt: that and the tools. Both for every system, with
# hashes. torch.txt: only what PyTorch adds, without hashes (a local build of it has its own) and without the GPU
# libraries that the registry's Linux build asks for: pip adds them where that build is taken. server.txt: the server
# of one test, written by hand.

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" \
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-annotate
lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: $(PYTHON) -m pip install uv" >&2; exit 1; }
	$(COMPILE) --generate-hashes pyproject.toml requirements/build.in -o requirements/demo.txt
	$(COMPILE) --generate-hashes --extra dev -c requirements/demo.txt pyproject.toml requirements/build.in -o requirements/dev.txt
	$(COMPILE) --extra torch --extra train -c requirements/dev.txt pyproject.toml -o requirements/torch.all
	echo "# what PyTorch adds to dev.txt, written by: make lock" > requirements/torch.txt
	awk -F== 'NR == FNR { known[$$1]; next } !/^(#|nvidia|cuda|triton)/ && !($$1 in known)' \
		requirements/dev.txt requirements/torch.all >> requirements/torch.txt
	rm requirements/torch.all
	@if grep -nE '(index-url|find-links|https?:|file:)' requirements/*.txt; then echo "a lock file names where packages come from" >&2; exit 1; fi

clean:
	rm -rf $(VENV) $(TORCH_VENV) $(SERVER_VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
