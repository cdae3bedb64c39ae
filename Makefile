# Everything that is done with this tree: `make` lists it. Packages for another
# machine, version or place:
#
#   make packages GOARCH=arm64 VERSION=1.2.3 DIST=/somewhere

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= $(shell PATH="$$PATH:/usr/local/go/bin" command -v go)
ifeq ($(GO),)
$(error there is no Go here: install Go 1.25 or later, see https://go.dev/doc/install)
endif
# A checkout that belongs to somebody else is no reason to fail.
export GOFLAGS += -buildvcs=false
export PATH := $(PATH):$(patsubst %/,%,$(dir $(GO)))
HOSTARCH := $(shell $(GO) env GOHOSTARCH)
GOARCH ?= $(HOSTARCH)
RPMARCH := $(GOARCH:amd64=x86_64)
RPMARCH := $(RPMARCH:arm64=aarch64)
ifneq ($(GOARCH),$(HOSTARCH))
CROSS := $(RPMARCH)-linux-gnu
endif
# The tools that a build runs are for this machine, whatever it builds for.
unexport GOARCH

# Tag v1.2.3 is 1.2.3, the fourth commit after it 1.2.3+4.gabcdef: both .deb
# and .rpm sort that the right way.
ifndef VERSION
VERSION := $(or $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null \
	| sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/; s/-/~/g'),0.1.0)
endif
# The same commit gives the same packages, to the byte.
ifndef SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH := $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y Makefile))
endif
export VERSION SOURCE_DATE_EPOCH

DIST ?= dist
DEB := $(DIST)/hero-proc_$(VERSION)_$(GOARCH).deb
RPM := $(DIST)/hero-proc-$(VERSION).$(RPMARCH).rpm

NFPM := ARCH=$(GOARCH) $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
LDFLAGS := -s -w -X main.version=$(VERSION)
TIMEOUT ?= 40m

# What set-up looks for (a command or a file), and the Debian package that has
# it: that of a build, and that of the tests, the demo and the benchmarks.
# dbus-daemon is for the private buses of the tests.
TO_BUILD := gcc:gcc /usr/include/stdio.h:libc6-dev gzip:gzip
TO_TEST := dbus-daemon:dbus systemd-nspawn:systemd-container mmdebstrap:mmdebstrap \
	lintian:lintian rpm:rpm mkfs.ext4:e2fsprogs qemu-system-x86_64:qemu-system-x86
ifdef CROSS
TO_BUILD += $(CROSS)-gcc:gcc-$(subst _,-,$(RPMARCH))-linux-gnu \
	/usr/$(CROSS)/include/stdio.h:libc6-dev-$(GOARCH)-cross
endif

.PHONY: help
help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

.PHONY: setup setup-build
setup: ## install what building and testing needs (Debian, Ubuntu; as root)
setup: NEEDED = $(TO_BUILD) $(TO_TEST)
setup-build: NEEDED = $(TO_BUILD)
setup setup-build:
	@missing=; for n in $(NEEDED); do \
		[[ -e $${n%:*} ]] || command -v $${n%:*} >/dev/null || missing+=" $${n#*:}"; \
	done; \
	[[ $$missing ]] || exit 0; \
	if [[ $$EUID != 0 ]] || ! command -v apt-get >/dev/null; then \
		echo "missing here:$$missing (Debian's names). Install them, or run make as root on Debian or Ubuntu." >&2; \
		exit 1; \
	fi; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; log=$$(mktemp); \
	{ apt-get update && apt-get install -y --no-install-recommends $$missing; } >$$log 2>&1 \
		|| { cat $$log >&2; rm $$log; exit 1; }; \
	rm $$log

.PHONY: build
build: setup-build ## build the programs, man pages and completions into build/
	mkdir -p build/bin build/man
	CGO_ENABLED=1 GOARCH=$(GOARCH) $(if $(CROSS),CC=$(CROSS)-gcc) $(GO) build -trimpath \
		-tags 'netgo osusergo sqlite_omit_load_extension' \
		-ldflags '$(LDFLAGS) -linkmode external -extldflags "-static"' -o build/bin/ ./cmd/hero_proc_server
	CGO_ENABLED=0 GOARCH=$(GOARCH) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o build/bin/ ./cmd/hero_proc ./cmd/hero_proc_probe
	$(GO) run ./packaging/generate -out build/generated -version $(VERSION)
	gzip -9nc build/generated/hero_proc.1 >build/man/hero_proc.1.gz
	gzip -9nc build/generated/tf.ourworld.HeroProc1.5 >build/man/tf.ourworld.HeroProc1.5.gz
	gzip -9nc packaging/man/hero_proc_server.8 >build/man/hero_proc_server.8.gz
	gzip -9nc packaging/man/hero_proc_probe.8 >build/man/hero_proc_probe.8.gz

.PHONY: packages
packages: build ## build the .deb and the .rpm into dist/
	mkdir -p $(DIST)
	$(NFPM) package -p deb -t $(DEB)
	$(NFPM) package -p rpm -t $(RPM)

.PHONY: test
test: setup ## every test, those in a real systemd too (as root)
	@[[ $$EUID == 0 ]] || { echo "make test boots machines, which takes root; make test-unit doesn't" >&2; exit 1; }
	# For the test of an upgrade: the same, by a higher version.
	$(MAKE) packages VERSION=$(VERSION)+next DIST=$(DIST)/next
	$(MAKE) packages
	$(GO) test -timeout $(TIMEOUT) ./...

.PHONY: test-unit
test-unit: setup ## the tests that need no root and no machine
	$(GO) test $$($(GO) list ./... | grep -v -e '/integration$$' -e '/integration/machine$$' -e '/integration/powercut$$')

.PHONY: demo
demo: setup packages ## see it work: a machine is booted, rebooted, and thrown away (as root)
	$(GO) run ./integration/demo

.PHONY: bench
bench: setup packages ## measure it beside systemd and supervisord: a table, and JSON (as root)
	$(GO) run ./integration/bench -dist $(DIST) $(BENCH)

.PHONY: lint
lint: setup packages ## gofmt, go vet, groff on the man pages, and lintian on the .deb
	@unformatted=$$($(dir $(GO))gofmt -l .); \
	[[ -z $$unformatted ]] || { echo "not as gofmt would have it:" $$unformatted >&2; exit 1; }
	$(GO) vet ./...
	@# lintian needs groff itself, so it is there.
	@warnings=$$(groff -man -Tutf8 -ww -z build/generated/*.[158] packaging/man/*.8 2>&1); \
	[[ -z $$warnings ]] || { echo "groff on the man pages: $$warnings" >&2; exit 1; }
	lintian --allow-root --fail-on error,warning --tag-display-limit 0 $(DEB)

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist
