# Every target sets up what it needs in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
SLOW_MINUTES ?= 4
ifndef ORDER
ORDER := $(shell date +%s)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-touched test-random lint types format bench docs clean

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.installed ## Synthetic faces to a report of zero-shot results, without downloads or licensed data
	@PATH="$(CURDIR)/$(BIN):$$PATH" JOBS=$(JOBS) bash tools/demo.sh demo

test: $(VENV)/.installed-dev ## The tests, slow ones left out
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS)

test-slow: $(VENV)/.installed-dev ## The slow tests alone
	$(BIN)/python -m pytest -m slow -n $(JOBS)

test-touched: $(VENV)/.installed-dev ## The slow tests that cover what changed since main; none begins after SLOW_MINUTES
	$(BIN)/python tools/slow_tests.py --minutes $(SLOW_MINUTES) --jobs $(JOBS)

test-random: $(VENV)/.installed-dev ## The tests in another order each time; ORDER=N repeats one
	@echo "make test-random ORDER=$(ORDER)"
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --order-seed $(ORDER)

lint: $(VENV)/.installed-dev ## Style, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev ## Static types over all of src
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev ## Rewrite files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Benchmarks, each as a ratio against the obvious alternative
	$(BIN)/python benchmarks/scan_to_views.py
	OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(BIN)/python benchmarks/sequence_frames.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/read_frame.py
	$(BIN)/python benchmarks/sequence_memory.py
	$(BIN)/python benchmarks/list_archive.py
	$(BIN)/python benchmarks/training_step.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/multi_view_loss.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/file_to_answer.py
	$(BIN)/python benchmarks/pose_search.py
	$(BIN)/python benchmarks/onnx_runtime.py

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: $(VENV)/.installed-docs ## The documentation site in site/, from docs/ and the code; then every link is checked
	$(BIN)/python tools/build_docs.py
	$(BIN)/python tools/check_links.py README.md CHANGELOG.md CONTRIBUTING.md docs site

clean: ## Remove what the targets made
	rm -rf $(VENV) demo site build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
