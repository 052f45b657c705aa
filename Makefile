# make map: the phase map of the digits, from a fresh machine     make test: the tests, likewise
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: map test check docs outputs stubs bench clients executors mutants floors clean

map: .venv/ready
	$(BIN)/betaplane map digits

# a worker that crashes ends the run: pytest-xdist, which would replace it, then waits forever with loadfile
test: .venv/ready-test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0

check: .venv/ready-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tools.words
	$(MAKE) docs

# the documentation site, in site/; a dead link or a page without content is an error
docs: .venv/ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# rewrite the outputs that the pages of docs/ show; read the change before you commit it
outputs: .venv/ready-test
	$(BIN)/python -m tools.site.blocks

# rewrite the optimizers' names and signatures for editors and type checkers, from the registry of rules
stubs: .venv/ready-test
	$(BIN)/python -m tools.stubs

bench: .venv/ready-bench
	$(BIN)/python -m benchmarks

clients: .venv/ready-clients
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/monitor/test_callbacks.py tests/monitor/test_quantized.py \
	  tests/monitor/test_sinks.py tests/problems/test_from_trainer.py tests/problems/test_from_lightning.py

# where runs execute: Ray, Dask, submitit on this machine, with workers and drivers that are killed
executors: .venv/ready-executors
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/executors

# 200 mutants of what decides, drawn by SEED, and the share of them that a test notices
SEED ?= 0
mutants: .venv/ready-test
	$(BIN)/python -m tools.mutants --seed $(SEED)

floors: .venv/ready
	$(BIN)/python tools/floors.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/ready-test: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	touch $@

.venv/ready-docs: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	touch $@

.venv/ready-clients: .venv/ready-test
	$(BIN)/pip install -q -c constraints.txt -e '.[clients]'
	touch $@

.venv/ready-executors: .venv/ready-test
	$(BIN)/pip install -q -c constraints.txt -e '.[executors]'
	touch $@

.venv/ready-bench: .venv/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	touch $@

clean:
	rm -rf .venv out site
