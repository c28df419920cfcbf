# rkt. `make` builds, `make help` lists. Needs Go, git and make; `make deps` says and installs the rest.
SHELL      := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := build
MODULE     := github.com/rkt/rkt/v2
VERSION    ?= 2.0.0-dev
PREFIX     ?= /usr/local
DESTDIR    ?=
BUILD      := $(CURDIR)/build
# What is dear to make and outlives a clean (Debian trees, OCI layouts, fuzz corpora). Delete it at will.
CACHE      ?= $(if $(filter 0,$(shell id -u)),/var/cache/rkt-build,$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rkt-build)
VULNDB     ?= $(abspath $(CURDIR)/../shared/vulndb)
FUZZTIME   ?= 20s
# What stage1-coreos is made of; their libraries come with them.
DEPS_BUILD := systemd systemd-container libc-bin
DEPS       := gpg gpg-agent gpgconf nftables iptables dnsmasq-base iproute2 curl busybox-static protobuf-compiler swtpm debootstrap skopeo umoci bzip2 xz-utils zstd attr libcap2-bin ca-certificates
DEPS_GUEST := qemu-system-x86 e2fsprogs debootstrap
DEPS_BENCH := runc crun podman iperf3
LDFLAGS    := -s -w -X $(MODULE)/cmd/rkt/internal/cli.version=$(VERSION) -X $(MODULE)/cmd/docker2aci/internal/cli.version=$(VERSION) -X $(MODULE)/cmd/acbuild/internal/cli.version=$(VERSION)
# Without it grpc links html/template for a page nobody sees, and the linker keeps every method there is.
TAGS       := grpcnotrace
GOBUILD    := go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)'
STAGE1     := $(BUILD)/stage1
# What mkstage1 gets for every flavor; fly takes none of it.
IMAGE      := -net $(STAGE1)/net -plugins $(STAGE1)/plugins -files dist/stage1
FLAVORS    := coreos host fly
EMBED      := cmd/rkt/internal/embedded
EMBEDDED   := coreos fly
STAGE1DIR  ?= /usr/lib/rkt/stage1-images
SUM        := $(BUILD)/tools/testsum
export CGO_ENABLED := 0
export RKT_CACHE   := $(CACHE)
export RKT_BIN := $(BUILD)/bin/rkt
export RKT_FAILPOINT_BIN := $(BUILD)/bin/rkt-failpoint
export ACTOOL_BIN := $(BUILD)/bin/actool
export ACBUILD_BIN := $(BUILD)/bin/acbuild

.PHONY: help build stage1 failpoint tools protobuf protobuf-check test functional torture guest check vet arm64 vuln fuzz bench lint fmt fmt-check deps deps-test deps-guest deps-bench run install reproducible clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: stage1 ## build/bin/rkt (with stage1-coreos and stage1-fly inside), build/bin/{actool,acbuild,docker2aci}
	$(GOBUILD) -tags $(TAGS),embed_stage1 -o $(BUILD)/bin/rkt ./cmd/rkt
	$(GOBUILD) -o $(BUILD)/bin/actool ./cmd/actool
	$(GOBUILD) -o $(BUILD)/bin/acbuild ./cmd/acbuild
	$(GOBUILD) -o $(BUILD)/bin/docker2aci ./cmd/docker2aci

stage1: ## build/stage1/stage1-{coreos,host,fly}.aci, the same bytes from the same sources and packages
	$(GOBUILD) -o $(STAGE1)/stage1 ./stage1
	$(GOBUILD) -o $(STAGE1)/stage1-fly ./stage1-fly
	$(GOBUILD) -o $(STAGE1)/net ./stage1/net
	rm -rf $(STAGE1)/plugins
	go build -C networking/plugins -trimpath -ldflags '-s -w' -o $(STAGE1)/plugins/ tool
	go build -o $(BUILD)/tools/mkstage1 ./dist/mkstage1
	@for f in $(FLAVORS); do p=stage1; [ $$f != fly ] || p=stage1-fly; \
	  (set -x; $(BUILD)/tools/mkstage1 -flavor $$f -version $(VERSION) -program $(STAGE1)/$$p $(IMAGE) -out $(STAGE1)/stage1-$$f.aci) || exit 1; done
	@for f in $(EMBEDDED); do cp $(STAGE1)/stage1-$$f.aci $(STAGE1)/stage1-$$f.id $(EMBED)/ || exit 1; done

