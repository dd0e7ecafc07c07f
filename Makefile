# `make help` lists the targets. Everything that is built lies in .build and dist, which git ignores.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

VERSION  ?= $(shell tools/version.sh)
PROGRAMS := iotagent hubctl hubsim
PKG      ?= ./...
DURATION ?=
FUZZTIME ?= 10s
BENCH    ?= .
ROUNDS   ?= 50
SEED     ?=
LDFLAGS   = -s -w -X iotagent/internal/version.Version=$(VERSION)

##@ Every day

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## iotagent, hubctl and hubsim for this machine, into .build/bin
	@mkdir -p .build/bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)" -o .build/bin/ $(PROGRAMS:%=./cmd/%)

.PHONY: demo
demo: build ## The whole path on this machine: hub, agent, telemetry, a command (DURATION=20s ends by itself)
	DURATION=$(DURATION) ./test/demo.sh

.PHONY: test
test: race-needs ## All Go tests, race detector on, shuffled (PKG=./outbox/... for some of them)
	$(if $(RACE),CGO_ENABLED=1 )go test $(RACE) -shuffle=on $(PKG)
	$(if $(filter ./...,$(PKG)),go -C bench test -shuffle=on ./...)

.PHONY: check
check: fmt-check vet lint test test-32 ## What a change must pass: format, vet, lint, tests with race, 32-bit tests

.PHONY: clean
clean: ## Remove everything that was built or installed (.build, .demo, dist, interop/node_modules)
	chmod -R u+w .build .demo dist 2>/dev/null || true
	rm -rf .build .demo dist interop/node_modules

##@ The parts of check

# The race detector needs a 64-bit machine and a C compiler; on a 32-bit board the same tests run without it.
RACE = $(if $(filter amd64 arm64,$(shell go env GOARCH)),-race)

.PHONY: race-needs
race-needs:
	@if [ -z "$(RACE)" ]; then echo "no race detector for $$(go env GOARCH): the tests run without it"; \
	elif ! command -v "$$(go env CC)" >/dev/null; then \
		echo "the race detector needs a C compiler and there is no '$$(go env CC)'"; tools/apt.sh gcc libc6-dev; \
	fi

.PHONY: test-32
test-32: ## The tests as a 32-bit program (sizes of int, alignment of 64-bit atomics)
	GOARCH=386 CGO_ENABLED=0 go test -shuffle=on $(PKG)

.PHONY: fmt
fmt: ## Format the tree (gofumpt, goimports)
	"$$(tools/get.sh golangci-lint)" fmt

.PHONY: fmt-check
fmt-check:
	@"$$(tools/get.sh golangci-lint)" fmt --diff || { echo "not formatted: make fmt" >&2; exit 1; }

.PHONY: vet
vet: ## go vet, of the benchmarks' own module too
	go vet ./...
	go -C bench vet ./...

.PHONY: lint
lint: ## golangci-lint, the import direction included, and shellcheck where it is installed
	"$$(tools/get.sh golangci-lint)" run
	cd bench && "$$(../tools/get.sh golangci-lint)" run
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); else echo "shellcheck is not installed: the scripts were NOT checked"; fi

