# `make demo` and `make test` each set themselves up on a fresh machine with Python >= 3.11 and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all clients lint setup schema tables bench bench-quick docs clean

demo: setup
	$(BIN)/compress demo --out runs/demo

# Compiled files are kept also where the environment says otherwise: tests start many processes.
test test-all: export PYTHONDONTWRITEBYTECODE :=

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Also what is marked slow: long attacks, of which `make test` has small samples, and what takes long for what it shows.
# Without the wheel's tests (`make dist-check`): two workers would remove each other's dist/.
test-all: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "" --ignore tests/release/test_dist.py

# The folder in transformers.js, optimum, OpenVINO and plain onnxruntime, each in an environment of its own in .peers.
clients: setup
	$(BIN)/python -m tests.clients.setup
	$(BIN)/python -m pytest -m clients tests/clients

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The schema that editors check recipes against; a test fails when it is stale.
schema: setup
	$(BIN)/compress run --schema > compress/recipes/recipe.schema.json

# The tables and the plot of README and docs from benchmarks/results, and the reference from the code; a test fails
# when they are stale.
tables: setup
	$(BIN)/python -m benchmarks.tables

# Everything in benchmarks/README.md, which takes days; then a part of it in 15 minutes, on the demo's models.
bench: setup
	$(BIN)/python -m benchmarks.all

bench-quick: setup
	$(BIN)/python -m benchmarks.all --quick

# The site, in build/site; a link or anchor that leads nowhere stops it. It has an environment of its own.
docs: .docs/.done
	.docs/bin/mkdocs build --quiet --strict

.docs/.done: pyproject.toml
	$(PYTHON) -m venv .docs
	.docs/bin/pip install --quiet --editable '.[docs]'
	touch $@

setup: $(VENV)/.done

# torch first and alone: pinned, so that pip takes the build that constraints.txt names and no other.
$(VENV)/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "compress needs Python 3.11 or newer; call make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .docs .release .locked build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# The wheel and the source archive, and beside them the bill of materials (CycloneDX) of an environment that has the
# wheel and exactly what release/demo.lock names.
dist: .locked/.done
	rm -rf dist build
	.release/bin/python -m build --outdir dist
	.release/bin/pip --python .locked/bin/python install --quiet --no-deps --force-reinstall dist/*.whl
	.release/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
	  --output-file dist/compress-bert.cdx.json .locked/bin/python

# The wheel in fresh environments, outside the checkout.
dist-check: setup
	$(BIN)/python -m pytest -m slow tests/release

# The demo with the locked wheels, each checked by its hash. For torch, an index that has the locked build must be
# known to pip: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo-locked
demo-locked: .locked/.done
	PYTHONPATH="$(CURDIR)" .locked/bin/python -m compress demo --out runs/demo

# pip of the other environment, so that this one holds nothing else.
.locked/.done: release/demo.lock | .release/.done
	rm -rf .locked
	$(PYTHON) -m venv --without-pip .locked
	.release/bin/pip --python .locked/bin/python install --quiet --require-hashes --requirement release/demo.lock
	touch $@

# The lock of this platform and this Python, from constraints.txt.
lock: .release/.done constraints.txt
	.release/bin/python -m release.lock > release/demo.lock.new
	mv release/demo.lock.new release/demo.lock

# Known vulnerabilities of the locked versions; it asks PyPI, and without an answer it fails.
audit: .release/.done
	.release/bin/pip-audit --strict --disable-pip --require-hashes --requirement release/demo.lock

.release/.done: pyproject.toml
	$(PYTHON) -m venv .release
	.release/bin/pip install --quiet --editable '.[release]'
	touch $@

.PHONY: dist dist-check demo-locked lock audit
