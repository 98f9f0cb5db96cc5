# SPDX-License-Identifier: CECILL-B
# Entry points for sites, packagers and developers.
#
# For a site (needs cargo, a C compiler and make; no root, and no network with the release's tarball):
#   make                  builds the command and its files, and the module for KVERSION, if it can be built here
#   make install          installs them to PREFIX (/opt/knem-<version>) in DESTDIR; per cluster, and for each KVERSION
#   make local-install    sets up this machine to use PREFIX, as root: PREFIX/sbin/knem_local_install
#   make local-uninstall  undoes that;  make uninstall  removes the installation in PREFIX
#
# For packagers and developers, by `cargo xtask` (`cargo xtask help` lists all commands). They print the command that
# installs missing tools; `make demo`, `make check` and `make check-all` run it, and so does CI (CI=true):
#   make packages         builds the .deb and .rpm files, in dist/
#   make repo             builds repositories of them for apt and dnf, in dist/repo/; KEY=... signs them
#   make dist             builds the release's tarball, in dist/: for builds without network, by Debian or RPM
#   make demo             exchanges verified data through /dev/knem on Debian 13's kernel, or on KERNEL=7.3
#   make check            runs all checks: format, lints, tests, packages, the driver on every supported kernel;
#                         SCOPE=--host runs a part of them (cargo xtask check --help)
#   make check-all        runs them with every kernel in both ways and every flavour
#   make drills           tests the packages over their life: installed, upgraded, interrupted, removed
#   make clients          tests Debian's Open MPI, MPICH, UCX and NetPIPE over /dev/knem, every byte compared
#   make soak             attacks the driver for an hour, or HOURS=n, and writes the counts to docs/reliability.md
#   make bench            measures the driver in User Mode Linux, and writes docs/performance.md
#   make clean            removes the build output; the cache stays (~/.cache/knem, or $KNEM_CACHE)

# Settings of ./configure.
-include config.mk

CARGO ?= cargo
# Directory of the files to install.
BUILD ?= build
# Cargo's own directory; `cargo` reads the variable itself.
target := $(or $(CARGO_TARGET_DIR),target)
KVERSION ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVERSION)/build
# Architectures whose Rust object must be built (install/objects.sh); empty: this machine's, if it can be compiled here.
OBJECTS ?=
version := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
PREFIX ?= /opt/knem-$(version)

# Quotes a word for the shell: every path of the user.
q = '$(subst ','\'',$(1))'

# Separator of Cargo's flags, which allows spaces in paths.
unit := $(shell printf '\037')
blank := $() $()
flags := $(or $(CARGO_ENCODED_RUSTFLAGS),$(subst $(blank),$(unit),$(strip $(RUSTFLAGS))))

.PHONY: all build module install uninstall local-install local-uninstall demo check check-all packages repo dist drills \
        clients soak bench clean distclean checkout linker
.DELETE_ON_ERROR:

all: build module

# The output must not depend on the build directory: the same sources give the same bytes.
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

# For an image, the prefix may be in the image or on this machine. Without KVERSION: for every kernel there with a
# module in the prefix.
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

soak: | checkout linker
	$(CARGO) run -p knem-soak -- $(if $(HOURS),--hours $(call q,$(HOURS)))

bench: | checkout linker
	$(CARGO) run -p knem-performance
	$(CARGO) run -p knem-clients -- --times

clean:
	$(CARGO) clean
	rm -rf $(call q,$(BUILD))

distclean: clean
	rm -f config.mk

checkout:
	@test -d xtask || { echo "this target needs a checkout of the repository; a release has only the sources of the packages" >&2; exit 1; }

# Requirements of cargo. Only these three commands, and CI, install them.
linker:
	@CARGO=$(call q,$(CARGO)) sh install/toolchain.sh $(if $(filter check check-all demo packages repo dist drills clients soak bench,$(MAKECMDGOALS)),xtask) \
	    $(if $(filter demo check check-all,$(MAKECMDGOALS)),install)
