# make demo and make test do all the set-up they need; both work offline once
# the Go modules are there.

GO      ?= go
export CGO_ENABLED = 0

FUZZTIME           ?= 20m
TORTURE            ?= 200000
STATICCHECK_VERSION = v0.8.2
STATICCHECK         = $(CURDIR)/.cache/bin/staticcheck-$(STATICCHECK_VERSION)
# The nested modules with tests of their own; bench needs cgo and is apart.
MODULES             = . examples
# Tests that run kernels as SPARSEGEN_ISA caps them, repeated under each cap;
# those of codegen go through all levels by themselves.
KERNEL_TESTS        = ./runtime
QEMU_ARM64          = $(shell command -v qemu-aarch64-static || command -v qemu-aarch64)
# What the peers of bench need, as the C compiler finds it.
BENCH_READY         = for h in cblas.h dnnl.h xnnpack.h pthreadpool.h libxsmm.h; do echo "\#include <$$h>"; done | cc -E - >/dev/null 2>&1

.PHONY: all demo test lint build unit race isa arm64 arm64-full gorgonia bench-build bench generate torture mutants fuzz fuzz-module fuzz-bundle kernel-check gpu clean

all: test

## demo: the whole way on a real model, with a table of speed-ups at the end
demo:
	$(GO) run ./cmd/sparsegen demo

## test: everything that must hold before a change lands
test: lint build unit race isa arm64 gorgonia bench-build

# bench/gpu is the part of bench that needs no C library.
lint: $(STATICCHECK)
	@out=$$(gofmt -l .); test -z "$$out" || { echo "not gofmt-clean:"; echo "$$out"; exit 1; }
	@for m in $(MODULES); do (echo "lint $$m" && cd $$m && $(GO) vet ./... && $(STATICCHECK) ./...) || exit 1; done
	@echo "lint bench/gpu" && cd bench && $(GO) vet ./gpu && $(STATICCHECK) ./gpu

$(STATICCHECK):
	@mkdir -p $(@D)
	GOBIN=$(@D) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@mv $(@D)/staticcheck $@

build:
	@for m in $(MODULES); do for a in amd64 arm64; do \
		(echo "build $$m for $$a" && cd $$m && GOARCH=$$a $(GO) build ./...) || exit 1; done; done

unit:
	@for m in $(MODULES); do (cd $$m && $(GO) test ./...) || exit 1; done

# The race detector needs cgo, and that a C compiler.
race:
	@if command -v $${CC:-cc} >/dev/null; then \
		CGO_ENABLED=1 $(GO) test -race ./runtime -run 'Session|Concurrent|Cancel|Helpers|Misuse|Threads'; \
	else echo "skip the race detector: no C compiler"; fi

isa:
	@for i in generic avx2 avx512; do \
		echo "kernels capped at $$i"; SPARSEGEN_ISA=$$i $(GO) test -count=1 $(KERNEL_TESTS) || exit 1; done

# The runtime on another architecture, where an emulator is at hand, some kernels
# as other cores than that of the tests of codegen, which run generated kernels on it by
# themselves, and the example with its real model, where that is in the cache. The
# emulator reports a memory fault without its address, which the skipped test needs.
arm64:
ifeq ($(QEMU_ARM64),)
	@echo "skip the arm64 run: no qemu-aarch64 (Debian: qemu-user-static)"
else
	GOARCH=arm64 $(GO) test -exec $(QEMU_ARM64) -skip TestTruncatedWhileMapped ./runtime
	$(GO) test ./codegen -run '^TestEmulated$$' -names '^(panelGrouped_f32_m4_t8|lanesNM_f32_s16_b1_n2m4|deltaTile|mapTanh)' -calls 4 -cpus neoverse-n1,max
	cd examples && GOARCH=arm64 $(GO) test -short -exec $(QEMU_ARM64) ./sentences
endif

## arm64-full: every kernel as three kinds of cores, 20,000 cases of torture, every
## test of the example and the mutants of NEON kernels, under an emulator: hours
# The tests of the example's module load a C library, which is where Debian's
# libc6-arm64-cross puts it; those of its program are static.
ARM64_LIBC = /usr/aarch64-linux-gnu
arm64-full:
	$(GO) test ./codegen -count=1 -timeout 2h -v -run '^TestEmulated$$' -every -calls 100 -cpus max,neoverse-n1,cortex-a53,max:128,max:256
	$(GO) run ./cmd/sparsegen torture --arch arm64 --exec $(QEMU_ARM64) --cases 20000
	$(GO) test ./codegen -count=1 -timeout 2h -v -run '^TestMutants$$/neon' -sites 160
	cd examples && QEMU_LD_PREFIX=$(ARM64_LIBC) GOARCH=arm64 $(GO) test -count=1 -timeout 2h -exec $(QEMU_ARM64) $(if $(wildcard $(ARM64_LIBC)/lib/ld-linux-aarch64.so.1),./...,./sentences)

# Skips by itself where there is no C compiler or no cuda.h.
gorgonia:
	@$(MAKE) --no-print-directory -C runtime/cuda/gorgonia check

