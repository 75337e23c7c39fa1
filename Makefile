# The Lua that the module is for: that of the local Prosody.
LUA ?= $(or $(shell sed -n '1s/.*lua\(5\.[234]\).*/\1/p' "$$(command -v prosody)" 2>/dev/null),5.4)
ifeq ($(filter 5.2 5.3 5.4,$(LUA)),)
$(error LUA is "$(LUA)", but must be 5.2, 5.3 or 5.4)
endif

PREFIX ?= /usr/local
# Debian's Prosody is configured to look here first. No package has files here.
PLUGINDIR ?= $(PREFIX)/lib/prosody/modules

NAME = prosody-mod-cloud-notify-rs
VERSION := $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
# In each Lua file, so that none of another build goes unnoticed.
STAMP := $(VERSION) ($(shell tools/build-id))

CARGO ?= cargo
FEATURE = lua$(subst .,,$(LUA))
SOURCES = Cargo.toml Cargo.lock $(shell find src -type f)

MODULE = build/plugins/mod_cloud_notify
LUA_FILES = $(patsubst lua/%,$(MODULE)/%,$(wildcard lua/*.lua))
LIBRARY = lua$(LUA)/cloud_notify.so
INSTALLED = $(DESTDIR)$(PLUGINDIR)/mod_cloud_notify

.PHONY: all luas install uninstall dist source deb rock sbom test fuzz mutants memcheck demo bench pictures recordings lint deny clean
# The libraries for all Luas have one name in cargo's directory, and are copied
# out of it. (What they are made of is compiled once for all.)
.NOTPARALLEL:
.DELETE_ON_ERROR:

all: $(LUA_FILES) $(MODULE)/$(LIBRARY)

# The libraries of all Luas, side by side: the module takes the one that it can use.
luas:
	for lua in 5.2 5.3 5.4; do $(MAKE) --no-print-directory LUA=$$lua all || exit 1; done

$(MODULE)/$(LIBRARY): $(SOURCES)
	$(CARGO) fetch --locked
	CARGO_ENCODED_RUSTFLAGS="$$(tools/rustflags)" \
		$(CARGO) build --release --locked --lib --features $(FEATURE) --target-dir target
	install -D -m 644 target/release/libcloud_notify.so $@

$(MODULE)/%.lua: lua/%.lua build/stamp
	sed 's/@VERSION@/$(STAMP)/' $< | install -D -m 644 /dev/stdin $@

# Changes when the stamp does, and not with each run.
build/stamp: .FORCE
	@echo '$(STAMP)' | cmp -s - $@ || { mkdir -p $(@D) && echo '$(STAMP)' >$@; }

.FORCE:

install: all
	install -d '$(INSTALLED)/lua$(LUA)'
	install -m 644 $(LUA_FILES) '$(INSTALLED)'
	install -m 644 $(MODULE)/$(LIBRARY) '$(INSTALLED)/$(LIBRARY)'
	@grep -qsF '"$(PLUGINDIR)"' /etc/prosody/prosody.cfg.lua || \
		echo 'Prosody looks there with: plugin_paths = { "$(PLUGINDIR)" }'

uninstall:
	rm -f '$(INSTALLED)/mod_cloud_notify.lua' '$(INSTALLED)'/*.lib.lua
	rm -f '$(INSTALLED)/cloud_notify.so' '$(INSTALLED)'/lua5.[234]/cloud_notify.so
	for directory in '$(INSTALLED)'/lua5.[234] '$(INSTALLED)'; do \
		[ ! -d "$$directory" ] || rmdir --ignore-fail-on-non-empty "$$directory"; \
	done

# What is given away, in build/dist: the sources with all crates, and what is built of them.
dist: source luas sbom
	tools/make-binary-archive $(NAME)-$(VERSION)

source:
	tools/install-packages dist
	tools/make-source-archive $(NAME)-$(VERSION)

# The package is made of the source archive, without a network.
deb: source
	tools/install-packages deb
	tools/make-deb $(NAME)-$(VERSION)

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

# PLUGINS=/usr/lib/prosody/modules shows what a package has installed.
demo:
	tools/install-packages build demo
	$(if $(PLUGINS),,$(MAKE) all)
	KEEP=$(KEEP) $(if $(PLUGINS),PLUGINS='$(PLUGINS)') lua5.4 spec/demo.lua

# A disk would be most of what is measured of a store.
BENCH_TMPDIR = $(or $(wildcard /dev/shm),/tmp)

bench:
	tools/install-packages build bench
	tools/unpack-debian
	$(MAKE) LUA=5.4 all
	TMPDIR=$(BENCH_TMPDIR) QUICK=$(QUICK) lua5.4 bench/run.lua
	[ -n "$(QUICK)" ] || /usr/bin/python3 bench/charts.py

pictures:
	tools/install-packages pictures
	tools/draw-pictures

# What pictures show of real servers; takes some minutes.
recordings:
	tools/install-packages build bench
	tools/unpack-prometheus
	$(MAKE) LUA=5.4 all
	lua5.4 spec/pictures/record.lua
	$(MAKE) pictures

lint:
	tools/install-packages build lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --features lua52 -- -D warnings
	$(CARGO) clippy --locked --features lua53 -- -D warnings
	$(CARGO) clippy --locked --features lua54 -- -D warnings
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --features lua54
	luacheck --quiet lua spec bench fuzz
	tools/check-floors
	tools/check-docs
	tools/draw-pictures --check
	tools/check-supply-chain

# Not in .ci/run: the database of advisories is on the network.
CHECKS =
deny:
	[ -x build/tools/bin/cargo-deny ] || $(CARGO) install --locked --root build/tools --version 0.20.2 cargo-deny
	build/tools/bin/cargo-deny check $(CHECKS)

# For prosodyctl install and luarocks.
rock: source
	tools/make-rock build/dist/$(NAME)-$(VERSION).tar.xz

# What the library is made of (CycloneDX), and the licences of that.
sbom: build/dist/$(NAME)-$(VERSION).cdx.json build/dist/$(NAME)-$(VERSION).licences.txt

build/dist/$(NAME)-$(VERSION).cdx.json: Cargo.toml Cargo.lock deny.toml tools/make-sbom tools/crates.py
	install -d $(@D)
	tools/make-sbom >$@

build/dist/$(NAME)-$(VERSION).licences.txt: Cargo.toml Cargo.lock
	install -d $(@D)
	tools/make-licences >$@

clean:
	rm -rf build target
