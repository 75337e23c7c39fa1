# The Lua that the module is for: that of the local Prosody.
LUA ?= $(or $(shell sed -n '1s/.*lua\(5\.[234]\).*/\1/p' "$$(command -v prosody)" 2>/dev/null),5.4)
ifeq ($(filter 5.2 5.3 5.4,$(LUA)),)
$(error LUA is "$(LUA)", but must be 5.2, 5.3 or 5.4)
endif

PREFIX ?= /usr/local
# Debian's Prosody is configured to look here first. No package has files here.
PLUGINDIR ?= $(PREFIX)/lib/prosody/modules

CARGO ?= cargo
FEATURE = lua$(subst .,,$(LUA))
SOURCES = Cargo.toml Cargo.lock $(shell find src -type f)

MODULE = build/lua$(LUA)/plugins/mod_cloud_notify
FILES = $(patsubst lua/%,$(MODULE)/%,$(wildcard lua/*.lua)) $(MODULE)/cloud_notify.so
INSTALLED = $(DESTDIR)$(PLUGINDIR)/mod_cloud_notify

.PHONY: all install uninstall test fuzz mutants memcheck demo bench lint clean
# The libraries for all Luas have one name in cargo's directory, and are copied
# out of it. (What they are made of is compiled once for all.)
.NOTPARALLEL:

# build/plugins is what was asked for last; build/lua*/plugins stay side by side.
all: $(FILES)
	ln -sfT lua$(LUA)/plugins build/plugins

$(MODULE)/cloud_notify.so: $(SOURCES)
	$(CARGO) build --release --locked --lib --features $(FEATURE) --target-dir target
	install -D -m 644 target/release/libcloud_notify.so $@

$(MODULE)/%.lua: lua/%.lua
	install -D -m 644 $< $@

install: $(FILES)
	install -d '$(INSTALLED)'
	install -m 644 $(FILES) '$(INSTALLED)'
	@grep -qsF '"$(PLUGINDIR)"' /etc/prosody/prosody.cfg.lua || \
		echo 'Prosody looks there with: plugin_paths = { "$(PLUGINDIR)" }'

uninstall:
	rm -f '$(INSTALLED)/mod_cloud_notify.lua' '$(INSTALLED)'/*.lib.lua '$(INSTALLED)/cloud_notify.so'
	[ ! -d '$(INSTALLED)' ] || rmdir --ignore-fail-on-non-empty '$(INSTALLED)'

test:
	tools/run-tests

fuzz:
	tools/run-fuzzers

mutants:
	tools/run-mutants

memcheck:
	tools/install-packages memcheck
	$(MAKE) LUA=5.4 all
	tools/run-memcheck

demo:
	tools/install-packages build demo
	$(MAKE) all
	KEEP=$(KEEP) lua5.4 spec/demo.lua

# A disk would be most of what is measured of a store.
BENCH_TMPDIR = $(or $(wildcard /dev/shm),/tmp)

bench:
	tools/install-packages build bench
	tools/unpack-debian
	$(MAKE) LUA=5.4 all
	TMPDIR=$(BENCH_TMPDIR) QUICK=$(QUICK) lua5.4 bench/run.lua
	[ -n "$(QUICK)" ] || /usr/bin/python3 bench/charts.py

lint:
	tools/install-packages build lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --features lua52 -- -D warnings
	$(CARGO) clippy --locked --features lua53 -- -D warnings
	$(CARGO) clippy --locked --features lua54 -- -D warnings
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	luacheck --quiet lua spec bench fuzz
	tools/check-floors

clean:
	rm -rf build target
