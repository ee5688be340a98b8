# The front door. Every target is safe to repeat; `make help` lists them. What they call lives beside what it concerns.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# `ci` is optimised, without the link-time optimisation of `release`; `dev` builds soonest and runs slowest.
PROFILE ?= ci
# Name of the cluster of run-cluster, cluster-up and cluster-down.
CLUSTER ?= agentgateway
# Tests of the conformance suite to run, with commas between them; all when empty. And the channel of the Gateway API.
TESTS ?=
CHANNEL ?= standard
# Seconds that each test of tests/cluster/test_faults.py loads the gateway.
FAULT_SECONDS ?= 60

ARCHITECTURE := $(shell uname -m)
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
PROGRAMS := $(CARGO_TARGET_DIR)/$(ARCHITECTURE)-unknown-linux-gnu/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
TESTS_PYTHON := build/tests/venv/bin/python
PYTEST := $(TESTS_PYTHON) -m pytest -c tests/pytest.ini -p no:cacheprovider
# Programs that tests drive.
export AGENTGATEWAY_BIN = $(abspath $(PROGRAMS))/agentgateway
export CONTROLPLANE_BIN = $(abspath $(PROGRAMS))/agentgateway-controlplane

##@ Use

.PHONY: help
help: ## Lists the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nVariables: PROFILE=%s (dev, ci, release), CLUSTER=%s, FAULT_SECONDS=%s, CHANNEL=%s, TESTS=%s\n' "$(PROFILE)" "$(CLUSTER)" "$(FAULT_SECONDS)" "$(CHANNEL)" "$(TESTS)"

.PHONY: run
run: setup-run build ## Control plane on examples/quickstart, a proxy, an MCP server; prints what to try
	@python3 examples/quickstart/run.py $(PROGRAMS) build/tests/node/node_modules $(TESTS_PYTHON)

.PHONY: run-check
run-check: setup-run build ## The same, but runs the printed commands itself and fails when one does
	@python3 examples/quickstart/run.py $(PROGRAMS) build/tests/node/node_modules $(TESTS_PYTHON) --check

.PHONY: run-cluster
run-cluster: setup-run cluster-up ## The same on a test cluster: charts, the book's example, an MCP server (root)
	@$(TESTS_PYTHON) examples/kubernetes/run.py $(CLUSTER) $(TESTS_PYTHON)

##@ Build

.PHONY: build
build: setup-build ## Both programs
	$(CARGO) build --profile $(PROFILE) -p agentgateway -p agentgateway-controlplane

.PHONY: images
images: build cluster-tools ## Images of both programs, into build/images
	@deploy/images.sh $(PROGRAMS)

.PHONY: manifests
manifests: build/bin/kube ## The CRDs' chart and deploy/manifests, from crds/ and the charts
	@deploy/manifests.sh

