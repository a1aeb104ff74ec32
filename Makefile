# Frontier: a benchmarking harness for sparse attention. `make help` lists what can be made.
#
#   make BUILD=dir        build elsewhere          make WERROR=1      warnings are errors (as in CI)
#   make CUDA=0           leave CUDA out           make CUDA_ARCH=90a GPU architectures, e.g. "80 90a"
#   make MPI=0            leave MPI out            make MPICC=path    another MPI's compiler
#   make V=1              print whole commands
.DEFAULT_GOAL := all
SHELL := /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
PYTHON ?= python3

# ---- features: looked for once, printed by `make features` ---------------------------------------------------------
PKGS := hdf5 yaml-0.1 jansson oniguruma libpcre2-8 libutf8proc libxxhash
NVCC ?= $(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null))
CUDA ?= $(if $(NVCC),1,0)
CUDA_ARCH ?= 80 90a
CUDA_HOME := $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))

MPICC ?= mpicc
MPI_SAYS := $(wordlist 2,99,$(shell $(MPICC) -show 2>/dev/null)) # flags, whichever MPI it is
MPI ?= $(if $(MPI_SAYS),1,0)

# A line a file instead of its whole command; V=1: the command.
Q := $(if $(filter 1,$(V)),,@)
define say
@$(if $(filter 1,$(V)),:,printf '  %-4s %s\n' $(1) $@)
endef

CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror) \
        $(if $(CLANG),-Wno-missing-field-initializers) # which gcc does not count where some are designated
DEFS := -D_GNU_SOURCE
INCS := -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# The C library comes first: some builds of Oniguruma export a regcomp and regexec of their own (findings/onig_posix_names.sh),
# which programs and plug-ins that use <regex.h> would get. OpenBLAS next: half of all that the loader looks up at each start is its own.
LIBS := -lc -lopenblas $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -ldl -fopenmp
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(DEFS) $(INCS) -fopenmp -fno-math-errno -MMD -MP $(SANITIZE)

