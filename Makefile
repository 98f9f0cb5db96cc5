# SPDX-License-Identifier: CECILL-B
# The front door. Everything is done by `cargo xtask` (xtask/src/); `cargo xtask help` tells the rest.
#   make demo      two processes exchange verified data through /dev/knem on a stock Debian kernel
#   make check     everything that has to hold: format, lints, tests, packages, and the driver on every supported kernel
#   make packages  the .deb files and an apt repository with them
#   make clean     removes what was built here; the cache of kernels and images stays (~/.cache/knem, or $KNEM_CACHE)

.PHONY: all demo check packages clean linker

all: packages

demo check packages: | linker
	cargo xtask $@

clean:
	cargo clean

# Rust programs are linked by a C compiler, and some crates have a little C: the only thing that must be there before xtask is.
linker:
	@command -v cargo > /dev/null || { echo "cargo is missing: install Rust 1.85 or newer, for instance Debian's package cargo" >&2; exit 1; }
	@if ! command -v cc > /dev/null || ! echo '#include <stdlib.h>' | cc -E - > /dev/null 2>&1; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        echo "installing on this machine: gcc libc6-dev" >&2; \
	        apt-get install -y -q --no-install-recommends gcc libc6-dev \
	        || { apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev; }; \
	    else \
	        echo "a C compiler is missing: please run \`apt-get install gcc libc6-dev\`" >&2; exit 1; \
	    fi; \
	fi
