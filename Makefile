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
# Fuzz targets of what comes from the network, from others' files and from users; `make check` gives them FUZZTIME_OUTSIDE, the rest less.
FUZZ_OUTSIDE := pkg/appc.FuzzImageManifest pkg/appc.FuzzPodManifest pkg/distribution.FuzzParse cmd/rkt/internal/cli.FuzzResolve pkg/discovery.FuzzDiscoverHTML \
  pkg/ociconv.FuzzManifest pkg/ociconv.FuzzConvert pkg/fetch.FuzzDockerArchive pkg/fetch.FuzzTarTree pkg/layer.FuzzUnpack pkg/layer.FuzzStack pkg/aci.FuzzArchive \
  pkg/compression.FuzzReader pkg/keystore.FuzzReadKey pkg/keystore.FuzzVerify pkg/keystore.FuzzTrustDir pkg/config.FuzzConfig pkg/fetch.FuzzChallenge pkg/fetch.FuzzResume
FUZZTIME_OUTSIDE ?= 20s
# What stage1-coreos is made of; their libraries come with them.
DEPS_BUILD := systemd systemd-container libc-bin
DEPS       := gpg gpg-agent gpgconf nftables iptables dnsmasq-base iproute2 curl busybox-static protobuf-compiler swtpm debootstrap skopeo umoci bzip2 xz-utils zstd attr libcap2-bin ca-certificates lintian bash-completion zsh fish mandoc
DEPS_VM    := qemu-system-x86 e2fsprogs debootstrap debian-archive-keyring xz-utils
DEPS_BENCH := runc crun podman iperf3
LDFLAGS    := -s -w -X $(MODULE)/cmd/rkt/internal/cli.version=$(VERSION) -X $(MODULE)/cmd/docker2aci/internal/cli.version=$(VERSION) -X $(MODULE)/cmd/acbuild/internal/cli.version=$(VERSION)
# Without it grpc links html/template for a page nobody sees, and the linker keeps every method there is.
TAGS       := grpcnotrace
GOBUILD    := go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)'
STAGE1     := $(BUILD)/stage1
# What mkstage1 gets for every flavor; fly takes none of it.
IMAGE      := -net $(STAGE1)/net -plugins $(STAGE1)/plugins -files dist/stage1
FLAVORS    := coreos host fly
# qemu and its daemon for the guests of stage1-kvm; their kernel is only unpacked.
DEPS_KVM   := qemu-system-x86 qemu-system-common seabios
KERNEL      = $(CACHE)/kernel-$(shell apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/ *Depends: linux-image-//p' | head -n 1).deb
EMBED      := cmd/rkt/internal/embedded
EMBEDDED   := coreos fly
STAGE1DIR  ?= /usr/lib/rkt/stage1-images
# Where packages go, and what else they are named by.
SYSTEMD    ?= $(PREFIX)/lib
ZSHFUNCS   ?= site-functions
ITERATION  ?= 1
MAINTAINER ?= rkt packagers <packagers@rkt.invalid>
# Targets that were made already and are taken as they are, for example PREBUILT=build.
PREBUILT   ?=
made        = $(filter-out $(PREBUILT),$(1))
# The time of everything in packages and pages.
EPOCH      := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)
PROGRAMS   := rkt actool acbuild docker2aci
PACKAGES   := $(BUILD)/packages
DEBROOT    := $(BUILD)/deb
SUM        := $(BUILD)/tools/testsum
export CGO_ENABLED := 0
export RKT_CACHE   := $(CACHE)
export RKT_BIN := $(BUILD)/bin/rkt
export RKT_FAILPOINT_BIN := $(BUILD)/bin/rkt-failpoint
export ACTOOL_BIN := $(BUILD)/bin/actool
export ACBUILD_BIN := $(BUILD)/bin/acbuild

.PHONY: help build stage1 stage1-kvm failpoint tools protobuf protobuf-check test functional torture vm vm-short kvm check vet arm64 vuln fuzz bench lint fmt fmt-check deps deps-test deps-vm deps-kvm deps-bench run man completions parts install deb tarball packaging reproducible clean

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

