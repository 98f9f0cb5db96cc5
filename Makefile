# SPDX-License-Identifier: CECILL-B
# The front door.
#
# For a site (cargo, a C compiler and make are all it takes; no root, no network with the release's tarball):
#   make                  the command and what is installed with it; and the module for KVERSION, if it can be built here
#   make install          ... into PREFIX (/opt/knem-<version>), below DESTDIR; once per cluster, and once more for each KVERSION
#   make local-install    activates PREFIX on this machine, as root: PREFIX/sbin/knem_local_install
#   make local-uninstall  undoes that;  make uninstall  removes what was installed into PREFIX
#
# For packagers and developers, done by `cargo xtask` (`cargo xtask help` tells the rest):
#   make packages         the .deb and .rpm files, in dist/
#   make repo             repositories of them for apt and dnf, in dist/repo/; KEY=... signs
#   make dist             the release's tarball, in dist/: builds without network, also with dpkg-buildpackage and rpmbuild -tb
#   make demo             two processes exchange verified data through /dev/knem on Debian 13's kernel; KERNEL=7.3 is another one
#   make check            everything that has to hold: format, lints, tests, packages, and the driver on every supported kernel
#   make check-all        that, with each kernel in every way and flavour
#   make drills           what happens to packages in a site's life: installed, upgraded, interrupted, removed
#   make clean            removes what was built here; the cache of kernels and images stays (~/.cache/knem, or $KNEM_CACHE)

CARGO ?= cargo
# Where everything is put that is built to be installed.
BUILD ?= build
# Cargo's own directory; `cargo` reads the variable itself.
target := $(or $(CARGO_TARGET_DIR),target)
KVERSION ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVERSION)/build
# Architectures whose Rust object must be there (install/objects.sh); none: this machine's, if it can be compiled here.
OBJECTS ?=
version := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
PREFIX ?= /opt/knem-$(version)

.PHONY: all build module install uninstall local-install local-uninstall installed demo check check-all packages repo dist drills \
        clean checkout linker
.DELETE_ON_ERROR:

all: build module

# Where it was built must not show in what is built: the same sources give the same bytes.
build: export RUSTFLAGS += --remap-path-prefix=$(CURDIR)=knem --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo
build: | linker
	$(CARGO) build --release --bin knem -p knem-tools
	sh install/generate.sh $(BUILD) $(target)/release/knem
	sh install/objects.sh $(BUILD) $(OBJECTS)

module: build
	@BUILD=$(BUILD) sh install/module.sh $(KVERSION) $(KDIR)

install:
	@BUILD=$(BUILD) PREFIX=$(PREFIX) sh install/prefix.sh install "$(DESTDIR)" $(KVERSION)

uninstall:
	@PREFIX=$(PREFIX) sh install/prefix.sh uninstall "$(DESTDIR)"

# In an image, the prefix may be in it or the machine's own. Without KVERSION: for every kernel there that the prefix has a module for.
local_install = $(firstword $(wildcard $(DESTDIR)$(PREFIX)/sbin/knem_local_install $(PREFIX)/sbin/knem_local_install))

local-install local-uninstall: | installed
local-install:
	@KVERSION="$(if $(filter-out file,$(origin KVERSION)),$(KVERSION))" DESTDIR="$(DESTDIR)" sh $(local_install)

local-uninstall:
	@DESTDIR="$(DESTDIR)" sh $(local_install) --uninstall

installed:
	@test -n "$(local_install)" || { echo "nothing is installed in $(PREFIX): run make and make install, with the same PREFIX" >&2; exit 1; }

check packages dist: | linker checkout
	$(CARGO) xtask $@

check-all: | linker checkout
	$(CARGO) xtask check --all

demo: | linker checkout
	$(CARGO) xtask demo $(if $(KERNEL),--kernel $(KERNEL))

repo: | linker checkout
	$(CARGO) xtask repo $(if $(KEY),--key $(KEY))

drills: | linker checkout
	$(CARGO) run -p knem-drills -- --jobs 2

clean:
	$(CARGO) clean
	rm -rf $(BUILD)

checkout:
	@test -d xtask || { echo "this takes a checkout of the repository; a release has what the packages are built from" >&2; exit 1; }

# Rust programs are linked by a C compiler, and some crates have a little C: the only thing that must be there before cargo is.
linker:
	@command -v $(CARGO) > /dev/null || { echo "cargo is missing: install Rust 1.85 or newer, for instance Debian's package cargo" >&2; exit 1; }
	@if ! command -v cc > /dev/null || ! echo '#include <stdlib.h>' | cc -E - > /dev/null 2>&1; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        echo "installing on this machine: gcc libc6-dev" >&2; \
	        apt-get install -y -q --no-install-recommends gcc libc6-dev \
	        || { apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev; }; \
	    else \
	        echo "a C compiler is missing: please run \`apt-get install gcc libc6-dev\`" >&2; exit 1; \
	    fi; \
	fi
