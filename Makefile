# The two that a new user needs:
#   make train    train on simulated performers; on your own heatmaps: make train DATA=folder
#   make test     lint, type check and test
# Everything runs in .venv, which is created once and used by its path.

ifeq ($(OS),Windows_NT)
PYTHON ?= python
SHELL  := bash
BIN    := .venv/Scripts
EXE    := .exe
else
PYTHON ?= python3
BIN    := .venv/bin
EXE    :=
endif

# Options of `make train` and `make predict`: a folder or a keypoint table, or DATA=recorded for poses from PyPI
DATA   ?= data/simulated
# samples that stay on the same side of a split, see `heatpose train --help`; for example GROUPS='_(\d+)\.npy$'
GROUPS ?= $(if $(filter data/simulated,$(named)),_(\d+)\.npy$$,$(if $(filter recorded data/recorded,$(named)),blocks:5))
MODEL  ?= models/pose.joblib
# other options of the command; for example ARGS='--classifiers all'
ARGS   ?=

# A value from the command line may contain a $ that make must not expand.
raw     = $(if $(filter command environment,$(firstword $(origin $(1)))),$(value $(1)),$($(1)))
quoted  = '$(subst ','\'',$(call raw,$(1)))'
named  := $(patsubst %/,%,$(subst $() ,?,$(DATA)))
groups := $(call raw,GROUPS)
args   := $(call raw,ARGS)

.DEFAULT_GOAL := help
.PHONY: help install train predict test quick package test-networks test-oldest check lint format typecheck notebooks docs bench clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

$(BIN)/python$(EXE):
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Expected Python 3.11 or newer, got {v[0]}.{v[1]}: give another one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml | $(BIN)/python$(EXE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: setup.cfg pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: .venv/installed  ## make .venv and install heatpose into it

data/simulated/clips.csv: | .venv/installed
	$(BIN)/heatpose simulate data/simulated --overwrite

ifeq ($(named),recorded)
# The licence is written last: if it is there, so is all else.
train: .venv/installed
	@if test -e data/recorded/LICENSE.txt || $(BIN)/heatpose recorded data/recorded --overwrite; \
	then $(MAKE) --no-print-directory train DATA=data/recorded; \
	else echo 'Without the recorded poses: training on simulated performers instead.' >&2; \
	     $(MAKE) --no-print-directory train DATA=data/simulated; fi
else
train: .venv/installed $(if $(filter data/simulated,$(named)),data/simulated/clips.csv)  ## train on DATA, by default simulated performers, and save MODEL
	$(BIN)/heatpose train $(call quoted,DATA) --out $(call quoted,MODEL) $(if $(groups),--groups $(call quoted,GROUPS)) $(args)
endif

predict: .venv/installed  ## classify the poses in DATA with MODEL, as CSV
	@$(BIN)/heatpose predict $(call quoted,MODEL) $(call quoted,DATA) $(args)

test: lint typecheck check  ## lint, type check and test

# One process per module, so that the fixtures of a module are made once. The processes share compiled modules, whatever
# the environment says.
check quick: export PYTHONDONTWRITEBYTECODE =

check: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

quick: lint  ## lint, and the tests that need no server, network or clock: about a minute
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow and not server and not clock' tests

# The lower bounds of setup.cfg, in an environment of its own with the oldest supported Python.
OLDEST_PYTHON ?= python3.11
OLDEST_BIN    := $(BIN:.venv/%=.venv-oldest/%)

.venv-oldest/installed: setup.cfg constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv .venv-oldest
	$(OLDEST_BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt \
		--editable '.[report,onnx,search]' pytest pytest-xdist hypothesis
	@touch $@

test-oldest: .venv-oldest/installed  ## test with the oldest supported versions of Python and the libraries
	$(OLDEST_BIN)/python -m pytest -n auto --dist loadfile tests

# As a user gets it: built from the files that the archive holds, and installed where nothing else is.
PACKAGE_BIN := $(BIN:.venv/%=.venv-package/%)

package: | $(BIN)/python$(EXE)  ## build the package, check it, and run it in a new environment
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build twine
	rm -rf dist .venv-package
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv .venv-package
	$(PACKAGE_BIN)/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd dist && ../$(PACKAGE_BIN)/python -c 'import heatpose; [getattr(heatpose, name) for name in heatpose.__all__]'
	cd dist && ../$(PACKAGE_BIN)/heatpose --help

# On Linux, plain torch brings GPU libraries of several gigabytes; TORCH selects the version and index, such as
# TORCH='torch --extra-index-url https://download.pytorch.org/whl/cpu' or TORCH=torch==2.13.0
TORCH ?= torch

.venv/installed-networks: setup.cfg .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cnn,vitpose]'
	@touch $@

test-networks: .venv/installed-networks  ## test what needs PyTorch and transformers; TORCH selects the version of PyTorch
	$(BIN)/python -m pytest -n auto --dist loadfile tests/pose/test_inputs.py tests/model/test_pixels.py tests/datasets/test_photos.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	ls | grep -v '\.html$$' | tr '\n' '\0' | xargs -0 $(BIN)/codespell  # but pages that training wrote

format: .venv/installed-dev  ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/installed-dev
	$(BIN)/mypy

notebooks: .venv/installed-dev  ## run the notebooks
	$(BIN)/python -m pytest tests/test_notebooks.py

docs: .venv/installed-dev  ## build the documentation, docs/_build/html/index.html
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	rm -rf docs/_generated  # with pages of names that are no more
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

bench: .venv/installed-dev  ## measure speed and accuracy; with REAL=folder also on real data, with SCALE=folder also on 8.5 GB written there
	$(BIN)/python -m benchmarks $(if $(REAL),--real '$(REAL)') $(if $(SCALE),--scale '$(SCALE)')

clean:  ## remove what the tools left; never data, models or environments
	rm -rf build dist docs/_build docs/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