bench-build:
	@if $(BENCH_READY); then \
		echo "vet and build bench" && cd bench && $(GO) generate ./kernels && CGO_ENABLED=1 $(GO) vet ./... && CGO_ENABLED=1 $(GO) build -o /dev/null ./...; \
	else echo "skip bench: its peers are not installed (see bench/README.md)"; fi

## bench: us and the peers side by side; prints a table, writes .cache/bench.json
bench:
	@mkdir -p .cache
	cd bench && $(GO) generate ./kernels
	cd bench && CGO_ENABLED=1 $(GO) run . -json ../.cache/bench.json $(BENCHFLAGS)

## generate: every generated file of the repository, anew
generate:
	cd examples && $(GO) generate ./...
	$(GO) test ./golden ./ptx ./ptx/kernels -run 'Golden|Printed|Manifest' -update

## torture: TORTURE random cases on every kernel, at every level of this machine,
## and every mutant of a kernel of each op. A failure prints the command that runs
## the case again.
torture:
	$(GO) run ./cmd/sparsegen torture --cases $(TORTURE)
	$(GO) test ./codegen -count=1 -timeout 30m -v -run '^TestMutants$$' -sites 100000
	$(GO) test ./codegen -count=1 -timeout 30m -v -run '^TestEmulated$$' -every -calls 100 -cpus max,neoverse-n1,cortex-a53

## mutants: a random sample of mistakes in the source of patterns, codegen and asm,
## each of which tests should find; survivors are listed
MUTANTS ?= 150
SEED    ?= 1
FAST     = -timeout 4m -skip 'Mutants|WholePath|PrunedNetworks|Damaged|Emulated|PTX'
mutants:
	$(GO) run ./internal/mutate -n $(MUTANTS) -seed $(SEED) -run '^(Test[A-QS-Z]|Example)' patterns
	$(GO) run ./internal/mutate -n $(MUTANTS) -seed $(SEED) $(FAST) -with ./codegen,./golden asm/verify
	$(GO) run ./internal/mutate -n $(MUTANTS) -seed $(SEED) $(FAST) -with ./codegen,./golden asm asm/amd64 asm/goref
	$(GO) run ./internal/mutate -n $(MUTANTS) -seed $(SEED) $(FAST) -with ./golden codegen

## fuzz: each fuzz target for FUZZTIME, one after the other; what is found lands in
## the package's testdata/fuzz. The target that runs damaged models with generated
## kernels is in a module that is made for it.
FUZZ_SESSION = .cache/fuzz/session
fuzz: fuzz-module
	@internal/fuzz/targets.sh $(FUZZ_DIRS) $(FUZZ_SESSION) | while read -r dir t; do \
		echo "$$t in $$dir"; \
		(cd $$dir && $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x . </dev/null) || exit 1; done

FUZZ_DIRS = $(filter-out bin,$(patsubst %/,%,$(wildcard */)))
fuzz-module:
	@rm -rf $(FUZZ_SESSION)
	$(GO) test ./codegen -count=1 -run '^TestDamagedFiles$$' -damagemodule '$(CURDIR)/$(FUZZ_SESSION)'

## fuzz-bundle: bin/fuzz, a folder that fuzzes all targets side by side on a machine
## without Go: fuzz.sh DIR 20m there, then fuzz-collect.sh DIR OUT
fuzz-bundle: fuzz-module
	@rm -rf bin/fuzz
	GO=$(GO) internal/fuzz/bundle.sh bin/fuzz $(FUZZ_DIRS) $(FUZZ_SESSION)
	@du -sh bin/fuzz

## kernel-check: .cache/kernel-check, one static program with every kernel and the
## cases of torture, for a machine that has instructions which this one lacks
kernel-check:
	@mkdir -p .cache
	$(GO) run ./cmd/sparsegen torture --program .cache/kernel-check
	@echo "there: kernel-check --isa avx512 --cases 200000"

## gpu: .cache/gpu, a folder that checks and races the GPU kernels on a machine
## with a GPU, which needs nothing else for the checks and torch for the race;
## run at once where this machine has one
GPU_BUNDLE = .cache/gpu
gpu:
	@mkdir -p $(GPU_BUNDLE)
	$(GO) build -buildvcs=auto -trimpath -o $(GPU_BUNDLE)/smoke ./runtime/cuda/internal/smoke
	$(GO) build -buildvcs=auto -trimpath -o $(GPU_BUNDLE)/sparsegen ./cmd/sparsegen
	cd bench && $(GO) build -buildvcs=auto -trimpath -o ../$(GPU_BUNDLE)/gpu ./gpu
	@cp bench/gpu/peers.py bench/gpu/run.sh $(GPU_BUNDLE)
	@if $(GO) run ./cmd/sparsegen device >/dev/null 2>&1; then $(GPU_BUNDLE)/run.sh; \
	else echo "no GPU here: copy $(GPU_BUNDLE) to a machine that has one and start run.sh there"; fi

clean:
	rm -rf .cache bin
