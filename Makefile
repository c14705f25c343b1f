# `make` alone says what there is.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help train test lint doctor clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

train: $(READY)  ## set up, fetch the default corpora, run the main job; ARGS="seed=1 learner.steps=1" to change it
	$(BIN)/python train.py $(ARGS)

test: $(READY)  ## set up and run the tests; ARGS="-k maml" to choose
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY)  ## ruff on everything, mypy on src/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

doctor: $(READY)  ## versions, Hydra plugins, corpora present, W&B mode, devices
	$(BIN)/python -m metalingua doctor

clean:  ## remove .venv (not the runs, not the corpora)
	rm -rf .venv

# Made anew when the pins change; the file is written last, so that a cut installation is taken up again.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metalingua needs Python 3.11 or newer; PYTHON=python3.11 make ... names another one")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)
