# The project's commands. Each makes what it needs; a second call installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PARITY := .venv-parity
DEPLOY := .deploy-tools
DEPLOY_CHECKS := kustomize helm custom_resources rules
LOADTEST := .venv-loadtest
TORCH := .venv-torch
PEERS := .venv-peers
BATCH := .venv-batch
BATCH_CHECKS := worker batch
# Real images for `make batch-test`; drawn ones where the folder is not there.
PICTURES ?= data/cifar10

.PHONY: help serve check format test image-test deploy-test rolling-test batch-test parity bench bench-gpu bench-peers \
  bench-train loadtest lock clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

serve: $(VENV)/service.installed ## start the service on http://127.0.0.1:8000
	@exec $(BIN)/mixer serve

check: $(VENV)/dev.installed ## format, lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.installed ## write the format and the safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: $(VENV)/dev.installed ## all tests, on two cores
	$(BIN)/pytest --numprocesses 2 --dist loadfile

image-test: $(VENV)/dev.installed ## build and run the images (root, buildah and debootstrap; no engine)
	$(BIN)/pytest -s -rs tests/deploy/check_image.py

deploy-test: $(VENV)/dev.installed $(DEPLOY)/installed ## manifests and rules with kubectl, Helm and Prometheus
	PATH="$(CURDIR)/$(DEPLOY)/bin:$$PATH" PYTHONPATH=$(DEPLOY)/python DEPLOY_TOOLS=$(CURDIR)/$(DEPLOY) \
	  $(BIN)/python -m pytest $(DEPLOY_CHECKS:%=tests/deploy/check_%.py)

rolling-test: export PATH := $(PATH):/usr/sbin
rolling-test: $(VENV)/dev.installed ## 40 restarts under load behind haproxy: no request may fail
	@command -v haproxy >/dev/null || apt-get install --quiet --yes --no-install-recommends haproxy
	$(BIN)/python -m tests.rolling.restarts

parity: $(PARITY)/installed ## compare the network with timm's in PyTorch
	$(PARITY)/bin/python -m tests.parity.compare_with_timm

bench: $(VENV)/dev.installed $(TORCH)/installed ## speed of the service and what bounds it, twenty minutes
	$(BIN)/python -m bench --torch-python $(TORCH)/bin/python

bench-gpu: $(VENV)/dev.installed ## the network on a GPU, against timm's where that is installed
	$(BIN)/python -m bench.gpu

bench-train: $(VENV)/dev.installed ## speed, MFU, data wait and memory of training steps
	$(BIN)/python -m trainer.benchmark all

lock: $(VENV)/dev.installed ## pin the newest allowed versions, with hashes
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml --extra build --output-file locks/service.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml trainer/pyproject.toml --extra dev \
	  --constraints locks/service.txt --output-file locks/dev.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml trainer/pyproject.toml --extra build \
	  --constraints locks/dev.txt --output-file locks/trainer.txt
	for accelerator in cpu cuda tpu; do \
	  $(BIN)/uv pip compile $(LOCK_OPTIONS) --group $$accelerator \
	    --constraints locks/dev.txt --output-file locks/$$accelerator.txt || exit 1; \
	done
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml --extra build --extra loadtest \
	  --constraints locks/service.txt --output-file locks/loadtest.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml --extra build --extra batch \
	  --constraints locks/dev.txt --output-file locks/batch.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --group locust \
	  --constraints locks/loadtest.txt --output-file locks/locust.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) tests/parity/requirements.in \
	  --excludes tests/parity/excluded.in --constraints locks/service.txt --output-file locks/parity.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) tests/deploy/requirements.in --no-deps --output-file locks/deploy.txt
	$(BIN)/uv pip compile $(LOCK_OPTIONS) pyproject.toml --extra build bench/peers/requirements.in \
	  --output-file locks/peers.txt

# One version of each package for all Pythons; hashes and no index addresses.
LOCK_OPTIONS := --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
  --generate-hashes --no-emit-index-url --no-annotate --no-header

clean: ## remove what the other commands made
	rm -rf $(VENV) $(PARITY) $(DEPLOY) $(LOADTEST) $(TORCH) $(PEERS) $(BATCH) build *.egg-info trainer/*.egg-info \
	  .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/service.installed: locks/service.txt pyproject.toml | $(BIN)/python
	@echo "installing the service's locked dependencies into $(VENV)"
	$(INSTALL) --require-hashes -r locks/service.txt
	$(INSTALL) --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/dev.installed: locks/dev.txt pyproject.toml trainer/pyproject.toml | $(BIN)/python
	@echo "installing the locked dependencies of service, trainer and tests into $(VENV)"
	$(INSTALL) --require-hashes -r locks/dev.txt
	$(INSTALL) --no-deps --no-build-isolation --no-index -e . -e trainer
	@touch $@ $(VENV)/service.installed

# torch by name and version: its CPU and GPU builds have different hashes.
$(PARITY)/installed: locks/parity.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	  -r locks/parity.txt
	@touch $@

$(DEPLOY)/installed: deploy/tools.sh locks/deploy.txt tests/deploy/package-lock.json | $(BIN)/python
	deploy/tools.sh $(DEPLOY) $(BIN)/python
	@touch $@

# The service beside torch, whose network OpenVINO converts for one part of `make bench`.
$(TORCH)/installed: locks/service.txt
	@echo "installing the service's locked dependencies and torch into $(TORCH)"
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/service.txt
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@

loadtest: $(LOADTEST)/installed ## two minutes of mixed users, judged by loadtest/objectives.toml
	$(LOADTEST)/bin/python -m loadtest.mix

# An environment of its own, because Locust brings gevent.
$(LOADTEST)/installed: locks/loadtest.txt
	@echo "installing the service and Locust into $(LOADTEST)"
	$(PYTHON) -m venv $(LOADTEST)
	$(LOADTEST)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r locks/loadtest.txt
	$(LOADTEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --no-index -e .
	@touch $@

batch-test: $(BATCH)/installed ## the Ray Data job on a local Ray: killed, resumed, compared; five minutes
	$(BATCH)/bin/python -m pytest $(BATCH_CHECKS:%=tests/deploy/batch/check_%.py) --pictures $(PICTURES)

# An environment of its own, because Ray is large and nothing else needs it.
$(BATCH)/installed: locks/batch.txt locks/dev.txt pyproject.toml
	@echo "installing the service, Ray and the tests into $(BATCH)"
	$(PYTHON) -m venv $(BATCH)
	$(BATCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r locks/dev.txt -r locks/batch.txt
	$(BATCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --no-index -e .
	@touch $@

bench-peers: $(PEERS)/installed ## the service and other model servers under the same load; VERSION_DIR=STORE/MODEL/VERSION
	$(PEERS)/bin/python -m bench.peers --version-dir $(VERSION_DIR) $(BENCH_PEERS)

# An environment of its own: Triton's client wants an older protobuf than the service's lock has.
$(PEERS)/installed: locks/peers.txt pyproject.toml
	@echo "installing the service and other model servers into $(PEERS)"
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/peers.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --no-index -e .
	@touch $@
