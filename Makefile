# Everything CI runs is a target here. `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0

# What a command line may set.
CASE ?=
FUZZTIME ?= 20s
DURATION ?= 4s
ROUNDS ?= 5
PAIRS ?= 15
REF ?=
ORIGIN ?=
ARGS ?=

VERSION := $(shell sed -n 's/^\tVersion = "\(.*\)"/\1/p' sentinel/proxy.go)
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/sentinel-proxy/sentinel-go/sentinel.Commit=$(COMMIT)
LINT := build/tools/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

.PHONY: run
run: build ## Serve the embedded default on 127.0.0.1:8080 (ARGS='-c my.kdl' for your own)
	./build/sentinel $(ARGS)

.PHONY: build
build: ## Build build/sentinel, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o build/sentinel ./sentinel/cmd/sentinel

.PHONY: build-agent
build-agent: ## Build build/sentinel-agent: the reference agents waf, auth, ratelimit, lua
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o build/sentinel-agent ./sentinel/cmd/sentinel-agent

.PHONY: image
image: build ## A container image from scratch: sentinel:VERSION (needs Docker; pulls nothing)
	docker build --file deploy/Dockerfile --tag sentinel:$(VERSION) .

.PHONY: test-deploy
test-deploy: ## The Kubernetes manifests against Kubernetes' own types (a module of its own)
	cd deploy/kubernetes && go mod tidy -diff && go vet ./... && go test ./...

.PHONY: test
test: ## All tests; needs no program outside Go
	go test ./...

.PHONY: test-redis
test-redis: ## Limits shared over a real redis-server, which is installed if missing
	scripts/test-redis

.PHONY: test-clock
test-clock: ## The conformance suite while the wall clock jumps by an hour every second
	scripts/test-clock

.PHONY: check
check: tidy-check fmt-check vet lint test ## What to run before every push

.PHONY: ci
ci: tidy-check fmt-check vet lint race fuzz-smoke test-redis test-deploy ## What CI runs; its last line counts the tests
	@scripts/count-tests

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt

.PHONY: fmt-check
fmt-check: ## Fail when code is not formatted
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi

.PHONY: tidy-check
tidy-check: ## Fail when go.mod or go.sum is not tidy
	go mod tidy -diff

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: lint
lint: $(LINT) ## golangci-lint with .golangci.yml
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/build/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv build/tools/golangci-lint $@

.PHONY: vuln
vuln: ## Known vulnerabilities in what is used (needs the vulnerability database)
	go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

# Reading a configuration, a message or a rule is one goroutine's work, and takes minutes under the detector.
.PHONY: race
race: ## The proxy's tests and the conformance suite, under the race detector
	go test -race $$(go list ./sentinel/... ./conformance/... | grep -v -e /internal/config -e /internal/wire -e /internal/route -e /agentpb/ -e /sentinel-agent/waf)
	go test -race -run TestManyAtOnce ./sentinel/cmd/sentinel-agent/waf

.PHONY: conformance
conformance: ## The black-box suite, verbosely counted (CASE=framing/te-and-cl for one vector)
	@if [ -n "$(CASE)" ]; then go test ./conformance -count=1 -v -run 'TestVectors/$(CASE)'; \
	else go test ./conformance -count=1; fi

.PHONY: confirm
confirm: ## Replay the vectors at another proxy: REF=host:port ORIGIN=host:port it forwards to
	go test ./conformance -count=1 -v -run '^TestConfirm$$' -args -ref='$(REF)' -origin='$(ORIGIN)'

.PHONY: proto
proto: ## Write the Go code of the agents' gRPC protocol anew
	scripts/proto

.PHONY: proto-check
proto-check: ## Fail when that code is not what its sources say
	scripts/proto check

.PHONY: docs
docs: ## Write docs/runbook.md anew
	go run ./scripts/runbook docs/runbook.md

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME each
	scripts/fuzz $(FUZZTIME)

.PHONY: fuzz-smoke
fuzz-smoke: ## Every fuzz target for a few seconds
	scripts/fuzz 3s

.PHONY: mutants
mutants: ## Break the code by hand-made mutants: the tests must notice every one
	go run ./conformance/mutants

.PHONY: bench
bench: ## Micro benchmarks with allocations, then bench-agents
	go test -run '^$$' -bench . -benchmem ./sentinel/...
	$(MAKE) bench-agents

.PHONY: bench-peers
bench-peers: build ## Compare with nginx, HAProxy and Caddy on this machine (ROUNDS, DURATION)
	scripts/bench-peers -rounds $(ROUNDS) -duration $(DURATION) $(ARGS)

.PHONY: bench-cost
bench-cost: ## What health checks, breakers and least_connections cost (PAIRS, DURATION, ARGS='-base BINARY')
	scripts/bench-peers cost -pairs $(PAIRS) -duration $(DURATION) $(ARGS)

.PHONY: bench-agents
bench-agents: ## What an agent on the route costs, in each dialect (ROUNDS, DURATION, ARGS='-procs 1')
	scripts/bench-peers agents -rounds $(ROUNDS) -duration $(DURATION) $(ARGS)

.PHONY: bench-reload
bench-reload: ## Reload a hundred times under load (ARGS='-rate 5000 -duration 60s -routes 1000')
	scripts/bench-peers reload $(ARGS)

.PHONY: soak
soak: ## An hour under load, with faults and reloads (ARGS='-soak 8h -rate 1000')
	go test ./soak -count=1 -v -timeout 0 -args -soak 60m $(ARGS)

.PHONY: clean
clean: ## Remove what was built
	rm -rf build
