# Every target sets up what it needs in .venv first: Python >= 3.11, make and git are enough.
#
#   make demo      a handful of mails through the whole path, on this machine, without AWS; with STAY=1 it stays
#                  up, and says where the page is that shows them
#   make sandbox   the same, staying up: mail to 127.0.0.1:2525, look at http://127.0.0.1:8025/
#   make demo-fleet    sixty mails to three nodes, two of which are killed meanwhile, beside an emulator of DynamoDB
#   make setup-fleet   that emulator in an environment of its own, for `relay sandbox --fleet N`
#   make quick     tests without any process beside pytest's, while one waits
#   make test      all tests but the campaigns, and those of make system (CONTRIBUTING.md says how long)
#   make system    tests with other people's programs: Postfix, opendkim, Exim, swaks, openssl, radosgw, systemd, NSD, Unbound, …
#   make lint      ruff, mypy --strict, the floors
#   make docs      the pages under docs/ that are made of the code
#   make screenshots   the pictures of the page under docs/pictures, where Chromium is
#   make bench     what it takes, in figures
#   make fuzz      campaign: 100,000 mails made at random, hostile ones of 25 MB, growth of every reader,
#                  and every property of mails and contacts thirty times as long
#   make latency   ordinary mail beside mail that strikes its reader down, in figures, and what the statements
#                  of the spool cost beside 100,000 finished mails
#   make crash     campaign: kill it, hundreds of times; cut its power, a thousand times (POWER_IMAGES); hang,
#                  flood and starve it
#   make chaos     campaign: faults of S3 and Connect, and a fleet under fire
#   make soak      campaign: six hours (SOAK_SECONDS) of everything at once beside a million finished mails, and
#                  the lines through memory, files, threads and the wait for a 250

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Modules stay compiled between runs: to compile them anew takes each process of the tests seconds.
export PYTHONDONTWRITEBYTECODE :=
READY := $(VENV)/.ready

.PHONY: help demo demo-fleet setup-fleet quick test system sandbox docs screenshots bench lint format fuzz latency crash chaos soak setup clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The emulator of DynamoDB and S3 behind the tests of the fleet pins its own botocore: it has an environment of its own.
FLEET := .venv-fleet
$(FLEET)/.ready: requirements-fleet.lock
	@test -x $(FLEET)/bin/python || $(PYTHON) -m venv $(FLEET)
	@echo "setting up $(FLEET) (half a minute, once)"
	@$(FLEET)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fleet.lock
	@touch $@

demo: $(READY)
	@$(BIN)/python -m relay.sandbox.demo $(if $(STAY),--stay)

demo-fleet: $(READY) $(FLEET)/.ready
	@$(BIN)/python -m relay.sandbox.demo_fleet

setup-fleet: $(FLEET)/.ready

sandbox: $(READY)
	@$(BIN)/relay sandbox

# A module is one worker's; conftest.py has the long ones begin first. Cases of one test that need nothing of
# their own run as one test: each test costs 2 ms beside its work.
BESIDE := --together --dist loadfile --no-loadscope-reorder --numprocesses

quick: $(READY)
	@$(BIN)/python -m pytest --quick $(BESIDE) 2

# Three on two cores: these tests wait for processes, syncs and limits of time as long as they compute.
test: $(READY)
	@$(BIN)/python -m pytest $(BESIDE) 3

system: $(READY) $(FLEET)/.ready
	@$(BIN)/python -m pytest -m "system and not long" $(BESIDE) 2

screenshots: $(READY)
	@$(BIN)/python docs/screenshots.py

docs: $(READY)
	@$(BIN)/python docs/generate.py

bench: $(READY)
	@$(BIN)/python -m bench

fuzz: $(READY)
	@HYPOTHESIS_PROFILE=thorough FUZZ_MAILS=100000 FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/hostile tests/message tests/contact tests/smtp/test_fuzz.py -m "long or not long" --timeout 7200 --numprocesses 2

latency: $(READY)
	@$(BIN)/python -m pytest tests/understand/test_faults_beside.py tests/delivery/test_event_loop_lag.py tests/test_explain.py tests/spool/test_statements.py tests/spool/test_checkpoints.py -m long -rP --timeout 600

crash: $(READY)
	@$(BIN)/python -m pytest tests/crash tests/power tests/spool/test_spool_crash.py tests/daemon tests/test_one_contact.py -m "long or not long" --timeout 3600

chaos: $(READY) $(FLEET)/.ready
	@$(BIN)/python -m pytest tests/chaos -m "long or not long" --timeout 3600

soak: $(READY)
	@$(BIN)/python -m pytest tests/soak -m "long or not long" -rP --timeout 90000

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_floors.py tests/test_clocks.py

format: $(READY)
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

clean:
	find relay tests bench -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) $(FLEET) .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov .coverage*
