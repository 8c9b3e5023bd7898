# Everything is set up in one virtual environment, the first time it is needed:
#     make test VENV=/somewhere/else PYTHON=python3.12

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for python in python3.11 python3.12 python3.10 python3; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))

# The environment is made anew when these files change. Its stamp is written last, so that an interrupted set-up is
# taken up again.
HASH := $(shell cat setup.py pyproject.toml constraints.txt | cksum | tr ' ' '-')
READY := $(VENV)/.ready-$(HASH)
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt
FIXED := $(VENV)/basicsr-fixed

# This checkout before any other that the environment may have been made for.
export PYTHONPATH := $(CURDIR)
export DEEPRFTV2_ARCH_BASICSR_FIXED := $(abspath $(FIXED))

.PHONY: help setup demo test quick lint format clean key
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## Make the virtual environment, which the others do by themselves

demo: $(READY)  ## Train a small DeepRFTv2 on real photographs, test it, print a table and draw a picture
	$(VENV)/bin/python scripts/demo.py

test: $(READY) lint  ## Check the style, then run all tests
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup --durations=10

quick: $(READY)  ## Run the tests that take no more than seconds each
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup -m 'not slow'

lint: $(READY)  ## Check style, types and spelling
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell

format: $(READY)  ## Correct the style where that can be done without a thought
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## Remove the virtual environment and caches; experiments and results stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A name for an environment that fits these dependency files and this Python.
key:
	@echo "$(HASH)-$$($(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])')"

# BasicSR comes as source alone and asks for torch while it is built. Built in isolation it would fetch torch and CUDA a
# second time.
$(READY):
	@$(or $(PYTHON),false) -c '$(FITS)' 2>/dev/null || { \
		echo 'Python 3.10, 3.11 or 3.12 is needed (BasicSR 1.4.2 cannot be built on 3.13): make PYTHON=...' >&2; exit 1; }
	@echo 'Setting up $(VENV). This takes some minutes and 6 GB, mostly for PyTorch.'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip setuptools wheel
	$(PIP) torch torchvision
	$(PIP) --no-build-isolation basicsr
	$(PIP) --no-build-isolation --editable '.[dev]'
	$(PIP) --no-build-isolation --no-deps --upgrade --target $(FIXED) basicsr-fixed
	rm -f $(VENV)/.ready-*
	touch $@
