# Needs cargo and a C compiler; `make test` as root installs its peers from Debian's packages.

CARGO ?= cargo

.PHONY: build demo test unit integration peers check clean

build:
	$(CARGO) build --release --locked

# make demo [IMAGE=oci:DIR:TAG | docker-archive:FILE | FILE]
demo:
	$(CARGO) build --release --locked --bin lowerdir --example demo --quiet
	IMAGE="$(IMAGE)" tests/demo/demo.sh

# The tests that need no privilege; as root, also those that need mounts and peers.
test: unit
	@if [ "$$(id -u)" -eq 0 ]; then \
		$(MAKE) integration; \
	else \
		echo "make test: not root: integration/ was left out (run: sudo make integration)"; \
	fi

unit:
	$(CARGO) test --locked

integration: peers
	STRICT=1 $(CARGO) test --release --locked --test integration

peers:
	integration/install-peers.sh

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test integration -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet

clean:
	$(CARGO) clean