ROOMS := base kernels kernels/reference kernels/cpu methods tasks $(addprefix harness/,config model model/families engine store report report/figures lab run train cli)
SRCS := $(filter-out harness/cli/main.c,$(wildcard $(ROOMS:%=%/*.c)))
OBJS := $(SRCS:%.c=$(BUILD)/%.o)
ifeq ($(CUDA),1)
DEFS += -DSF_HAVE_CUDA
NCCL ?= $(if $(wildcard $(CUDA_HOME)/include/nccl.h /usr/include/nccl.h),1,0)
OBJS += $(patsubst %.cu,$(BUILD)/%.cu.o,$(filter-out $(if $(filter 0,$(NCCL)),kernels/cuda/comm.cu),$(wildcard kernels/cuda/*.cu)))
ifeq ($(NCCL),1)
DEFS += -DSF_HAVE_NCCL
LIBS += -L$(CUDA_HOME)/lib64 -lnccl
endif
LIBS += -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart -lcublasLt -lstdc++
NVCC_FLAGS = -O3 -lineinfo -std=c++20 -I. $(NVCC_DEFS) -Xcompiler -Wall,-Wextra$(if $(WERROR),$(comma)-Werror) $(if $(WERROR),-Werror all-warnings) \
             $(foreach a,$(CUDA_ARCH),-gencode=arch=compute_$(a),code=sm_$(a)) \
             -gencode=arch=compute_$(firstword $(CUDA_ARCH)),code=compute_$(firstword $(CUDA_ARCH)) -MMD -MP # PTX for later chips
comma := ,
endif

ifeq ($(MPI),1)
DEFS += -DSF_HAVE_MPI
INCS += $(patsubst -I%,-isystem %,$(filter -I%,$(MPI_SAYS)))
LIBS += $(filter -L% -l% -Wl%,$(MPI_SAYS))
endif

TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
LIB := $(BUILD)/libfrontier.a
BIN := $(BUILD)/frontier

.PHONY: all help features deps man demo test test-cuda tests lengths bench asan tsan fuzz fuzzers faults install clean
.PRECIOUS: $(BUILD)/%.o # kept; .SECONDARY would leave out a new source that is older than the library

all: $(BIN) ## build build/frontier

$(BIN): $(BUILD)/harness/cli/main.o $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(SANITIZE) -rdynamic -o $@ $< -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive $(LIBS)

$(LIB): $(OBJS)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Version and revision go into one object, made anew when they change.
VERSION := $(shell sed -n 's/^version: //p' CITATION.cff)
REVISION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
$(BUILD)/harness/run/version.o: ALL_CFLAGS += -DSF_VERSION='"$(VERSION)"' -DSF_REVISION='"$(REVISION)"'
$(BUILD)/harness/run/version.o: $(BUILD)/revision
$(BUILD)/revision: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(REVISION)' | cmp -s - $@ || echo '$(VERSION) $(REVISION)' > $@
.PHONY: FORCE

# A folder that was built with CUDA, NCCL or MPI, and now is not, or the other way: what asks for them is made anew.
HAVE := $(filter -DSF_HAVE_%,$(DEFS))
$(patsubst %.c,$(BUILD)/%.o,$(shell grep -l SF_HAVE_ $(SRCS))): $(BUILD)/have
$(BUILD)/have: FORCE
	@mkdir -p $(@D)
	@echo '$(HAVE)' | cmp -s - $@ || echo '$(HAVE)' > $@

$(BUILD)/kernels/cpu/%.o: ALL_CFLAGS += -O3 -ffp-contract=fast
$(BUILD)/kernels/reference/%.o: ALL_CFLAGS += -O3
AMX := -mavx512bf16 -mamx-tile -mamx-bf16
# The instruction set of a file: flags, since clang has no pragma for it, and gcc 12 that only preprocesses, as ccache lets it,
# passes over its own.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$(BUILD)/kernels/cpu/isa_avx2.o: ALL_CFLAGS += -march=x86-64-v3
$(BUILD)/kernels/cpu/isa_avx512.o: ALL_CFLAGS += -march=x86-64-v4
$(BUILD)/kernels/cpu/isa_vnni.o: ALL_CFLAGS += -march=x86-64-v4 -mavx512vnni
$(BUILD)/kernels/cpu/isa_amx.o: ALL_CFLAGS += -march=x86-64-v4 $(AMX)
endif

# Texts that objects embed (base/embed.h).
$(BUILD)/tasks/words.o: tasks/data/words.txt
$(BUILD)/tasks/haystack.o: tasks/data/haystack.txt
$(BUILD)/tasks/story.o: tasks/stories/phrases.txt
$(BUILD)/tasks/qa_data.o: $(wildcard tasks/data/qa_*)
$(BUILD)/harness/report/interactive.o: $(wildcard harness/report/page/*)

$(BUILD)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,NVCC)
	$(Q)$(NVCC) $(NVCC_FLAGS) -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(SANITIZE) -rdynamic -o $@ $< $(LIB) -lcmocka $(LIBS)

# Plug-ins to load and to refuse; they find Frontier's functions in the program that loads them.
PLUGINS := $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(wildcard tests/plugin/*.c))
$(BUILD)/tests/plugin/%.so: tests/plugin/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC -shared -o $@ $<
$(BUILD)/tests/test_methods_plugin: | $(PLUGINS)

# What tests/faults preloads; apart from the build's flags, since no sanitizer can be in them.
SHIMS := $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(wildcard tests/faults/*.c))
$(BUILD)/tests/faults/%.so: tests/faults/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -O1 -g $(WARN) -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl

-include $(OBJS:.o=.d) $(BUILD)/harness/cli/main.d $(patsubst %.c,$(BUILD)/%.d,$(wildcard tests/*.c)) $(PLUGINS:.so=.d)

help: ## this list
	@awk -F':.*## ' '/^[a-zA-Z0-9_\/%.-]+:.*## /{printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

features: ## what was found on this machine
	@echo "compiler   $$($(CC) --version | head -n 1)"
	@for p in $(PKGS); do printf '%-10s %s\n' "$$p" "$$(pkg-config --modversion $$p 2>/dev/null || echo 'not found: make deps')"; done
	@echo "CUDA       $(if $(filter 1,$(CUDA)),$(NVCC) for sm_$(subst $() $(), sm_,$(CUDA_ARCH)),not found: CPU only)"
	@echo "MPI        $(if $(filter 1,$(MPI)),$$(command -v $(MPICC)),not found: one machine only)"
	@echo "NCCL       $(if $(filter 1,$(NCCL)),found,not found: a model on one GPU only)"
	@echo "gnuplot    $$(command -v gnuplot || echo 'not found: make deps (needed for figures)')"

# ---- packages (Debian, Ubuntu) ---------------------------------------------------------------------------------------
DEB := gcc libc6-dev make pkg-config git ca-certificates libopenblas-dev libhdf5-dev libyaml-dev libjansson-dev libonig-dev \
       libpcre2-dev libutf8proc-dev libxxhash-dev libcmocka-dev libopenmpi-dev openmpi-bin gnuplot-nox fonts-dejavu-core libjs-d3 \
       help2man python3 python3-pip
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

deps: ## install the Debian or Ubuntu packages that are missing
	@missing=""; for p in $(DEB); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ -n "$(SUDO)" ] && ! { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then \
	    echo "Packages are missing. Install them as root with:"; echo "  apt-get update && apt-get install -y$$missing"; exit 1; fi; \
	echo "Installing:$$missing"; \
	$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends$$missing >/dev/null

# What needs packages runs make anew once they are there, so that they are looked for then.
AGAIN = $(MAKE) --no-print-directory

# ---- the two commands -------------------------------------------------------------------------------------------------
demo: deps ## install what is missing, build, run configs/demo.yaml, draw the plots
	@$(AGAIN) -j$$(nproc) all
	$(BIN) run configs/demo.yaml
	$(BIN) report results/demo.h5 --quiet

test: deps ## install what is missing, build, run every test
	@$(AGAIN) -j$$(nproc) all tests
	@tests/run $(BUILD)

tests: $(TESTS) $(SHIMS) ## build the tests, run none (one: make build/tests/test_NAME)

test-cuda: ## the CUDA backend: parity with the reference, the engine, every method (needs a GPU)
	@tests/cuda.sh

lengths: $(BUILD)/tests/tools/lengths models/smollm2-135m ## table of sample lengths: tasks, 1k to 128k, two tokenizers (minutes)
	$(PYTHON) tests/tools/qa_files.py build/lengths
	$< tests/tools/lengths.yaml tests/golden/tokenizer/gemma.json:gemma3

bench: all ## measure speed (nothing else should run)
	$(BIN) bench

# Frames kept after their function's return, which gcc 13 does by itself, do not have the 64 bytes' alignment of AVX-512's vectors
# where the stack is protected too, as Ubuntu's gcc does by itself: a crash in kernels that is none (GCC's PR110027).
asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(AGAIN) -j$$(nproc) BUILD=$(BUILD)-asan CUDA=0 CFLAGS='-O1 -g' \
	    SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' all tests
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:fast_unwind_on_malloc=0:handle_sigbus=0:detect_stack_use_after_return=0 \
	    LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 tests/run $(BUILD)-asan

# libomp tells the sanitizer of OpenMP's barriers, through archer; gcc's libgomp does not, and races are seen that are none.
TSAN := backends dispatch engine pipeline report stats store tensor
tsan: ## races: the tests that work with threads, under ThreadSanitizer (needs clang, libomp)
	@$(AGAIN) -j$$(nproc) BUILD=$(BUILD)-tsan CUDA=0 MPI=0 CC=clang CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread \
	    all $(TSAN:%=$(BUILD)-tsan/tests/test_%)
	@OMP_NUM_THREADS=4 OPENBLAS_NUM_THREADS=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1:allocator_may_return_null=1 \
	    tests/run $(BUILD)-tsan $(TSAN:%=test_%)

# Any bytes into a reader, under sanitizers. tests/fuzz/fuzz_NAME.py, if there, writes seeds. Needs clang. What a target does
# not need of the library is not linked.
FUZZ_SECONDS ?= $(if $(filter command,$(firstword $(origin SECONDS))),$(SECONDS),600) # make fuzz SECONDS=60
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)-fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz: $(FUZZ:%=%.ran) ## each reader on random bytes, SECONDS=600 (needs clang)
fuzzers: $(FUZZ) ## build them alone
FUZZ_CFLAGS ?= -O1 -g
FUZZ_CC = clang -std=c11 $(FUZZ_CFLAGS) $(DEFS) $(INCS) -fno-sanitize-recover=undefined -Wno-unknown-pragmas -MMD -MP
FUZZ_OBJS = $(patsubst %.c,$(BUILD)-fuzz/obj/%.o,$(SRCS))
FUZZ_ISA = $(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v)
$(BUILD)-fuzz/obj/kernels/cpu/isa_avx2.o: FUZZ_CC += $(FUZZ_ISA:%=%3)
$(BUILD)-fuzz/obj/kernels/cpu/isa_avx512.o: FUZZ_CC += $(FUZZ_ISA:%=%4)
$(BUILD)-fuzz/obj/kernels/cpu/isa_vnni.o: FUZZ_CC += $(FUZZ_ISA:%=%4 -mavx512vnni)
$(BUILD)-fuzz/obj/kernels/cpu/isa_amx.o: FUZZ_CC += $(FUZZ_ISA:%=%4 $(AMX))
$(BUILD)-fuzz/obj/harness/run/version.o: FUZZ_CC += -DSF_VERSION='"fuzz"' -DSF_REVISION='""'
$(BUILD)-fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
$(BUILD)-fuzz/libfrontier.a: $(FUZZ_OBJS)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^
$(BUILD)-fuzz/%: tests/fuzz/%.c $(BUILD)-fuzz/libfrontier.a
	$(call say,FUZZ)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $< $(@D)/libfrontier.a -Wl,--gc-sections $(LIBS:-fopenmp=) -lgomp
-include $(FUZZ_OBJS:.o=.d) $(FUZZ:%=%.d)
$(BUILD)-fuzz/%.ran: $(BUILD)-fuzz/% $(BIN)
	@mkdir -p $<.corpus
	@if [ -e tests/fuzz/$*.py ]; then FRONTIER=$(BIN) $(PYTHON) tests/fuzz/$*.py $<.corpus; fi
	$< -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -artifact_prefix=$<. $<.corpus

faults: all tests ## every write, sync, rename and allocation of a run fails in turn; kills; plug-ins that crash (CPU-hours)
	JOBS=$$(nproc) tests/faults/io.sh
	JOBS=$$(nproc) tests/faults/alloc.sh
	JOBS=$$(nproc) KILLS=2000 tests/faults/kills.sh
	JOBS=$$(nproc) PAIRS=200 tests/faults/pairs.sh
	JOBS=$$(nproc) ALL=1 tests/cli/apart.sh
	ALL=1 tests/cli/task_plugin.sh
	tests/faults/ranks.sh
	KILLS=200 tests/cli/kill.sh
	FRONTIER_KILLS=200 $(BUILD)/tests/test_store
	FRONTIER_DAMAGES=2000 $(BUILD)/tests/test_store_damage

models/smollm2-135m: ## get SmolLM2-135M-Instruct (98 MB), for configs/smollm2-*.yaml
	@models/get.sh smollm2-135m $@

models/gemma3-270m: ## get Gemma 3 270M (253 MB, under Google's terms), for configs/gemma3-ruler.yaml
	@models/get.sh gemma3-270m $@

# A page a command, from its own --help.
MAN := $(BUILD)/man/frontier.1
man: $(MAN) ## manual pages in BUILD/man, from --help (needs help2man)
$(MAN): $(BIN)
	@command -v help2man >/dev/null || { echo "help2man is missing: make deps"; exit 1; }
	@mkdir -p $(@D)
	$(call say,MAN)
	@harness/cli/man.sh $(BIN) $(VERSION) $(@D)

# `make install MAN=` leaves the manual out.
# What plug-ins include: the two contracts, and what methods and tasks are written with.
PLUGIN_HEADERS := $(addprefix base/,status.h param.h splitmix.h) $(addprefix kernels/,tensor.h pattern.h attention.h) \
                  methods/method.h $(addprefix tasks/,task.h prompt.h text.h random.h score.h answer.h unicode.h unique.h words.h)

install: all $(MAN) ## install under PREFIX (default /usr/local): program, manual, completion, headers for plug-ins, templates, demo and its models
	install -D $(BIN) $(DESTDIR)$(PREFIX)/bin/frontier
	for f in $(if $(MAN),$(BUILD)/man/*.1); do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/man/man1/$${f##*/}; done
	install -D -m 644 harness/cli/completion/frontier.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/frontier
	install -D -m 644 harness/cli/completion/_frontier $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_frontier
	for h in $(PLUGIN_HEADERS); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/frontier/$$h; done
	for f in plots/*.gp configs/demo.yaml configs/models/*.yaml models/verify.py models/frontier-mini/README.md models/frontier-mini/[sml]/*; do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/frontier/$$f; done

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz
