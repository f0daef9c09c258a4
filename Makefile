# `make app` and `make test` are all that a fresh machine needs; both may be repeated.
.DEFAULT_GOAL := help
.PHONY: help app test setup setup-dev system lint bench demo soak clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PORT ?= 8501
APT := DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

app: setup ## set up and serve the dashboard on 127.0.0.1:8501
	$(BIN)/streamlit run app.py --server.port $(PORT)

test: setup-dev ## set up and run lint, types and all tests
	$(BIN)/pip check
	$(MAKE) lint
	$(BIN)/pytest -n 2 --dist loadgroup

lint: setup-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH)/stamp ## measure against the peers, side by side
	$(BENCH)/bin/python -m benchmarks

soak: setup-dev ## the long reliability tests, up to 45 minutes
	SEQRL_SOAK=1 $(BIN)/pytest -n 2 --dist loadgroup tests/reliability tests/test_fan_out.py

demo: setup ## rebuild the bundled demo
	$(BIN)/python -m seqrl demo build

# --- set-up: stamps make repetition free -------------------------------------------------------
setup: $(VENV)/app.stamp
setup-dev: $(VENV)/dev.stamp

# pip comes last: without it the environment is half made, and is made again.
$(BIN)/pip $(BENCH)/bin/pip: %/bin/pip:
	@# Debian keeps venv in a package of its own.
	@$(PYTHON) -m venv $* || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
			&& { $(APT) update; $(APT) install -y python3-venv; } && $(PYTHON) -m venv $*; \
	} || { echo "python3 has no venv: install it (on Debian the package python3-venv) and repeat"; exit 1; }

# $(call packages,NAMES,WHAT FOR): Debian's, where root may install them; otherwise it goes on without them.
# What root could not install is tried again the next time.
define packages
	@missing=; failed=; \
	for package in $(1); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(APT) update; \
		if $(APT) install -y --no-install-recommends $$missing; then missing=; else failed=yes; fi; \
	fi; \
	[ -z "$$missing" ] || echo "not installed:$$missing; install them yourself for $(2)"; \
	[ -n "$$failed" ] || touch $@
endef

$(VENV)/system.stamp: | $(BIN)/pip
	$(call packages,libegl1 libosmesa6 fonts-dejavu-core,MuJoCo without a screen)

$(VENV)/browser.stamp: | $(VENV)/system.stamp
	$(call packages,chromium,browser tests)

$(VENV)/app.stamp: requirements.txt | $(VENV)/system.stamp
	$(BIN)/pip install -q -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/app.stamp | $(VENV)/browser.stamp
	$(BIN)/pip install -q -r requirements-dev.txt
	@touch $@

$(BENCH)/stamp: benchmarks/requirements.txt benchmarks/requirements-peers.txt requirements.txt | $(BENCH)/bin/pip
	$(BENCH)/bin/pip install -q -r benchmarks/requirements.txt
	$(BENCH)/bin/pip install -q --no-deps -r benchmarks/requirements-peers.txt
	@touch $@

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(BENCH) .pytest_cache .mypy_cache .ruff_cache