SCRIPTS = $(wildcard *.sh tools/*.sh .ci/run packaging/deb/*.sh packaging/deb/debian/*.postinst packaging/deb/debian/*.postrm test/*.sh test/*/*.sh test/*/*/*.sh interop/*.sh)

##@ Releases

.PHONY: cross
cross: ## Static binaries for amd64, arm64, armv7 and armv6 into dist, one of them built twice and compared
	VERSION=$(VERSION) ./cross-build.sh

.PHONY: deb
deb: ## Debian packages for amd64, arm64 and armhf (GOARM=6) into dist, checked by lintian
	./packaging/deb/build.sh

.PHONY: vuln
vuln: ## govulncheck; says so where its database cannot be reached
	@tools/vuln.sh

##@ Larger tests (root, apt; interop: npm)

.PHONY: system-test
system-test: ## The package's life in a booted Debian container: install, telemetry, kill, watchdog, upgrade, purge
	./test/system/run.sh

.PHONY: interop
interop: ## Other people's clients: Microsoft's SDKs for Node against hubsim, a hub on rhea against iotagent and hubctl (node, npm)
	./interop/run.sh

.PHONY: vm-test
vm-test: ## iotagent against a real kernel's GPIO lines, I²C bus and 1-Wire, simulated, in a virtual machine (VM_LONG=1 for more)
	./test/vm/run.sh

.PHONY: powercut
powercut: ## Power cuts in a virtual machine while the outbox and iotagent work (ROUNDS=50; SEED repeats a run)
	ROUNDS=$(ROUNDS) SEED=$(SEED) ./test/vm/powercut.sh

.PHONY: faults
faults: ## The outbox under 1 000 power cuts, 1 000 kills and a disk that fails (root for some; CUTS=1000 KILLS=1000, 4 minutes)
	tools/apt.sh strace e2fsprogs mount
	FAULTS_CUTS=$(or $(CUTS),1000) FAULTS_KILLS=$(or $(KILLS),1000) go test -count=1 -v -timeout 60m ./test/faults

.PHONY: chaos
chaos: ## The built agent and hub under every fault, in an order from SEED (several: several worlds at once), for DURATION (5m; ONLY=regexp, UPDATE=1)
	CHAOS_SEED="$(or $(SEED),1)" CHAOS_DURATION="$(or $(DURATION),5m)" CHAOS_ONLY="$(ONLY)" CHAOS_UPDATE="$(UPDATE)" \
		go test -count=1 -v -timeout 48h -parallel 16 -run '^TestChaos$$' ./test/chaos

.PHONY: qemu-test
qemu-test: ## The tests of outbox and config as armv6 and arm64 programs under qemu-user
	./test/qemu/run.sh

.PHONY: ci
ci: ## Everything that CI runs, in its order
	./.ci/run

##@ Now and then

.PHONY: bench
bench: ## Benchmarks in Go's own form (BENCH=regexp, PKG=./outbox/...); bench-outbox, bench-flash, bench-link and bench-sensors are apart
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

# A module of its own in bench/, so that what the outbox is compared with never enters the product. UPDATE=1 puts the figures
# into docs/outbox.md; DATA=/dev/shm keeps the stores in memory, where a busy disk blurs all times.
BENCH_OUTBOX = go -C bench build -o ../.build/bin/bench-outbox ./outbox && .build/bin/bench-outbox
BENCH_FLAGS  = $(if $(DATA),-data $(DATA)/iotagent-bench) $(if $(UPDATE),-update docs/outbox.md)

.PHONY: bench-outbox
bench-outbox: ## The outbox beside raw bbolt, an append file and SQLite: speed, memory, start (N=10000000 queued, DATA=/dev/shm, UPDATE=1)
	$(BENCH_OUTBOX) speed $(if $(N),-queued $(N)) $(BENCH_FLAGS)

.PHONY: bench-flash
bench-flash: ## Bytes that reach the device, hub away and hub answering (root, loop devices; DATA=, UPDATE=1)
	$(BENCH_OUTBOX) flash $(BENCH_FLAGS)

.PHONY: bench-link
bench-link: ## Telemetry over TLS beside go-amqp and Microsoft's SDK for Node (4 minutes; npm for the SDK; DATA=, UPDATE=1)
	go -C bench build -o ../.build/bin/bench-link ./link && .build/bin/bench-link $(if $(DATA),-data $(DATA)/iotagent-bench) $(if $(UPDATE),-update docs/link.md)

.PHONY: bench-sensors
bench-sensors: build ## What a reading costs, fifty sensors at 10 Hz, memory over 10 million readings (4 minutes; MILLIONS=, UPDATE=1)
	go -C bench build -o ../.build/bin/bench-sensors ./readings
	.build/bin/bench-sensors -agent .build/bin/iotagent -hub .build/bin/hubsim $(if $(MILLIONS),-millions $(MILLIONS)) $(if $(UPDATE),-update docs/sensors.md)

.PHONY: fuzz
fuzz: ## Every fuzz function for FUZZTIME each (PKG=./config/... for some of them)
	@for pkg in $$(go list $(PKG)); do \
		for f in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

.PHONY: golden
golden: ## Rewrite the golden files from what the programs print now; read the diff before committing
	@for pkg in $$(go list -f '{{range .TestGoFiles}}{{$$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$.Dir}}/{{.}}{{"\n"}}{{end}}' ./... \
		| xargs grep -lE 'flag\.Bool\("update"|golden\.Update\(' | xargs -rn1 dirname | sort -u); do \
		go test "$$pkg" -update; \
	done
