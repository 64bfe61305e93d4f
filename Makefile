# aiviary: build, test, install. `make help` lists what there is.
#
# Cargo's own variables hold: CARGO_TARGET_DIR is where everything is built. `make install` puts in place what
# `make build` built; it builds nothing where that is there, so that it may run as another user.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Configuration is at one place whatever the prefix: the binary looks there.
SYSCONFDIR ?= /etc

TARGET := $(or $(CARGO_TARGET_DIR),$(CARGO_BUILD_TARGET_DIR),target)
# What `make install` takes.
BIN ?= $(TARGET)/release/aiviary
# Reads the shared pages of the project, where a checkout has them beside it.
SHARED ?= $(or $(AIVIARY_SHARED),../shared)

bindir := $(PREFIX)/bin
unitdir := $(PREFIX)/lib/systemd/system
sysusersdir := $(PREFIX)/lib/sysusers.d
mandir := $(PREFIX)/share/man/man1
bashdir := $(PREFIX)/share/bash-completion/completions
zshdir := $(PREFIX)/share/zsh/site-functions
fishdir := $(PREFIX)/share/fish/vendor_completions.d
confdir := $(SYSCONFDIR)/aiviary
units := aiviary-connect.service aiviary-mcp@.service

.DEFAULT_GOAL := help
.PHONY: help build run test test-nocodb test-n8n test-mcp soak fuzz check bench docs dist install uninstall

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

build: ## build the release binary
	$(CARGO) build --release --locked

run: build ## build, then serve everything against the sandbox; its data under ./.aiviary
	@exec '$(TARGET)/release/aiviary' serve all --sandbox

test: ## run every test that needs only Rust, make and a C compiler
	@rm -f '$(TARGET)/tmp/skipped'
	$(CARGO) test --locked
	@echo
	@echo 'Passed. Skipped:'
	@echo '  real NocoDB: make test-nocodb installs and starts one, with node and npm'
	@echo '  whole volumes of the fault and security tests: make soak'
	@echo '  real n8n: make test-n8n installs and starts one, with node and npm'
	@echo '  real MCP clients: make test-mcp installs them and runs them, with node, npm and Python'
	@test -d '$(SHARED)' || echo '  comparison with the pages on the Graph API and the catalogues: $(SHARED) is not there'
	@command -v curl >/dev/null || echo '  the commands of README.md: curl is not installed'
	@command -v sqlite3 >/dev/null || echo '  the sqlite3 command of README.md: not installed; its edit is made by the test itself'
	@command -v systemd-analyze >/dev/null || echo '  systemd-analyze on the units: not installed'
	@! test -e '$(TARGET)/tmp/skipped' || sort -u '$(TARGET)/tmp/skipped'

test-nocodb: ## run the store's tests against a real NocoDB, which this installs and starts; needs node and npm
	scripts/nocodb test --db all $(CARGO) test --locked --test nocodb

test-n8n: ## run the workflows of deploy/n8n in a real n8n with a real NocoDB, which this installs and starts; needs node and npm
	$(CARGO) build --locked
	AIVIARY='$(abspath $(TARGET))/debug/aiviary' scripts/nocodb test --db sqlite scripts/n8n test tests/n8n/run

test-mcp: ## run public MCP clients, which this installs, against both servers; needs node and npm, and Python for its own
	$(CARGO) build --locked
	AIVIARY_BIN='$(TARGET)/debug/aiviary' scripts/mcp-clients test

soak: ## run the fault, security, trail and parser tests with whole volumes; those on a real NocoDB need node and npm
	AIVIARY_SOAK=1 $(CARGO) test --locked --test faults --test security
	AIVIARY_SOAK=1 $(CARGO) test --release --locked --test parsers
	AIVIARY_SOAK=1 $(CARGO) test --locked --lib roles::connect::audit
	AIVIARY_SOAK=1 scripts/nocodb test --db all $(CARGO) test --locked --test nocodb killed -- --nocapture

# Seconds for each target.
FUZZ_SECONDS ?= 60
fuzz: ## fuzz each parser that meets strangers' bytes; needs cargo-fuzz
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is not installed: cargo install --locked cargo-fuzz'; exit 1; }
	for target in $$(cd fuzz/fuzz_targets && ls | sed 's/\.rs$$//'); do \
		mkdir -p fuzz/corpus/$$target && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

check: ## formatting, lints, documentation; advisories where cargo-deny is installed
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then echo 'skipped: cargo deny is not installed'; \
	elif ! test -f deny.toml; then echo 'skipped: cargo deny has no deny.toml yet'; \
	else echo '$(CARGO) deny check' && $(CARGO) deny check; fi

bench: ## measure, each beside its bare floor
	$(CARGO) bench --locked

docs: ## write docs/tools-*.md anew from the catalogue
	$(CARGO) build --locked
	'$(TARGET)/debug/aiviary' tools --platform instagram --markdown >docs/tools-instagram.md
	'$(TARGET)/debug/aiviary' tools --platform meta-ads --markdown >docs/tools-meta-ads.md

dist: ## build the binary that releases ship, with link-time optimisation
	$(CARGO) build --profile dist --locked
	@echo '$(TARGET)/dist/aiviary'

$(TARGET)/release/aiviary:
	$(CARGO) build --release --locked

install: $(BIN) ## install under DESTDIR and PREFIX; a configuration that is there is kept
	install -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(unitdir)' '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(mandir)' \
		'$(DESTDIR)$(bashdir)' '$(DESTDIR)$(zshdir)' '$(DESTDIR)$(fishdir)' '$(DESTDIR)$(confdir)'
	install -m 0755 '$(BIN)' '$(DESTDIR)$(bindir)/aiviary'
	for unit in $(units); do \
		sed 's|/usr/local/bin/|$(bindir)/|' "deploy/systemd/$$unit" >'$(DESTDIR)$(unitdir)'/"$$unit" && \
		chmod 0644 '$(DESTDIR)$(unitdir)'/"$$unit" || exit 1; \
	done
	install -m 0644 deploy/systemd/aiviary.sysusers '$(DESTDIR)$(sysusersdir)/aiviary.conf'
	test -e '$(DESTDIR)$(confdir)/aiviary.toml' || \
		install -m 0644 config/aiviary.toml '$(DESTDIR)$(confdir)/aiviary.toml'
	'$(BIN)' man >'$(DESTDIR)$(mandir)/aiviary.1'
	'$(BIN)' completions bash >'$(DESTDIR)$(bashdir)/aiviary'
	'$(BIN)' completions zsh >'$(DESTDIR)$(zshdir)/_aiviary'
	'$(BIN)' completions fish >'$(DESTDIR)$(fishdir)/aiviary.fish'
	chmod 0644 '$(DESTDIR)$(mandir)/aiviary.1' '$(DESTDIR)$(bashdir)/aiviary' '$(DESTDIR)$(zshdir)/_aiviary' \
		'$(DESTDIR)$(fishdir)/aiviary.fish'

uninstall: ## remove what `make install` put in place, save the configuration
	rm -f '$(DESTDIR)$(bindir)/aiviary' '$(DESTDIR)$(sysusersdir)/aiviary.conf' '$(DESTDIR)$(mandir)/aiviary.1' \
		'$(DESTDIR)$(bashdir)/aiviary' '$(DESTDIR)$(zshdir)/_aiviary' '$(DESTDIR)$(fishdir)/aiviary.fish'
	for unit in $(units); do rm -f '$(DESTDIR)$(unitdir)'/"$$unit"; done
	@echo 'kept: $(DESTDIR)$(confdir), and what the roles stored'
