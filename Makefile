# Everything a developer does here has a target. `make` alone lists them.

PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
PY     := $(VENV)/bin/python
# For test and bench, as in: make test ARGS="tests/unit -k frames", make bench ARGS="--json FILE"
ARGS   ?=
# Processes that share the tests out; 0: none beside this one, for a debugger
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help env test test-rdma lint demo bench io500 peers stress clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

env: $(STAMP) ## Create .venv with BenchFS (editable) and all tools in it
	@:

test: env ## Run all tests; ARGS="tests/unit -k frames" runs some
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-rdma: env ## Run UCX's contract suites over soft RoCE, in QEMU (seven minutes or more; not in CI)
	sh tests/rdma/run.sh $(ARGS)

lint: env ## Check style, formatting, types and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

demo: env ## Store and read back a tree and a large file on three nodes, with speeds
	$(PY) -m benchfs.bench.demo

bench: env ## Measure the base figures as ratios of this machine's floor
	$(PY) -m benchfs.bench.base $(ARGS)

io500: env ## Run IO500's phases on three nodes in a minute; ARGS="--report DIR" draws plots
	$(PY) -m benchfs.bench.io500 $(ARGS)

peers: env ## Measure GlusterFS, MooseFS and the raw disk beside BenchFS, as root; ARGS="--install"
	$(PY) -m benchfs.bench.peers $(ARGS)

stress: env ## Stress a mount for some minutes, and check all it does; ARGS="--seconds 10" is shorter
	$(PY) -m benchfs.bench.mount_stress $(ARGS)

clean: ## Remove .venv, caches and build products
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is run twice so that the build tool, too, is the pinned version and is not fetched again.
$(STAMP): pyproject.toml constraints.txt
	@$(ensure_python)
	@$(ensure_ucx)
	@$(ensure_fuse)
	$(has_pip) || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt hatchling
	$(PY) -m pip install --quiet --constraint constraints.txt --no-build-isolation \
	  --editable ".[dev,ucx,bench,etcd$$($(can_build_fuse) && echo ,fuse)]"
	@touch $(STAMP)

# The tests of the ucx transport run where the system's UCX is. Nothing else needs it: without it
# they are skipped, and say so.
define ensure_ucx
if $(PYTHON) -c 'import ctypes; ctypes.CDLL("libucp.so.0")' 2>/dev/null; then exit 0; fi; \
if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
  echo "UCX is missing: installing Debian's libucx0 for the tests of the ucx transport"; \
  if apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends libucx0 >/dev/null; then exit 0; fi; \
fi; \
echo "UCX is missing: the tests of the ucx transport will be skipped (Debian: libucx0)" >&2
endef

# Debian splits ensurepip off into python3-venv. As root it is installed; otherwise say what to do.
# An environment without pip is what an earlier attempt left: it is made anew.
has_pip = $(PY) -m pip --version >/dev/null 2>&1
usable_python = $(PYTHON) -c 'import sys, venv, ensurepip; ensurepip.version(); \
  sys.exit(sys.version_info < (3, 11))' 2>/dev/null
define ensure_python
if $(has_pip) || $(usable_python); then exit 0; fi; \
if test "$(PYTHON)" = python3 && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
  echo "python3 with venv is missing: installing Debian's python3-venv"; \
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends python3 python3-venv >/dev/null || exit 1; \
fi; \
if $(usable_python); then exit 0; fi; \
echo "BenchFS needs Python 3.11 or newer with the venv and ensurepip modules." >&2; \
echo "On Debian and Ubuntu:  apt-get install python3 python3-venv" >&2; \
echo "Another interpreter:   make env PYTHON=python3.12" >&2; \
exit 1
endef

# pyfuse3, which the mount needs, comes as source. Without these everything but the mount works.
FUSE_PACKAGES := fuse3 libfuse3-dev pkg-config gcc libc6-dev python3-dev rsync
can_build_fuse = { pkg-config --exists fuse3 && command -v gcc && $(PYTHON) -c 'import os, sys; \
  from sysconfig import get_path; \
  sys.exit(not os.path.exists(get_path("include") + "/Python.h"))'; } >/dev/null 2>&1
define ensure_fuse
if $(can_build_fuse); then exit 0; fi; \
if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
  echo "What pyfuse3 is built with is missing: installing $(FUSE_PACKAGES)"; \
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends $(FUSE_PACKAGES) >/dev/null; \
fi; \
if $(can_build_fuse); then exit 0; fi; \
echo "benchfs mount is left out: it needs pyfuse3, which is built with libfuse and gcc." >&2; \
echo "On Debian and Ubuntu:  apt-get install $(FUSE_PACKAGES)" >&2; \
echo "and then:              make clean env" >&2
endef