.PHONY: charts
charts: manifests ## Packages of the charts, into build/charts
	@build/bin/kube helm lint --quiet deploy/charts/*
	@build/bin/kube helm package --destination build/charts deploy/charts/*

.PHONY: docs
docs: setup-build ## API documentation of the crates, into the target folder; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

##@ Test

.PHONY: test
test: ## Everything (cluster tests as root); what CI runs
	@tests/all.sh

.PHONY: test-unit
test-unit: setup-build ## Tests of the crates
	$(CARGO) test --profile $(PROFILE) --workspace

.PHONY: test-e2e
test-e2e: setup-run build ## Both programs with real clients and servers, on this machine
	$(PYTEST) tests

.PHONY: test-cluster
test-cluster: setup-run images ## Charts, the book's manifests and faults on a test cluster (root)
	AGENTGATEWAY_FAULT_SECONDS=$(FAULT_SECONDS) $(PYTEST) -n 0 --timeout 300 tests/deploy tests/cluster

.PHONY: h2spec
h2spec: setup-run build ## HTTP/2 by h2spec, the suite for it; builds it first
	@conformance/h2spec.sh
	$(PYTEST) -n 0 tests/standalone/test_h2spec.py

.PHONY: conformance
conformance: setup-run build conformance-tools ## The official Gateway API suite on a test cluster, its report; TESTS=A,B for some tests (root)
	@deploy/images.sh $(PROGRAMS)
	@$(TESTS_PYTHON) conformance/run.py --channel $(CHANNEL) $(if $(TESTS),--tests $(TESTS))

.PHONY: conformance-smoke
conformance-smoke: setup-run build conformance-tools ## A few tests of it for each profile, in a minute (root)
	@deploy/images.sh $(PROGRAMS)
	@$(TESTS_PYTHON) conformance/run.py --smoke

.PHONY: mcp-conformance
mcp-conformance: setup-run build ## The official MCP suite, directly and through the proxy, and its report
	@conformance/mcp/setup.sh
	@$(TESTS_PYTHON) conformance/mcp/run.py $(AGENTGATEWAY_BIN) --write

.PHONY: lint
lint: setup-build ## Formatting and lints of Rust, Go, shell and Python; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@unformatted=$$(gofmt -l conformance); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	cd conformance && go vet ./...
	@for script in $$(git ls-files '*.sh') .ci/run; do bash -n "$$script"; done
	@python3 -m compileall -q deploy examples tests

##@ Measure

.PHONY: bench
bench: ## Committed figures of the proxy: release profile, into bench/results
	@$(MAKE) bench-smoke PROFILE=release BENCH_FLAGS="--rounds 9 --seconds 3 --profile release --results bench/results"

# Tests of bench/controlplane, all of them by default; a scale of 10 makes ten times as many objects.
BENCH_TESTS ?=
BENCH_SCALE ?= 1
.PHONY: bench-controlplane
bench-controlplane: ## Committed figures of the control plane, on the cluster $(CLUSTER) (make cluster-up PROFILE=release first; root)
	@tests/setup/debian.sh bench
	python3 -m bench.controlplane $(CLUSTER) $(BENCH_TESTS) --scale $(BENCH_SCALE) --results bench/results

.PHONY: bench-policies
bench-policies: setup-run build ## Cost of each policy, and how limits, breakers and ejection hold, into bench/results
	CARGO="$(CARGO)" $(TESTS_PYTHON) -m bench.policies --results bench/results

.PHONY: bench-smoke
bench-smoke: setup-build ## Cost per request against a bare proxy, memory, spread of connections; fails when a limit is passed
	@tests/setup/debian.sh bench
	$(CARGO) build --profile $(PROFILE) -p agentgateway -p bare-proxy
	bench/proxy.py --binary $(AGENTGATEWAY_BIN) --bare $(abspath $(PROGRAMS))/bare-proxy $(BENCH_FLAGS)

##@ Test cluster

.PHONY: cluster-up
cluster-up: images ## A cluster named $(CLUSTER) with the charts installed (root)
	@deploy/testcluster.py up $(CLUSTER)

.PHONY: cluster-down
cluster-down: ## Removes it
	@deploy/testcluster.py down $(CLUSTER)

##@ Set-up

.PHONY: setup
setup: setup-build setup-run setup-cluster ## Debian, npm and PyPI packages that are missing, for everything below build/
	@tests/setup/debian.sh deploy

.PHONY: setup-build setup-run setup-cluster
setup-build:
	@tests/setup/debian.sh build
setup-run:
	@tests/setup/debian.sh run
	@tests/setup.sh
setup-cluster:
	@tests/setup/debian.sh run cluster

# Programs and images of the test cluster; takes seconds when nothing changed.
.PHONY: cluster-tools
cluster-tools: setup-cluster
	@conformance/build.sh
	@conformance/images.sh

# The suite and its backends besides.
.PHONY: conformance-tools
conformance-tools: setup-cluster
	@conformance/build.sh suite

build/bin/kube:
	@$(MAKE) setup-cluster
	@conformance/build.sh
