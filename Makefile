# Every target sets up what it needs; a second call is quick. Nothing has to be activated.

PYTHON ?= python3
SPACE ?= copying-quickstart
ARGS ?=
CONSTRAINTS ?= infra/constraints/cpu.txt

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c $(CONSTRAINTS)
# Those that measure; what they share, or start, or what needs a CUDA device, is left out.
BENCHMARKS := $(filter-out \
  $(patsubst %,benchmarks/%.py,gpu machine plain_loop plain_search driver_costs process_times \
  overhead_variants turns faults fault_rows plain_faults plain_breakable plain_life \
  plain_surroundings metrics_soak panels prometheus_server),$(wildcard benchmarks/*.py))

.PHONY: help search test test-slow test-gpu test-browser faults attack check infra docs bench clean

help: ## show these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

search: .venv/installed ## set up, then search SPACE (copying-quickstart; ARGS="--trials 4")
	@$(BIN)/longhaul search $(SPACE) $(ARGS)
	@command -v longhaul >/dev/null || \
	  echo "(longhaul is $(BIN)/longhaul here; to put it on the path: . $(BIN)/activate)" >&2

# Two halves, one a core: those of whole searches mostly wait for processes, the others compute.
test: .venv/installed-dev ## set up, then the tests that every change must pass (ARGS="-k ledger")
ifneq ($(ARGS),)
	@$(BIN)/pytest $(ARGS)
else
	@echo "the tests of whole searches run beside these; their result follows"; log=$$(mktemp); \
	$(BIN)/pytest tests/search >"$$log" 2>&1 & searches=$$!; \
	trap 'kill $$searches 2>/dev/null; rm -f "$$log"' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/pytest --ignore=tests/search; others=$$?; \
	wait $$searches; searched=$$?; cat "$$log"; [ $$others = 0 ] && [ $$searched = 0 ]
endif

test-slow: .venv/installed-dev ## the tests that take minutes
	@$(BIN)/pytest -m "slow and not gpu and not browser" $(ARGS)

test-gpu: .venv/installed-dev ## the tests that need a CUDA device
	@$(BIN)/pytest -m gpu $(ARGS)

test-browser: .venv/installed-dev ## the tests that need Chromium
	@$(BIN)/pytest -m browser $(ARGS)

attack: .venv/installed-dev ## attack each default of docs/security.md; a table says what held
	@$(BIN)/pytest -m attack tests/security $(ARGS)

faults: .venv/installed-dev ## break everything there is a test for; rewrites benchmarks/results/faults.md
	@$(BIN)/python benchmarks/faults.py $(ARGS)

check: .venv/installed-dev ## ruff, mypy and pyright
	@$(BIN)/ruff check --no-cache  # its cache does not see that a new folder shares a module's name
	@$(BIN)/ruff format --no-cache --check
	@$(BIN)/mypy
	@$(BIN)/pyright

infra: .venv/installed-infra ## check every file of infra/ with the program that will read it
	@$(BIN)/python infra/checks

docs: .venv/installed ## rewrite docs/cells.md and docs/tasks.md from the classes
	@$(BIN)/python -m longhaul_trainers.cells.page docs/cells.md
	@env -u LONGHAUL_DATA XDG_CACHE_HOME=/nonexistent \
	  $(BIN)/python -m longhaul_trainers.tasks.page docs/tasks.md

bench: .venv/installed-dev ## run every program in benchmarks/, which rewrites its page in benchmarks/results/
	@for program in $(BENCHMARKS); do echo "$$program" && $(BIN)/python "$$program" || exit 1; done

clean: ## remove the environment, caches and builds; searches and their results stay
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last, so that whatever broke in the middle is done again next time.
.venv/installed: pyproject.toml $(CONSTRAINTS) | .venv/created
	$(PIP_INSTALL) -e .
	@touch $@

# Contains what .venv/installed stands for, hence both stamps.
.venv/installed-dev: pyproject.toml $(CONSTRAINTS) | .venv/created
	$(PIP_INSTALL) -e ".[dev]"
	@touch .venv/installed $@

.venv/installed-infra: infra/checks/tools.txt | .venv/installed-dev
	$(PIP_INSTALL) -r infra/checks/tools.txt
	@touch $@

.venv/created:
	@$(PYTHON) -c "" 2>/dev/null || \
	  { echo "error: no $(PYTHON) here; name a Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "error: Longhaul needs Python 3.11 or newer, and $(PYTHON) is older; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || \
	  { echo "error: '$(PYTHON) -m venv' is not available; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv: about 2 GB (more with a CUDA build of torch), a few minutes."
	$(PYTHON) -m venv .venv
	@touch $@
