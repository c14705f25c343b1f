# `make` alone says what there is.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BENCH := .venv-bench/bin
BENCH_READY := .venv-bench/.ready

.DEFAULT_GOAL := help
.PHONY: help train test lint doctor proofs reliability models bench bench-test clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

train: $(READY)  ## set up, fetch the default corpora, run the main job; ARGS="seed=1 learner.steps=1" to change it
	$(BIN)/python train.py $(ARGS)

test: $(READY)  ## set up and run the tests; ARGS="-k maml" to choose
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)  ## ruff on everything, mypy on src/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

doctor: $(READY)  ## versions, Hydra plugins, corpora present, W&B mode, devices
	$(BIN)/python -m metalingua doctor

proofs: $(READY)  ## write what each learner promises into docs/learners.md; the tests prove it
	$(BIN)/python tests/learner/table.py

reliability: $(READY)  ## kill a sweep at 50 random moments, and write what came of it into docs/reliability.md
	$(BIN)/python tests/study/torture.py

bench: $(BENCH_READY)  ## speed and memory against learn2learn, higher and torchopt, into docs/performance.md
	$(BENCH)/python -m benchmarks.run
	$(BENCH)/python -m benchmarks.growth
	$(BENCH)/python -m benchmarks.overhead
	$(BENCH)/python -m benchmarks.time_to_accuracy
	$(BENCH)/python -m benchmarks.page

models: $(READY)  ## every encoder of conf/model measured, into docs/models.md; ARGS="--only lstm" to choose
	$(BIN)/python -m benchmarks.models $(ARGS)

bench-test: $(BENCH_READY)  ## prove that all of them compute the same meta-gradients
	$(BENCH)/python -m pytest tests/benchmarks $(ARGS)

clean:  ## remove .venv and .venv-bench (not the runs, not the corpora)
	rm -rf .venv .venv-bench

define check_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metalingua needs Python 3.11 or newer; PYTHON=python3.11 make ... names another one")'
endef

# Made anew when the pins change; the file is written last, so that a cut installation is taken up again.
$(READY): requirements.txt pyproject.toml
	$(check_python)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)

$(BENCH_READY): requirements.txt requirements-bench.txt pyproject.toml benchmarks/build_learn2learn.sh
	$(check_python)
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check $$(grep -E '^(Cython|setuptools|wheel)==' requirements-bench.txt)
	benchmarks/build_learn2learn.sh $(BENCH)/python .venv-bench/wheels
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check --no-deps --find-links .venv-bench/wheels -r requirements-bench.txt
	@touch $(BENCH_READY)
