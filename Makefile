# `make run` and `make test` are all one needs; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(PATH):$(CURDIR)/.tools/bin
BIN := .venv/bin

UPSTREAM ?=
# Further options of `entrepot up`, of pytest, and of the benchmark.
ARGS ?=
# Processes that share the tests.
JOBS ?= 3

.PHONY: help setup run test nightly chaos soak postgresql check conformance bench tools docs site lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## make .venv with the entrepot command in it (quick when nothing changed)
	@scripts/setup

run: setup ## start everything, mirror one repository (UPSTREAM=registry.example/team/app), serve until Ctrl-C
	@scripts/install-buildah
	@exec $(BIN)/entrepot up $(if $(UPSTREAM),--upstream "$(UPSTREAM)",--demo) $(ARGS)

test: setup tools ## run all tests, with the real clients and servers that can be installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)

nightly: setup tools ## thousands of kills, and every answer after 300 commits of both writers: some hours
	TEST_KILLS=1000 TEST_COMMITS=300 TEST_STEPS=100000 TEST_HISTORIES=100 $(BIN)/python -m pytest --timeout=0 \
		tests/crash tests/behaviour/test_direct_commits.py tests/migration/test_kills.py \
		tests/replicas/test_rights_property.py $(ARGS)

chaos: setup tools ## three replicas and two workers over PostgreSQL and S3; parts are killed, paused, cut off: half an hour
	TEST_CHAOS_ROUNDS=2 TEST_CHAOS_PAUSE=15 $(BIN)/python -m pytest --timeout=0 -s tests/chaos $(ARGS)

soak: setup tools ## half an hour of mixed load and faults: memory and descriptors stay, failures are explained (TEST_SOAK_ON=postgresql)
	TEST_SOAK_SECONDS=1800 $(BIN)/python -m pytest --timeout=0 -s tests/soak $(ARGS)

postgresql: setup tools ## the tests of API, races, crashes and conformance on PostgreSQL and S3: three quarters of an hour
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --timeout=1800 --on-postgresql --on-s3 \
		tests/api tests/races tests/crash tests/interop/test_conformance.py $(ARGS)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --on-postgresql tests/unit/catalog $(ARGS)

check: setup ## lint, types and the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks scripts deploy
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder -m "not slow" -q $(ARGS)

conformance: setup tools ## run the conformance suite of the distribution specification
	$(BIN)/python -m pytest tests/interop/test_conformance.py -v $(ARGS)

bench: setup tools ## compare with docker-registry and skopeo, print the table (ARGS=--quick for a short run)
	$(BIN)/python -m benchmarks $(ARGS)

tools: ## install skopeo, podman, docker-registry and the like where missing
	@scripts/tools

docs: setup ## write the generated tables of docs/ again
	$(BIN)/python -m scripts.docs

site: setup ## build the documentation as a site in build/site
	$(BIN)/python -m scripts.site

lock: setup ## resolve requirements.lock anew (UPGRADE=1 takes newer versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove .venv, .tools and caches; local state under ENTREPOT_HOME stays
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info benchmarks/results
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
