# Frontier: a benchmarking harness for sparse attention. `make help` lists what can be made.
#
#   make BUILD=dir        build elsewhere          make WERROR=1      warnings are errors (as in CI)
#   make CUDA=0           leave CUDA out           make CUDA_ARCH=90a GPU architectures, e.g. "80 90a"
.DEFAULT_GOAL := all
SHELL := /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
PYTHON ?= python3

# ---- features: looked for once, printed by `make features` ---------------------------------------------------------
PKGS := hdf5 yaml-0.1 jansson libpcre2-8 libutf8proc libxxhash
NVCC ?= $(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc 2>/dev/null))
CUDA ?= $(if $(NVCC),1,0)
CUDA_ARCH ?= 80 90a
CUDA_HOME := $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror)
DEFS := -D_GNU_SOURCE
INCS := -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lopenblas -lm -ldl -fopenmp
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) $(DEFS) $(INCS) -fopenmp -fno-math-errno -MMD -MP $(SANITIZE)

ROOMS := kernels kernels/reference kernels/cpu methods tasks harness harness/model
SRCS := $(filter-out harness/main.c,$(wildcard $(ROOMS:%=%/*.c)))
OBJS := $(SRCS:%.c=$(BUILD)/%.o)
ifeq ($(CUDA),1)
DEFS += -DSF_HAVE_CUDA
OBJS += $(patsubst %.cu,$(BUILD)/%.cu.o,$(wildcard kernels/cuda/*.cu))
LIBS += -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart -lcublas -lcublasLt -lstdc++
NVCC_FLAGS = -O3 -lineinfo -std=c++17 -I. -Xcompiler -Wall,-Wextra$(if $(WERROR),$(comma)-Werror) $(if $(WERROR),-Werror all-warnings) \
             $(foreach a,$(CUDA_ARCH),-gencode=arch=compute_$(a),code=sm_$(a)) -MMD -MP
comma := ,
endif

TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
LIB := $(BUILD)/libfrontier.a
BIN := $(BUILD)/frontier

.PHONY: all help features deps demo test bench asan valgrind install clean
.SECONDARY:

all: $(BIN) ## build build/frontier

$(BIN): $(BUILD)/harness/main.o $(LIB)
	$(CC) $(SANITIZE) -rdynamic -o $@ $< -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive $(LIBS)

$(LIB): $(OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The revision goes into one object, made anew when it changes.
REVISION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
$(BUILD)/harness/version.o: ALL_CFLAGS += -DSF_REVISION='"$(REVISION)"'
$(BUILD)/harness/version.o: $(BUILD)/revision
$(BUILD)/revision: FORCE
	@mkdir -p $(@D)
	@echo '$(REVISION)' | cmp -s - $@ || echo '$(REVISION)' > $@
.PHONY: FORCE

$(BUILD)/kernels/cpu/%.o: ALL_CFLAGS += -O3

$(BUILD)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(LIB)
	$(CC) $(SANITIZE) -o $@ $< $(LIB) -lcmocka $(LIBS)

-include $(OBJS:.o=.d) $(BUILD)/harness/main.d $(TESTS:%=%.d)

help: ## this list
	@awk -F':.*## ' '/^[a-zA-Z0-9_\/%.-]+:.*## /{printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: $(TESTS) ## build and run every test
	@set -e; for t in $(TESTS); do echo "== $$t"; $$t; done

clean: ## remove what was built
	rm -rf $(BUILD)
