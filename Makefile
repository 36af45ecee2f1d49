# Everything runs in .venv, made here from the lock file. Works with the make 3.81 that macOS ships.
PYTHON ?= python3
UV ?= .venv/bin/uv
# Tests start some two hundred processes: none should compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=
TESTS ?=
SPREAD = -n2 --dist=loadfile --no-loadscope-reorder

PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(ARGS)
LOCKED = .venv/.locked
READY = .venv/.ready
NATIVE = .venv/.native
CRATE = native/Cargo.toml native/Cargo.lock native/pyproject.toml $(wildcard native/*.pyi native/src/*.rs)

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz lint bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Pass arguments on with ARGS="...".'

demo: $(READY) $(NATIVE) ## everything on this machine: a broker, the service, simulated events
	@.venv/bin/streamproc demo $(ARGS)

# Two at a time, each with a broker of its own, the tests of a file together. In their order, in which long files are
# among short ones: by numbers of tests the longest would come last.
test: $(READY) $(NATIVE) ## the tests, with a real Kafka; ARGS='-m slow' for the long forms
	@.venv/bin/python -m pytest $(if $(ARGS),$(ARGS),$(SPREAD) $(TESTS))

fuzz: $(READY) $(NATIVE) ## a million broken records; ARGS='--cases 20000000 --minutes 120' for more
	@.venv/bin/python -m tests.fuzz $(ARGS)

lint: $(READY) ## style, types and import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy --strict streamproc
	@.venv/bin/lint-imports

bench: $(READY) $(NATIVE) ## speed on this machine
	@.venv/bin/python -m tests.bench $(ARGS)

lock: $(if $(filter .venv/bin/uv,$(UV)),$(LOCKED)) ## write the lock files; ARGS=--upgrade for newer versions, UV=uv for your own uv
	@$(COMPILE) pyproject.toml --extra local --extra msk --group dev -o requirements/dev.lock
	@$(COMPILE) pyproject.toml --constraints requirements/dev.lock -o requirements/runtime.lock
	@$(COMPILE) --group build --constraints requirements/dev.lock -o requirements/build.lock
	@$(COMPILE) --group sbom --constraints requirements/dev.lock -o requirements/sbom.lock

clean: ## remove what was built
	@rm -rf .venv dist build native/target .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find streamproc tests -name __pycache__ -prune -exec rm -rf {} +

# Two stamps: editing pyproject.toml costs a second, only a new lock file costs a download.
$(LOCKED): requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'streamproc needs Python 3.11 or newer as $(PYTHON); try: make PYTHON=python3.12' >&2; exit 1; }
	@echo 'Setting up .venv from requirements/dev.lock (once; 243 of the 288 MB to download in all)'
	@$(PYTHON) -m venv --clear .venv || { \
		echo '$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Nobody needs it, so nothing fails with it. Tried again until it is built, and whenever the crate changes.
$(NATIVE): $(CRATE) | $(READY)
	@printf 'native codec: '
	@if [ -e $@ ]; then $(PIP) uninstall --yes streamproc-native && rm -rf $@ .venv/native; fi
	@if ! command -v cargo >/dev/null; then echo 'not built (no cargo); the pure Python codec is used'; \
	elif { .venv/bin/maturin build --release --manifest-path native/Cargo.toml --interpreter .venv/bin/python \
		--out .venv/native && $(PIP) install --no-deps --no-index .venv/native/*.whl; } >.venv/native.log 2>&1; then \
		echo 'built'; touch $@; \
	else echo 'not built (cargo failed: see .venv/native.log); the pure Python codec is used'; fi