stage1-kvm: stage1 deps-kvm ## build/stage1/stage1-kvm.aci, pods in virtual machines; amd64 only
	$(GOBUILD) -o $(STAGE1)/stage1-kvm ./stage1-kvm
	@[ -f "$(KERNEL)" ] || { d=$$(mktemp -d) && p=$$(basename "$(KERNEL)" .deb) && echo "stage1-kvm: downloading linux-image-$${p#kernel-}" && \
	  (cd $$d && apt-get download -qq linux-image-$${p#kernel-}) && mkdir -p $(CACHE) && mv $$d/*.deb "$(KERNEL)" && rmdir $$d; }
	$(BUILD)/tools/mkstage1 -flavor kvm -version $(VERSION) -program $(STAGE1)/stage1 -kvm $(STAGE1)/stage1-kvm -kernel "$(KERNEL)" $(IMAGE) -out $(STAGE1)/stage1-kvm.aci

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

vm: build deps-vm $(SUM) ## the checks of hosts and the functional tests of pods and networks in virtual machines: cgroup v2, v1, Debian 12 and 13 with systemd; root; an hour or two without KVM
	$(SUM) run -name vm -- -tags vm -count 1 -timeout 6h -run 'Unified|Legacy|Debian|Suite|Reboot' ./tests/vm/

vm-short: build deps-vm $(SUM) ## pods as services on Debian 12 in a virtual machine; root; minutes
	$(SUM) run -name vm-short -- -tags vm -count 1 -timeout 30m -run Short ./tests/vm/

kvm: build stage1-kvm $(SUM) ## pods in virtual machines, a short set; root; minutes where /dev/kvm cannot be used
	$(SUM) run -name kvm -- -tags kvm -count 1 -timeout 60m ./tests/kvm/

check: ## everything CI runs; root
	rm -rf $(BUILD)/test-results
	$(MAKE) deps deps-test deps-vm
	$(MAKE) fmt-check protobuf-check lint vet arm64 vuln
	RKT_TEST_MUSTRUN=all $(MAKE) test functional torture packaging vm-short
	$(MAKE) fuzz FUZZTIME=2s
	@$(SUM) total

fmt: tools ## format everything
	$(BUILD)/tools/golangci-lint fmt ./...
fmt-check: tools
	@test -z "$$($(BUILD)/tools/golangci-lint fmt --diff ./... | tee /dev/stderr)"
lint: tools ## golangci-lint with the import direction, zero findings
	$(BUILD)/tools/golangci-lint run --timeout 15m ./...
vet:
	go vet ./... && go vet -tags functional ./tests/... && go vet -tags vm ./tests/vm/... && go vet -tags kvm ./tests/kvm/... && go vet -tags packaging ./tests/packaging/... && go vet -tags failpoint ./pkg/failpoint/
arm64: ## what cannot run here has to compile: arm64, tests included
	GOARCH=arm64 go vet ./... && GOARCH=arm64 go build -o /dev/null ./cmd/rkt && GOARCH=arm64 go build -o /dev/null ./cmd/actool && GOARCH=arm64 go build -o /dev/null ./cmd/acbuild && GOARCH=arm64 go build -o /dev/null ./cmd/docker2aci && GOARCH=arm64 go build -o /dev/null ./stage1 && GOARCH=arm64 go build -o /dev/null ./stage1-fly && GOARCH=arm64 go build -o /dev/null ./stage1/net && GOARCH=arm64 go build -o /dev/null ./stage1-kvm

vuln: tools ## known vulnerabilities, from the offline database at VULNDB
	@if [ -d "$(VULNDB)" ]; then $(BUILD)/tools/govulncheck -db "file://$(VULNDB)" ./... && $(BUILD)/tools/govulncheck -C networking/plugins -db "file://$(VULNDB)" tool ; else echo "vuln: left out, there is no $(VULNDB)"; fi

fuzz: $(SUM) ## every fuzz target for FUZZTIME
	$(SUM) fuzz -time $(FUZZTIME) -longer $(FUZZTIME_OUTSIDE) -outside '$(FUZZ_OUTSIDE)'

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
deps-kvm: ## Debian packages that stage1-kvm is made of; installs only what is missing; root
	$(call apt,$(DEPS_BUILD) $(DEPS_KVM))
deps-test: ## Debian packages the tests need; installs only what is missing; root
	$(call apt,$(DEPS))
	@command -v docker-registry >/dev/null || [ -x $(CACHE)/docker-registry/usr/bin/docker-registry ] || { \
	  echo "deps-test: unpacking docker-registry below $(CACHE) (installing it would start a service)"; \
	  d=$$(mktemp -d) && cd $$d && { apt-get download -qq docker-registry 2>/dev/null || { apt-get update -qq && apt-get download -qq docker-registry; }; } && \
	  mkdir -p $(CACHE) && dpkg-deb -x docker-registry_*.deb $(CACHE)/docker-registry && rm -r $$d; }
deps-vm: ## Debian packages of the virtual machines; root
	$(call apt,$(DEPS) $(DEPS_VM))
deps-bench: ## Debian packages the benchmarks compare with; root
	$(call apt,$(DEPS) $(DEPS_BENCH))

man: $(call made,build) ## build/man, a page for each command of each program
	go build -o $(BUILD)/tools/mkman ./dist/mkman
	rm -rf $(BUILD)/man
	$(BUILD)/tools/mkman -out $(BUILD)/man -date $(EPOCH) -version $(VERSION) $(BUILD)/bin/rkt
	@for p in actool acbuild docker2aci; do (set -x; $(BUILD)/tools/mkman -out $(BUILD)/man -date $(EPOCH) -version $(VERSION) -join - $(BUILD)/bin/$$p) || exit 1; done

completions: $(call made,build) ## build/completions for bash, zsh and fish
	mkdir -p $(BUILD)/completions
	@for s in bash zsh fish; do $(BUILD)/bin/rkt completion $$s >$(BUILD)/completions/rkt.$$s || exit 1; done

parts: $(call made,build) ## build/{third-party-licenses.txt,sbom.spdx.json}: what of others is in the build, and its terms
	go build -o $(BUILD)/tools/mkparts ./dist/mkparts
	$(BUILD)/tools/mkparts -version $(VERSION) -date $(EPOCH) -stage1 $(STAGE1)/stage1-coreos.aci \
	  -licences $(BUILD)/third-party-licenses.txt -sbom $(BUILD)/sbom.spdx.json \
	  $(PROGRAMS:%=$(BUILD)/bin/%) $(STAGE1)/stage1 $(STAGE1)/stage1-fly $(STAGE1)/net $(wildcard $(STAGE1)/plugins/*)

install: $(call made,build man completions parts) ## programs, stage1 images, pages, completions, units and settings into DESTDIR/PREFIX; stage1 images into DESTDIR/STAGE1DIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(STAGE1DIR) $(DESTDIR)$(PREFIX)/share/{man/man1,rkt,doc/rkt} $(DESTDIR)$(SYSTEMD)/systemd/{system,system-preset} $(DESTDIR)$(SYSTEMD)/{sysusers.d,tmpfiles.d}
	install -m 0755 $(PROGRAMS:%=$(BUILD)/bin/%) $(DESTDIR)$(PREFIX)/bin/
	install -m 0644 $(FLAVORS:%=$(STAGE1)/stage1-%.aci) $(DESTDIR)$(STAGE1DIR)/
	[ ! -f $(STAGE1)/stage1-kvm.aci ] || install -m 0644 $(STAGE1)/stage1-kvm.aci $(DESTDIR)$(STAGE1DIR)/
	install -m 0644 $(BUILD)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -D -m 0644 $(BUILD)/completions/rkt.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rkt
	install -D -m 0644 $(BUILD)/completions/rkt.zsh $(DESTDIR)$(PREFIX)/share/zsh/$(ZSHFUNCS)/_rkt
	install -D -m 0644 $(BUILD)/completions/rkt.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rkt.fish
	install -m 0755 dist/scripts/setup-data-dir.sh $(DESTDIR)$(PREFIX)/share/rkt/
	@for u in $(wildcard dist/systemd/*.service dist/systemd/*.socket dist/systemd/*.timer); do \
	  sed 's|/usr/bin/rkt|$(PREFIX)/bin/rkt|' $$u >$(DESTDIR)$(SYSTEMD)/systemd/system/$${u##*/} && chmod 0644 $(DESTDIR)$(SYSTEMD)/systemd/system/$${u##*/} || exit 1; done
	install -d $(DESTDIR)$(SYSTEMD)/systemd/system-generators $(DESTDIR)$(PREFIX)/share/doc/rkt/examples
	ln -srf $(DESTDIR)$(PREFIX)/bin/rkt $(DESTDIR)$(SYSTEMD)/systemd/system-generators/rkt-generator
	install -m 0644 dist/preset/50-rkt.preset $(DESTDIR)$(SYSTEMD)/systemd/system-preset/
	install -m 0644 dist/sysusers.d/rkt.conf $(DESTDIR)$(SYSTEMD)/sysusers.d/
	install -m 0644 dist/tmpfiles.d/rkt.conf $(DESTDIR)$(SYSTEMD)/tmpfiles.d/
	install -m 0644 docs/*.md $(BUILD)/third-party-licenses.txt $(BUILD)/sbom.spdx.json $(DESTDIR)$(PREFIX)/share/doc/rkt/
	install -m 0644 examples/pods.d/*.pod $(DESTDIR)$(PREFIX)/share/doc/rkt/examples/

deb: ## build/packages/rkt_VERSION-ITERATION_ARCH.deb, the same bytes from the same sources and packages; needs dpkg-deb
	rm -rf $(DEBROOT)
	$(MAKE) --no-print-directory install DESTDIR=$(DEBROOT) PREFIX=/usr SYSTEMD=/usr/lib ZSHFUNCS=vendor-completions STAGE1DIR=/usr/lib/rkt/stage1-images
	go build -o $(BUILD)/tools/mkdeb ./dist/mkdeb
	$(BUILD)/tools/mkdeb -root $(DEBROOT) -scripts dist/debian -version $(VERSION) -iteration $(ITERATION) -date $(EPOCH) \
	  -maintainer '$(MAINTAINER)' -stage1 $(STAGE1)/stage1-coreos.aci -out $(PACKAGES)

tarball: $(call made,build man completions parts) ## build/packages/rkt-vVERSION.tar.gz, which runs unpacked, each stage1 alone, and SHA256SUMS
	@t=rkt-v$(VERSION) d=$(BUILD)/tarball/rkt-v$(VERSION) p=$(PACKAGES); rm -rf $(BUILD)/tarball; \
	  mkdir -p $$d/{manpages,bash_completion,zsh_completion,fish_completion,examples,scripts,init/systemd/{tmpfiles,sysusers}.d} $$p; \
	  install -m 0755 $(PROGRAMS:%=$(BUILD)/bin/%) $$d/; install -m 0644 $(FLAVORS:%=$(STAGE1)/stage1-%.aci) LICENSE CHANGELOG.md $(BUILD)/third-party-licenses.txt $(BUILD)/sbom.spdx.json $$d/; \
	  install -m 0644 $(BUILD)/man/*.1 $$d/manpages/; install -m 0755 dist/scripts/setup-data-dir.sh $$d/scripts/; \
	  install -m 0644 examples/pods.d/*.pod $$d/examples/; \
	  for s in bash zsh fish; do install -m 0644 $(BUILD)/completions/rkt.$$s $$d/$${s}_completion/; done; \
	  install -m 0644 $(wildcard dist/systemd/*.service dist/systemd/*.socket dist/systemd/*.timer) $$d/init/systemd/; \
	  install -m 0644 dist/tmpfiles.d/rkt.conf $$d/init/systemd/tmpfiles.d/; install -m 0644 dist/sysusers.d/rkt.conf $$d/init/systemd/sysusers.d/; \
	  tar -C $(BUILD)/tarball --sort=name --owner=0 --group=0 --numeric-owner --mode=u+w,go-w,a+rX --mtime=@$(EPOCH) --format=ustar -c $$t | gzip -9n >$$p/$$t.tar.gz; \
	  for f in $(FLAVORS); do install -m 0644 $(STAGE1)/stage1-$$f.aci $$p/stage1-$$f-$(VERSION)-linux-$$(go env GOARCH).aci; done; \
	  cd $$p && sha256sum -- $$t.tar.gz stage1-*.aci $$(ls *.deb 2>/dev/null) >SHA256SUMS && cat SHA256SUMS

packaging: deb $(SUM) ## the package installed, upgraded under a running pod, removed and purged; root, needs lintian and debootstrap
	RKT_DEB=$$(ls $(PACKAGES)/rkt_$(subst -,~,$(VERSION))-$(ITERATION)_*.deb) $(SUM) run -name packaging -- -tags packaging -count 1 -timeout 20m ./tests/packaging/

reproducible: ## build twice, in different places with empty caches, and compare
	d=$$(mktemp -d) && trap 'chmod -R u+w '$$d'; rm -rf '$$d EXIT && for i in one two/deeper; do mkdir -p $$d/$$i && git ls-files -co --exclude-standard | tar -cT- | tar -xC $$d/$$i && \
	  GOCACHE=$$d/cache-$${i%/*} $(MAKE) --no-print-directory -C $$d/$$i build VERSION=$(VERSION); done && \
	  for f in bin/rkt bin/actool bin/acbuild bin/docker2aci $(FLAVORS:%=stage1/stage1-%.aci); do cmp $$d/one/build/$$f $$d/two/deeper/build/$$f; done && echo "reproducible: the same bytes twice"

clean: ## remove build/ and what it put elsewhere; CACHE stays
	rm -rf $(BUILD) $(EMBED)/*.aci $(EMBED)/*.id
