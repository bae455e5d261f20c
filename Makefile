# Two commands from a bare machine: `make demo` and `make test`. Each does all of its own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: demo test check fmt bench soak faults proof fuzz hil setup broker lock clean

demo: setup broker
	$(BIN)/dcu demo $(DEMO)

# Most tests wait for a line, a broker or a process: more run at once than there are cores. One seed of hashes for all,
# so that all collect the same tests in the same order. Ptys are numbered for the whole machine: a box whose line is gone
# may open the one that another test was just given. What failed beside others must hold alone.
ALONE = PYTHONHASHSEED=0 $(BIN)/pytest --last-failed --last-failed-no-failures none $(PYTEST)
test: setup broker
	PYTHONHASHSEED=0 $(BIN)/pytest -n 4 --dist loadfile $(PYTEST) || $(ALONE)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup broker
	$(BIN)/python -m bench $(BENCH)

# A year of 32 meters in virtual time, some 25 minutes of two cores: make soak SOAK="--seed 7 --days 30", SOAK="--storms 300"
soak: setup
	$(BIN)/python -m tests.soak $(SOAK)

# The fault matrix, tried for real; it writes docs/RELIABILITY.md: make faults FAULTS="--seed 7 --rows 1,2"
faults: setup broker
	$(BIN)/python -m tests.faults $(FAULTS)

# Every claim of command authority, about two hours; it writes docs/SAFETY.md: make proof PROOF="--seed 7 holiday caps"
# One module of the part `mutation`: python -m tests.proof.mutation checks/voices
proof: setup
	nice -n 10 $(BIN)/python -m tests.proof $(PROOF)

# Every decoder under atheris, half a minute each: make fuzz FUZZ="--seconds 600 values rows"
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris==2.3.0'
	$(BIN)/python -m tests.fuzz $(FUZZ)

hil: setup
	$(BIN)/pytest hil $(PYTEST)

setup: $(STAMP)

# The lock carries hashes, so what is installed is what was reviewed.
$(STAMP): pyproject.toml requirements.txt scripts/bare-machine.sh
	scripts/bare-machine.sh python "$(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
		2>$(VENV)/install.log || { cat $(VENV)/install.log >&2; exit 1; }
	touch $(STAMP)

broker:
	scripts/bare-machine.sh mosquitto

# Refresh both locks (all tools; the box alone): the only target that needs more than what they name.
LOCK := --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile $(LOCK) --extra demo --extra box --extra dev -o requirements.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra box -c requirements.txt -o requirements-box.txt pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info
