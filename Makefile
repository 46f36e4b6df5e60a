# Everything there is to do with this clone. It needs Python 3.11 or newer, make and git; the rest is set up by itself, inside
# the clone: a goal first brings its virtual environment up to date, which takes no time when nothing has changed.

VENV     = .venv
PYTHON   =          # the Python to create it with; empty: the first that fits
ARGS     =          # more arguments for the program behind a goal: make test ARGS="-k framing"
COVERAGE = --cov
WORKERS  = $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 3 / 2 + 1)  # tests side by side: more than CPUs, since many wait; 0: one after the other
OTHERS   = 3.11 3.12 3.13

python = $(VENV)/bin/python
pip    = $(python) -m pip --disable-pip-version-check --quiet
lock   = $(python) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
         --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

types_of_tests = $(python) -m mypy --cache-dir .mypy_cache/tests --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls \
                 --allow-any-generics --no-warn-return-any

unexport PYTHONDONTWRITEBYTECODE  # what is compiled is kept: the tests start hundreds of processes

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help setup run test check lint format test-all test-others torture fuzz bench docs dist test-dist lock reference locale clean

help:  ## this list
	@echo "Goals (make GOAL):"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'

setup: $(VENV)/.ready-dev  ## everything that working on prise needs, in .venv

run: $(VENV)/.ready-run  ## the chat room (needs less than setup); ARGS="--lan"
	@$(VENV)/bin/prise chat $(ARGS)

test: $(VENV)/.ready-dev $(VENV)/.ready-programs  ## the tests, with coverage; ARGS="-k framing", WORKERS=0 for one after the other
	@$(python) -m pytest -n $(WORKERS) --dist worksteal -o cache_dir=$(VENV)/.pytest_cache $(ARGS) $(COVERAGE)

check: lint test  ## format, lint, types and tests on this Python: what a change must pass

lint: $(VENV)/.ready-dev  ## format, lint and types only
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@$(python) -m mypy
	@$(types_of_tests) tests scripts/*.py packaging/*.py
	@MYPYPATH=tests:torture $(types_of_tests) torture

format: $(VENV)/.ready-dev  ## rewrites the code in the project's format, and what lint can mend by itself
	@$(python) -m ruff check --fix --quiet . || true
	@$(python) -m ruff format .

test-all: test test-others  ## the tests on every Python that is found here

test-others: $(VENV)/.ready-dev  ## the tests on 3.11, 3.12 and 3.13, without that of .venv
	@MAKE="$(MAKE)" scripts/test-others $(VENV) $(OTHERS)

torture: $(VENV)/.ready-dev $(VENV)/.ready-programs  ## faults, bad networks, kills, full disks, clocks, soak; TORTURE_SECONDS=600 for longer ones
	@$(python) -m pytest -n $(WORKERS) --dist worksteal -o cache_dir=$(VENV)/.torture_cache torture $(ARGS)

fuzz: $(VENV)/.ready-run  ## fuzzes every parser of network bytes; ARGS="--seconds 300 framing imap"
	@$(python) -m fuzz $(ARGS)

bench: $(VENV)/.ready-run  ## measures prise beside its peers, and writes benchmarks/README.md; make bench-echo: one part
	@$(python) -m benchmarks $(ARGS)
	@$(python) scripts/figures.py

bench-%: $(VENV)/.ready-run
	@$(python) -m benchmarks $* $(ARGS)

dist: $(VENV)/.ready-dev  ## the wheel, the source archive and their checksums, in dist/
	@scripts/build $(python) dist

test-dist: $(VENV)/.ready-dev  ## builds them twice, installs them into empty environments, and uses them there
	@$(python) scripts/test_dist.py

docs: $(VENV)-docs/.ready  ## the site of the documentation, English and French, in site/; ARGS="serve" shows it while you write
	@NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs $(or $(ARGS),build --quiet)

lock: $(VENV)/.ready-dev  ## recreates all locked requirements; UPGRADE=1 takes the newest versions
	@$(lock) -o requirements/run.txt pyproject.toml --extra cli --extra uvloop --extra tls --extra ws --extra web requirements/build.in
	@$(lock) -o requirements/dev.txt pyproject.toml --all-extras requirements/build.in requirements/dev.in -c requirements/run.txt
	@$(lock) -o requirements/docs.txt requirements/docs.in
	@$(lock) -o fuzz/requirements.txt fuzz/requirements.in -c requirements/dev.txt
	@$(lock) -o benchmarks/requirements.txt benchmarks/requirements.in -c requirements/dev.txt
	@$(python) scripts/licences.py

reference: $(VENV)/.ready-dev  ## renews what the documentation says of the command's options and of the figures
	@$(python) scripts/reference.py
	@$(python) scripts/figures.py

locale: $(VENV)/.ready-dev  ## brings the translations up to date and names what is not translated yet
	@$(python) scripts/catalogue.py

clean:  ## removes everything that these goals have made
	rm -rf .venv .venv-* site .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What follows are the steps of the set-up, each with a stamp that says when it was done.

$(VENV)/.created:
	@scripts/make-venv $(VENV) $(PYTHON)
	@touch $@

# The project itself is installed in place (editable) by the locked hatchling, so nothing is fetched that has no hash.
install = $(pip) install --no-deps --no-build-isolation --editable .

$(VENV)/.ready-run: requirements/run.txt pyproject.toml $(VENV)/.created
	@echo "installing requirements/run.txt in $(VENV)"
	@$(pip) install --require-hashes -r requirements/run.txt
	@$(install)
	@touch $@

$(VENV)/.ready-dev: requirements/dev.txt pyproject.toml $(VENV)/.created
	@echo "installing requirements/dev.txt in $(VENV)"
	@$(pip) install --require-hashes -r requirements/dev.txt
	@$(install)
	@touch $@ $(VENV)/.ready-run  # it holds all of run.txt

$(VENV)-docs/.ready: requirements/docs.txt $(VENV)/.created
	@echo "installing requirements/docs.txt in $(VENV)-docs"
	@$(python) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/docs.txt
	@touch $@

$(VENV)/.ready-programs: tests/debian-packages.txt tests/debian-unpacked.txt scripts/test-programs $(VENV)/.created
	@scripts/test-programs
	@touch $@
