# Needs cargo and a C compiler; `make test` as root installs its peers from Debian's packages.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# What `make fuzz` runs, and for how long.
TARGET ?= archive
SECONDS ?= 60
# How many random stacks `make property` makes.
STACKS ?= 2000

# What the program makes of itself: manual pages and completions.
SHARE := target/share
SNAPSHOTTER := target/snapshotter
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
MUSL := $(subst -gnu,-musl,$(HOST))

.PHONY: build snapshotter demo share install install-snapshotter uninstall static deb test unit \
	test-conditions integration property peers fuzz proto check bench bench-micro clean

build:
	$(CARGO) build --release --locked

# target/release/lowerdir-snapshotter, for containerd, with its manual page.
snapshotter:
	$(CARGO) build --release --locked --features containerd --bin lowerdir-snapshotter
	mkdir -p $(SNAPSHOTTER)/man8
	target/release/lowerdir-snapshotter --man > $(SNAPSHOTTER)/man8/lowerdir-snapshotter.8

# make demo [IMAGE=oci:DIR:TAG | docker-archive:FILE | FILE]
demo:
	$(CARGO) build --release --locked --bin lowerdir --example demo --quiet
	IMAGE="$(IMAGE)" tests/demo/demo.sh

share: build
	mkdir -p $(SHARE)/bash-completion/completions $(SHARE)/zsh/vendor-completions \
		$(SHARE)/fish/vendor_completions.d
	target/release/lowerdir man --dir $(SHARE)/man
	target/release/lowerdir completions bash > $(SHARE)/bash-completion/completions/lowerdir
	target/release/lowerdir completions zsh > $(SHARE)/zsh/vendor-completions/_lowerdir
	target/release/lowerdir completions fish > $(SHARE)/fish/vendor_completions.d/lowerdir.fish

# make install [PREFIX=/usr] [DESTDIR=staging]
install: share
	install -D -m 755 target/release/lowerdir "$(DESTDIR)$(PREFIX)/bin/lowerdir"
	cd $(SHARE) && find . -type f -exec install -D -m 644 '{}' "$(abspath $(DESTDIR))$(PREFIX)/share/{}" \;
	@# Outside /usr, zsh reads another directory.
	[ "$(PREFIX)" = /usr ] || { cd "$(DESTDIR)$(PREFIX)/share/zsh" && mkdir -p site-functions && \
		mv vendor-completions/_lowerdir site-functions/ && rmdir vendor-completions; }

# make install-snapshotter [PREFIX=/usr] [DESTDIR=staging]
install-snapshotter: snapshotter
	install -D -m 755 target/release/lowerdir-snapshotter \
		"$(DESTDIR)$(PREFIX)/bin/lowerdir-snapshotter"
	install -D -m 644 $(SNAPSHOTTER)/man8/lowerdir-snapshotter.8 \
		"$(DESTDIR)$(PREFIX)/share/man/man8/lowerdir-snapshotter.8"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/lowerdir" "$(DESTDIR)$(PREFIX)/bin/lowerdir-snapshotter" \
		"$(DESTDIR)$(PREFIX)/share/man/man8/lowerdir-snapshotter.8"
	cd $(SHARE) && find . -type f -exec rm -f "$(abspath $(DESTDIR))$(PREFIX)/share/{}" \;
	rm -f "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lowerdir"

# A program that needs no library of the system it runs on: with musl where cargo has that target
# and there is a musl-gcc, else with glibc, which the program needs for nothing that would not work.
static:
	@if [ -d "$$(rustc --print target-libdir --target $(MUSL))" ] && command -v musl-gcc >/dev/null; then \
		target=$(MUSL); \
		export CC_$$(echo $(MUSL) | tr - _)=musl-gcc; \
	else \
		target=$(HOST); \
		echo "make static: no musl (rustup target add $(MUSL); apt install musl-tools): with glibc"; \
	fi; \
	RUSTFLAGS="-C target-feature=+crt-static" \
		$(CARGO) build --release --locked --bin lowerdir --target $$target && \
	install -D -m 755 target/$$target/release/lowerdir target/static/lowerdir && \
	ls -l target/static/lowerdir

# target/debian/lowerdir_VERSION_ARCH.deb, by cargo-deb.
deb: share
	@command -v cargo-deb >/dev/null || { \
		echo "make deb: it needs cargo-deb (cargo install --locked cargo-deb) and dpkg-dev"; exit 1; }
	$(CARGO) deb --locked --no-build