failpoint: stage1 ## build/bin/rkt-failpoint, which tests kill at every durable step of rkt and of the stage1-coreos inside it
	go build -trimpath -tags failpoint -o $(STAGE1)-failpoint/stage1 ./stage1
	go build -trimpath -tags failpoint -o $(STAGE1)-failpoint/net ./stage1/net
	$(BUILD)/tools/mkstage1 -flavor coreos -version $(VERSION) -program $(STAGE1)-failpoint/stage1 $(IMAGE) -net $(STAGE1)-failpoint/net -out $(STAGE1)-failpoint/stage1-coreos.aci
	@e=$(CURDIR)/$(EMBED)/stage1-coreos f=$(STAGE1)-failpoint/stage1-coreos; \
	  printf '{"Replace": {"%s": "%s", "%s": "%s"}}\n' $$e.aci $$f.aci $$e.id $$f.id >$(STAGE1)-failpoint/overlay.json
	go build -trimpath -overlay $(STAGE1)-failpoint/overlay.json -tags $(TAGS),embed_stage1,failpoint -o $(RKT_FAILPOINT_BIN) ./cmd/rkt

$(SUM): $(wildcard tools/testsum/*.go)
	go -C tools build -o $@ ./testsum

tools: $(SUM) ## the pinned tools of tools/go.mod, in build/tools (the first time takes minutes)
	go -C tools build -o $(BUILD)/tools/ tool

protobuf: ## pkg/api/v1alpha from its api.proto; needs protoc (Debian's protobuf-compiler)
	go -C tools build -o $(BUILD)/tools/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	PATH=$(BUILD)/tools:$$PATH protoc -I . --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative pkg/api/v1alpha/api.proto

protobuf-check: protobuf ## the committed stubs are those of the api.proto
	git diff --exit-code -- pkg/api/v1alpha

test: $(SUM) ## unit tests; no root needed (as root some more run)
	$(SUM) run -name unit ./...

functional: build failpoint $(SUM) ## real pods, real registries, real images; root
	$(SUM) run -name functional -- -tags functional -p 1 -count 1 -timeout 30m ./tests/harness/ ./tests/functional/ ./tests/ace/... ./tests/escape/... ./tests/realpods/...

torture: build failpoint $(SUM) ## kill, ENOSPC, EIO, many at once; root; TORTURE=long for the long form
	$(SUM) run -name failpoints -- -tags failpoint -p 1 -count 1 -run 'Killed|Failpoint' ./stage0/ ./store/treestore/
	$(SUM) run -name torture -- -tags functional -p 1 -count 1 -timeout 120m ./tests/torture/

guest: build deps-guest $(SUM) ## pods and networks on hosts with cgroup v2, with v1 and with systemd (Debian 12 and 13), in virtual machines; root; minutes, the first time more
	$(SUM) run -name guest -- -tags guest -count 1 -timeout 60m ./tests/guest/

check: ## everything CI runs; root
	rm -rf $(BUILD)/test-results
	$(MAKE) deps deps-test
	$(MAKE) fmt-check protobuf-check lint vet arm64 vuln
	RKT_TEST_MUSTRUN=all $(MAKE) test functional torture
	$(MAKE) fuzz FUZZTIME=2s
	@$(SUM) total

fmt: tools ## format everything
	$(BUILD)/tools/golangci-lint fmt ./...
fmt-check: tools
	@test -z "$$($(BUILD)/tools/golangci-lint fmt --diff ./... | tee /dev/stderr)"
lint: tools ## golangci-lint with the import direction, zero findings
	$(BUILD)/tools/golangci-lint run --timeout 15m ./...
vet:
	go vet ./... && go vet -tags functional ./tests/... && go vet -tags guest ./tests/guest/... && go vet -tags failpoint ./pkg/failpoint/
arm64: ## what cannot run here has to compile: arm64, tests included
	GOARCH=arm64 go vet ./... && GOARCH=arm64 go build -o /dev/null ./cmd/rkt && GOARCH=arm64 go build -o /dev/null ./cmd/actool && GOARCH=arm64 go build -o /dev/null ./cmd/acbuild && GOARCH=arm64 go build -o /dev/null ./cmd/docker2aci && GOARCH=arm64 go build -o /dev/null ./stage1 && GOARCH=arm64 go build -o /dev/null ./stage1-fly && GOARCH=arm64 go build -o /dev/null ./stage1/net

vuln: tools ## known vulnerabilities, from the offline database at VULNDB
	@if [ -d "$(VULNDB)" ]; then $(BUILD)/tools/govulncheck -db "file://$(VULNDB)" ./... && $(BUILD)/tools/govulncheck -C networking/plugins -db "file://$(VULNDB)" tool ; else echo "vuln: left out, there is no $(VULNDB)"; fi

fuzz: $(SUM) ## every fuzz target for FUZZTIME
	$(SUM) fuzz -time $(FUZZTIME)

bench: build deps-bench ## ratios against runc and podman as a table; root
	go run ./tests/bench

run: deps build ## run examples/hello, a small web server, in a pod and show its answer; root
	@$(MAKE) --no-print-directory -C examples/hello run

missing = $$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
apt = @m=$(call missing,$(1)); if [ -z "$$m" ]; then echo "$@: nothing is missing"; else echo "$@: installing" $$m; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$m >/dev/null; fi
deps: ## Debian packages that stage1-coreos is made of; installs only what is missing; root
	@for p in go git make; do command -v $$p >/dev/null || { echo "deps: install $$p first" >&2; exit 1; }; done
	$(call apt,$(DEPS_BUILD))
deps-test: ## Debian packages the tests need; installs only what is missing; root
	$(call apt,$(DEPS))
	@command -v docker-registry >/dev/null || [ -x $(CACHE)/docker-registry/usr/bin/docker-registry ] || { \
	  echo "deps-test: unpacking docker-registry below $(CACHE) (installing it would start a service)"; \
	  d=$$(mktemp -d) && cd $$d && { apt-get download -qq docker-registry 2>/dev/null || { apt-get update -qq && apt-get download -qq docker-registry; }; } && \
	  mkdir -p $(CACHE) && dpkg-deb -x docker-registry_*.deb $(CACHE)/docker-registry && rm -r $$d; }
deps-guest: ## Debian packages of the virtual machines; root
	$(call apt,$(DEPS) $(DEPS_GUEST))
deps-bench: ## Debian packages the benchmarks compare with; root
	$(call apt,$(DEPS) $(DEPS_BENCH))

install: build ## rkt, with its stage1 images inside, actool, acbuild and docker2aci into DESTDIR/PREFIX; stage1-host into DESTDIR/STAGE1DIR
	install -D -m 0755 $(BUILD)/bin/rkt $(DESTDIR)$(PREFIX)/bin/rkt
	install -D -m 0755 $(BUILD)/bin/actool $(DESTDIR)$(PREFIX)/bin/actool
	install -D -m 0755 $(BUILD)/bin/acbuild $(DESTDIR)$(PREFIX)/bin/acbuild
	install -D -m 0755 $(BUILD)/bin/docker2aci $(DESTDIR)$(PREFIX)/bin/docker2aci
	install -D -m 0644 $(STAGE1)/stage1-host.aci $(DESTDIR)$(STAGE1DIR)/stage1-host.aci

reproducible: ## build twice, in different places with empty caches, and compare
	d=$$(mktemp -d) && trap 'chmod -R u+w '$$d'; rm -rf '$$d EXIT && for i in one two/deeper; do mkdir -p $$d/$$i && git ls-files -co --exclude-standard | tar -cT- | tar -xC $$d/$$i && \
	  GOCACHE=$$d/cache-$${i%/*} $(MAKE) --no-print-directory -C $$d/$$i build VERSION=$(VERSION); done && \
	  for f in bin/rkt bin/actool bin/acbuild bin/docker2aci $(FLAVORS:%=stage1/stage1-%.aci); do cmp $$d/one/build/$$f $$d/two/deeper/build/$$f; done && echo "reproducible: the same bytes twice"

clean: ## remove build/ and what it put elsewhere; CACHE stays
	rm -rf $(BUILD) $(EMBED)/*.aci $(EMBED)/*.id
