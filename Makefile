# Everything a developer does here.  `make` alone lists it.  PYTHON=... chooses the interpreter.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
# What `make test` needs beside Python, as program=Debian package; asked for by `command -v`, so it costs nothing.
TEST_PROGRAMS := docker-registry=docker-registry skopeo=skopeo runc=runc crun=crun containerd=containerd busybox=busybox-static umoci=umoci \
	htpasswd=apache2-utils git=git ssh-agent=openssh-client mkfs.ext4=e2fsprogs mount=mount setpriv=util-linux setfattr=attr setcap=libcap2-bin mkfs.xfs=xfsprogs newuidmap=uidmap fuse-overlayfs=fuse-overlayfs \
	slirp4netns=slirp4netns mmdebstrap=mmdebstrap psql=postgresql-client nft=nftables ip=iproute2 iptables=iptables ps=procps chromium=chromium
# The big peers that `make compat` and `make bench` stand beside.
PEERS := dockerd=docker.io mkfs.btrfs=btrfs-progs iptables=iptables podman=podman buildah=buildah

.PHONY: help setup demo test conformance types lint format arch docs bench compat buildtable bench-drivers posix web web-test pictures lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: requirements.lock requirements-dev.lock pyproject.toml
	@python=$$(scripts/python.sh); \
	if ! $(BIN)/python -c 'import pip' 2>/dev/null; then "$$python" -m venv --clear .venv; fi
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet -r requirements-dev.lock </dev/null
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable . </dev/null
	@$(BIN)/python -m compileall -q src
	@touch $@

setup: .venv/.ready ## .venv with pinned dependencies and the veneer command
	@echo "ready: $(BIN)/veneer"

demo: .venv/.ready ## an image's journey in two minutes: made, pushed, pulled, its histories side by side
	@scripts/debian.sh docker-registry=docker-registry mmdebstrap=mmdebstrap busybox=busybox-static
	@$(BIN)/python -m demo

test: .venv/.ready ## every test that needs only small Debian packages (installs the missing ones as root)
	@scripts/debian.sh $(TEST_PROGRAMS)
	@$(PYTEST) -q -n $(JOBS) --dist worksteal $(ARGS)

conformance: .venv/.ready ## every storage driver against the suite; prints the table driver x sentence
	@scripts/debian.sh $(TEST_PROGRAMS)
	@$(PYTEST) -q tests/conformance $(ARGS)

types: .venv/.ready ## mypy, strict
	@$(BIN)/mypy

lint: .venv/.ready ## ruff: rules and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: .venv/.ready ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

arch: .venv/.ready ## who may import whom
	@$(BIN)/lint-imports --no-cache

docs: .venv/.ready ## run the commands the documents show, and check that they are complete
	@scripts/debian.sh $(TEST_PROGRAMS)
	@$(PYTEST) -q tests/docs $(ARGS)

compat: .venv/.ready ## side by side with real dockerd, podman and buildah (installs them as root)
	@scripts/debian.sh $(TEST_PROGRAMS) $(PEERS)
	@$(PYTEST) -q -m compat tests/compat $(ARGS)

buildtable: .venv/.ready ## Dockerfiles built by docker and by veneer, what differs; writes docs/build-compat.md
	@scripts/debian.sh $(TEST_PROGRAMS) $(PEERS)
	@$(BIN)/python -m tests.compat.build_table $(ARGS)

bench: .venv/.ready ## the table of docs/benchmarks.md; ROUNDS=3, ARGS="--help" for its options
	@scripts/debian.sh docker-registry=docker-registry mkfs.ext4=e2fsprogs mount=mount curl=curl $(PEERS)
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python -m benchmarks --rounds $(or $(ROUNDS),3) $(ARGS)

bench-drivers: .venv/.ready ## what mounts of each storage driver cost; writes the tables of docs/drivers.md; ROUNDS=9
	@scripts/debian.sh mkfs.ext4=e2fsprogs mount=mount fuse-overlayfs=fuse-overlayfs newuidmap=uidmap setpriv=util-linux
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python -m benchmarks.drivers --rounds $(or $(ROUNDS),9) $(ARGS)

posix: .venv/.ready ## file system tests from elsewhere on every storage driver; writes docs/posix.md
	@scripts/debian.sh $(TEST_PROGRAMS) stress-ng=stress-ng setfacl=acl getfattr=attr perl=perl xz=xz-utils cc=build-essential
	@$(BIN)/python -m tests.drivers.posix $(ARGS)

web: web-test ## build the pages' front end from web/ into the package (needs node and npm; nothing else does)
	@cd web && node build.mjs

web-test: web/node_modules/.ready ## types and unit tests of the front end (needs node and npm)
	@cd web && npx --no-install tsc --noEmit && node --test test/*.test.js

web/node_modules/.ready: web/package.json web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund </dev/null
	@touch $@

pictures: .venv/.ready ## take the README's pictures anew
	@scripts/debian.sh chromium=chromium
	@$(BIN)/python -m tests.view.browser.pictures

lock: ## write the pinned dependencies anew from pyproject.toml
	@scripts/lock.sh

clean: ## take away everything made here, .venv included
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
