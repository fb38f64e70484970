# Everything here works on a Debian machine with python3, git and make: each target installs
# what it needs into .tools and .venv first (requirements/install.sh), and does so once.
#
#   make ci      prove a real SGLang server on this machine; ARGS="..." go to `sglang-ci ci`,
#                which is a command of your shell after `source .venv/bin/activate`
#   make test    lint, types and all tests; ARGS="..." go to pytest
#   make prove   the tests that are left out of make test for their time: whole pipelines, rare
#                faults, and the many that are like one of those in make test
#   make lint    lint and types alone
#   make server  the environment of `make ci` alone, with all that `sglang-ci` can do there
#   make dev     the environment of `make test` alone
#   make locks   pin anew; UPGRADE=--upgrade takes newer versions
#   make pins    hold the base images to their tags' present digests; ARGS=--check only looks
#   make pictures  draw those of the README anew: the graph, and the last report in a browser
#   make deploy-demo  switch between two real SGLang behind a real HAProxy, under streams
#   make boot    measure the start of this environment against the plain one
#   make clean   remove what these targets installed

.DEFAULT_GOAL := ci
.PHONY: ci test prove lint server dev uv locks pictures pins deploy-demo boot clean
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV

BIN := .venv/bin
UV := .tools/bin/uv
COMMAND := sglang-ci is a command of your shell after: source $(BIN)/activate
LOCK = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command "make locks" $(UPGRADE)

ci: server
	$(BIN)/sglang-ci ci $(ARGS); code=$$?; echo '$(COMMAND)'; exit $$code

# Unit tests wait for processes more than they compute, and those of a file share what is made once;
# the other tiers share a server and an engine.
test: lint
ifeq ($(ARGS),)
	$(BIN)/python -m pytest tests/unit -m "unit and not long" -n 5 --dist worksteal
	$(BIN)/python -m pytest -m "not unit and not long" --durations 20 --durations-min 5
else
	$(BIN)/python -m pytest $(ARGS)
endif

prove: dev
ifeq ($(ARGS),)
	$(BIN)/python -m pytest tests/unit -m "long and unit" -n 5 --dist worksteal
	$(BIN)/python -m pytest -m "long and not unit" --durations 20 --durations-min 5
else
	$(BIN)/python -m pytest -m long $(ARGS)
endif

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck launch.sh .ci/run .ci/dagger requirements/*.sh examples/command/prove \
		benchmarks/gpu/repeat.sh
	$(BIN)/hadolint Dockerfile
	$(BIN)/actionlint

uv server dev:
	requirements/install.sh $@

# Each file is held to the pins of the one before it, so that all fit in one environment.
# requirements.lock is for Dagger, which brings its own copy of dagger-io.
locks: uv
	$(LOCK) requirements/uv.in -o requirements/uv.txt
	$(LOCK) requirements/build.in -o requirements/build.txt
	$(LOCK) pyproject.toml requirements/server.in \
		--overrides requirements/cpu-overrides.txt -o requirements/server.txt
	$(LOCK) pyproject.toml --extra release --extra deploy --extra observe --extra fuzz \
		requirements/dev.in \
		--overrides requirements/dev-overrides.txt -c requirements/server.txt -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra release --extra deploy --extra observe \
		-c requirements/dev.txt -o requirements/release.txt
	$(LOCK) pyproject.toml --extra fuzz -c requirements/dev.txt -o requirements/fuzz.txt
	$(LOCK) pyproject.toml requirements/dagger.in -c requirements/dev.txt \
		--no-emit-package dagger-io -o requirements.lock

pictures: server
	$(BIN)/python -m docs.pictures.make report

pins: dev
	$(BIN)/python -m requirements.pins $(ARGS)

deploy-demo: server
	requirements/install.sh haproxy
	$(BIN)/sglang-ci deploy demo $(ARGS)

boot: server
	$(BIN)/python -m benchmarks.boot $(ARGS)

clean:
	rm -rf .tools .venv
