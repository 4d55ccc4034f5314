# Every target sets up what it needs. Python 3.11 or newer, make and a compiler are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PODS := tests/cluster/test_cluster.py tests/cluster/pods

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint types test e2e check demo lock clean bench-frontend bench-index bench-operator bench-prefix \
	cluster-packages cluster-binaries cluster-up cluster-down kind-up kind-down images wheels

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(READY) ## create .venv with everything in it, .venv/bin/dynamo included

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (about half a minute the first time) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Ready: $(BIN)/dynamo"

fmt: $(READY) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(READY) ## formatting, lint rules and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY) ## mypy --strict
	$(BIN)/mypy

test: $(READY) ## run the tests; those on running pods come last and alone, because they measure
	$(BIN)/pytest -n 3 --dist loadgroup $(PODS:%=--ignore=%)
	@$(MAKE) --no-print-directory e2e

e2e: $(READY) ## install the chart on a real cluster, serve, scale, roll, break and delete graphs on it (minutes)
	$(BIN)/pytest -n 0 -vv $(PODS)

check: lint types test ## exactly what CI runs

cluster-packages: ## install the system packages of the local cluster; says which (Debian, root)
	@tests/cluster/local/packages.sh

cluster-binaries: $(READY) ## build Kubernetes and its neighbours into the user's cache (minutes, once)
	@$(BIN)/python -m tests.cluster binaries

cluster-up: $(READY) ## start a Kubernetes on this machine, with our images; no Docker, no registry
	@$(BIN)/python -m tests.cluster up

cluster-down: $(READY) ## stop it and remove what it left
	@$(BIN)/python -m tests.cluster down

kind-up: $(READY) ## the same with kind, where Docker runs
	@$(BIN)/python -m tests.cluster kind-up

kind-down: $(READY) ## remove the kind cluster
	@$(BIN)/python -m tests.cluster kind-down

images: $(READY) ## build the images whose sources changed, without Docker
	@$(BIN)/python -m tests.cluster images

wheels: $(READY) ## fill dist/ with what images/Dockerfile installs
	@$(BIN)/python -m tests.cluster wheels

demo: $(READY) ## serve a model from one file, through a KV-aware router, and chat with it
	@$(BIN)/dynamo up -f examples/agg-router.yaml --demo

bench-frontend: $(READY) ## CPU per request and per token, beside vllm-router
	$(BIN)/python -m benchmarks.frontend

bench-index: $(READY) ## prefix index: longest match and store rate, checked against a naive model
	$(BIN)/python -m benchmarks.index

bench-operator: $(READY) ## 100 graphs on nodes that only pretend: times, calls, memory, rest
	$(BIN)/python -m benchmarks.operator

bench-prefix: $(READY) ## prefix hit ratio of the routing modes on a shared-prefix workload
	$(BIN)/python -m benchmarks.prefix

lock: $(READY) ## resolve the dependencies anew, with hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --constraint requirements.lock --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --output-file images/requirements.lock

clean: ## remove everything that can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
