# SPDX-License-Identifier: CECILL-B
# The front door.
#
# For a site (cargo, a C compiler and make are all it takes; no root, no network with the release's tarball):
#   make                  the command and what is installed with it; the module for KVERSION, if it can be built here
#   make install          ... into PREFIX (/opt/knem-<version>), below DESTDIR; once per cluster, and for each KVERSION
#   make local-install    activates PREFIX on this machine, as root: PREFIX/sbin/knem_local_install
#   make local-uninstall  undoes that;  make uninstall  removes what was installed into PREFIX
#
# For packagers and developers, done by `cargo xtask` (`cargo xtask help` shows the rest). Tools that are missing are
# named, with the command that installs them; `make demo`, `make check` and `make check-all` run it, and so does CI
# (CI=true):
#   make packages         the .deb and .rpm files, in dist/
#   make repo             repositories of them for apt and dnf, in dist/repo/; KEY=... signs
#   make dist             the release's tarball, in dist/: builds without network, also by dpkg-buildpackage and rpmbuild
#   make demo             two processes exchange verified data through /dev/knem on Debian 13's kernel, or on KERNEL=7.3
#   make check            everything that must hold: format, lints, tests, packages, driver on every supported kernel;
#                         SCOPE=--host is a part of it (cargo xtask check --help)
#   make check-all        that, with each kernel in every way and flavour
#   make drills           what happens to packages in a site's life: installed, upgraded, interrupted, removed
#   make clients          Open MPI, MPICH, UCX and NetPIPE of Debian over /dev/knem, every byte compared
#   make bench            measures the driver in User Mode Linux, and writes docs/performance.md
#   make clean            removes what was built here; the cache stays (~/.cache/knem, or $KNEM_CACHE)

# What ./configure was given.
-include config.mk

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

# A word for the shell, whatever is in it: every path that a user gives.
q = '$(subst ','\'',$(1))'

# Cargo's flags are separated by this, so that blanks may be in paths.
unit := $(shell printf '\037')
blank := $() $()
flags := $(or $(CARGO_ENCODED_RUSTFLAGS),$(subst $(blank),$(unit),$(strip $(RUSTFLAGS))))

.PHONY: all build module install uninstall local-install local-uninstall demo check check-all packages repo dist drills \
        clients bench clean distclean checkout linker
.DELETE_ON_ERROR:

all: build module

# Where it was built must not show in what is built: the same sources give the same bytes.
build: export CARGO_ENCODED_RUSTFLAGS := $(if $(flags),$(flags)$(unit))--remap-path-prefix=$(CURDIR)=knem$(unit)--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo
build: | linker
	$(CARGO) build --release --bin knem -p knem-tools
	sh install/generate.sh $(call q,$(BUILD)) $(call q,$(target)/release/knem)
	sh install/objects.sh $(call q,$(BUILD)) $(OBJECTS)

module: build
	@BUILD=$(call q,$(BUILD)) sh install/module.sh $(call q,$(KVERSION)) $(call q,$(KDIR))

install:
	@BUILD=$(call q,$(BUILD)) PREFIX=$(call q,$(PREFIX)) sh install/prefix.sh install $(call q,$(DESTDIR)) $(call q,$(KVERSION))

uninstall:
	@PREFIX=$(call q,$(PREFIX)) sh install/prefix.sh uninstall $(call q,$(DESTDIR))

# In an image, the prefix may be in it or the machine's own. Without KVERSION: for every kernel there that the prefix
# has a module for.
local-install local-uninstall:
	@for tool in $(call q,$(DESTDIR)$(PREFIX)/sbin/knem_local_install) $(call q,$(PREFIX)/sbin/knem_local_install); do \
	    [ ! -f "$$tool" ] || exec env KVERSION=$(if $(filter-out file,$(origin KVERSION)),$(call q,$(KVERSION))) \
	        DESTDIR=$(call q,$(DESTDIR)) sh "$$tool" $(if $(filter local-uninstall,$@),--uninstall); \
	done; \
	echo nothing is installed in $(call q,$(PREFIX)): run make and make install, with the same PREFIX >&2; exit 1

packages dist: | checkout linker
	$(CARGO) xtask $@

check: | checkout linker
	$(CARGO) xtask check $(SCOPE)

check-all: | checkout linker
	$(CARGO) xtask check --all

demo: | checkout linker
	$(CARGO) xtask demo $(if $(KERNEL),--kernel $(call q,$(KERNEL)))

repo: | checkout linker
	$(CARGO) xtask repo $(if $(KEY),--key $(call q,$(KEY)))

drills: | checkout linker
	$(CARGO) run -p knem-drills -- --jobs 2

clients: | checkout linker
	$(CARGO) run -p knem-clients -- --large

bench: | checkout linker
	$(CARGO) run -p knem-performance
	$(CARGO) run -p knem-clients -- --times

clean:
	$(CARGO) clean
	rm -rf $(call q,$(BUILD))

distclean: clean
	rm -f config.mk

checkout:
	@test -d xtask || { echo "this takes a checkout of the repository; a release has what the packages are built from" >&2; exit 1; }

# What must be there before cargo can run. Only these three commands, and CI, install it.
linker:
	@CARGO=$(call q,$(CARGO)) sh install/toolchain.sh $(if $(filter check check-all demo packages repo dist drills clients bench,$(MAKECMDGOALS)),xtask) \
	    $(if $(filter demo check check-all,$(MAKECMDGOALS)),install)