# The tests that need no privilege; as root, also those that need mounts and peers.
test: unit
	@if [ "$$(id -u)" -eq 0 ]; then \
		$(MAKE) integration; \
	else \
		echo "make test: not root: integration/ was left out (run: sudo make integration)"; \
	fi

unit:
	tests/again.sh $(CARGO) test --locked
	$(CARGO) test --locked --features containerd --test snapshotter
	$(CARGO) test --locked --features containerd --doc snapshotter
	$(CARGO) test --locked --manifest-path tests/json_features/Cargo.toml \
		--target-dir target/json-features

# Some of them under each condition that they must not depend on: ignored signals, another umask, ...
# make test-conditions [CONDITIONS="nohup umask-077"]
test-conditions:
	tests/conditions.sh $(CONDITIONS)

integration: peers
	STRICT=1 tests/again.sh $(CARGO) test --release --locked --test integration
	STRICT=1 tests/again.sh $(CARGO) test --locked --features containerd --test containerd

# make property [STACKS=2000]: so many random stacks through every verb, there and back where there is
# a way back, and changed through a mount; as root. A failing one is printed and made smaller.
property:
	LOWERDIR_STACKS=$$((4 * $(STACKS))) STRICT=1 $(CARGO) test --release --locked --test integration -- \
		--nocapture agreement:: converting:: flattening:: listing:: packing:: property:: scenarios:: \
		translating::

peers:
	integration/install-peers.sh
	integration/install-engines.sh

# make fuzz [TARGET=archive|codec|unpack|stack] [SECONDS=60], by cargo-fuzz on a nightly toolchain:
# from the kept corpus; what is new goes to target/fuzz. `make unit` tries the kept corpus itself.
# Leaks are not looked for: a thread that is just ending looks like one.
fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
		echo "make fuzz: it needs cargo-fuzz (cargo install --locked cargo-fuzz) and a nightly toolchain"; exit 1; }
	mkdir -p target/fuzz/corpus/$(TARGET) target/fuzz/found
	$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz $(TARGET) \
		target/fuzz/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET) -- \
		-max_total_time=$(SECONDS) -max_len=4096 -detect_leaks=0 -artifact_prefix=target/fuzz/found/$(TARGET)-

# make proto: compiles the part of containerd's API that the snapshotter serves, without protoc.
proto:
	rm -rf target/proto && mkdir -p target/proto/rust
	$(CARGO) run --locked --manifest-path tests/proto/Cargo.toml --target-dir target/proto -- target/proto/rust
	cp target/proto/rust/containerd.services.snapshots.v1.rs src/snapshotter/api/snapshots.in
	cp target/proto/rust/containerd.types.rs src/snapshotter/api/types.in

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test integration -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet
	$(CARGO) clippy --locked --features containerd --lib --bins --test snapshotter --test containerd \
		-- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet --features containerd --lib
	for features in "" cli containerd; do \
		$(CARGO) clippy --locked --no-default-features --features "$$features" --lib -- -D warnings && \
		RUSTDOCFLAGS="-D warnings" \
			$(CARGO) doc --locked --no-deps --quiet --no-default-features --features "$$features" --lib \
			|| exit 1; \
	done
	$(CARGO) rustc --locked --quiet --lib --features containerd --profile check -- \
		--cfg lowerdir_surface -A dead_code -A unused_imports -D unnameable_types
	$(CARGO) package --locked --allow-dirty --no-verify --quiet -p lowerdir

# Unpacks five corpora with ours and with others, and prints a table; README=1 puts it, with its
# chart, into docs/benchmarks.md. Then pulls one from a registry, on a fast and on a slow network. As root, on a quiet machine; tests/bench/settings.py tells what SCALE, RUNS,
# CORPORA, TOOLS, LOWERDIR and BENCH_DIR choose.
bench: build
	tests/bench/install.sh
	python3 tests/bench run
	python3 tests/bench pulls

# What an entry costs in each part, and each figure beside what it must be; and what images cost that
# are made to be expensive, beside flat ones: it fails if one is over its bound.
bench-micro: build
	tests/bench/install.sh
	$(CARGO) bench --locked --bench micro
	python3 tests/bench micro
	python3 tests/bench costs

clean:
	$(CARGO) clean
