# adapterd. `make` builds, `make run` shows it, `make test` proves it. Only run, test and deps install packages.

BUILD  ?= build
PREFIX ?= /usr/local
CC     ?= gcc
SHELL  := /bin/bash

VERSION := $(shell cat VERSION)

# SANITIZE=address,undefined or thread: used by test-asan and test-tsan, with a build directory of their own.
SANITIZE ?=
ifeq ($(SANITIZE),)
HARDENING := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero
else
HARDENING := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ARCH := $(shell uname -m)
ifeq ($(ARCH),x86_64)
HARDENING += -fcf-protection=full
KERNEL_ARCH := -march=x86-64-v3 -mtune=generic
endif

# No fast-math and no contraction: the order and rounding of every float operation is a promise to tenants.
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -DADAPTERD_VERSION='"$(VERSION)"' -I. -O2 -g -pthread \
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
	-Wformat=2 -Wundef -Wwrite-strings -fno-math-errno -ffp-contract=off -fPIE $(HARDENING) $(CFLAGS)
LDFLAGS_ALL := -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

PKG_CFLAGS = $(shell pkg-config --cflags $(1) 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(1) 2>/dev/null)
DAEMON_LIBS = $(call PKG_LIBS,libmicrohttpd jansson sqlite3 libpcre2-8 libutf8proc nettle openblas) -lm
CTL_LIBS    = $(call PKG_LIBS,libcurl jansson nettle) -lm
CFLAGS_ALL += $(call PKG_CFLAGS,libmicrohttpd jansson sqlite3 libpcre2-8 libutf8proc nettle openblas libcurl)

sources = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
# `make V=1` shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

CORE_SRC     := $(call sources,core)
ADAPTERS_SRC := $(call sources,adapters)
SERVER_SRC   := $(call sources,server)
CLI_SRC      := $(call sources,cli)
TEST_SRC     := $(call sources,tests/unit tests/kernels tests/golden)
TESTS        := $(patsubst %.c,$(BUILD)/%,$(filter %_test.c,$(TEST_SRC)))
TEST_HELPERS := $(call objects,$(filter-out %_test.c,$(TEST_SRC)))
MIGRATIONS   := $(sort $(wildcard migrations/*.sql))

LIB_OBJ := $(call objects,$(CORE_SRC) $(ADAPTERS_SRC)) $(BUILD)/gen/migrations.o

.PHONY: all run test test-unit test-e2e test-asan test-tsan docker-test deps install clean format format-check
all: $(BUILD)/adapterd $(BUILD)/adapterctl

$(BUILD)/adapterd: $(call objects,$(SERVER_SRC)) $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(DAEMON_LIBS)

$(BUILD)/adapterctl: $(call objects,$(CLI_SRC)) $(call objects,$(call sources,core/base))
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(CTL_LIBS)

$(BUILD)/libadapterd.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

$(BUILD)/%.o: %.c VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) $(FILE_CFLAGS) -MMD -MP -c -o $@ $<

# The compute kernels may use what every supported machine has; the rest of the code stays portable.
$(BUILD)/core/kernels/%.o: FILE_CFLAGS := -O3 $(KERNEL_ARCH)
ifeq ($(ARCH),x86_64)
$(BUILD)/core/kernels/r16_avx512.o: FILE_CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512vnni
$(BUILD)/core/kernels/r16_avxvnni.o: FILE_CFLAGS += -mavxvnni
endif

# Each migration becomes one C string: the binary carries its own schema.
$(BUILD)/gen/migrations.c: $(MIGRATIONS) adapters/migrations.awk
	@mkdir -p $(@D)
	$(Q)awk -f adapters/migrations.awk $(MIGRATIONS) > $@
$(BUILD)/gen/migrations.o: $(BUILD)/gen/migrations.c
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(TESTS): $(BUILD)/%: $(BUILD)/%.o $(TEST_HELPERS) $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $(filter-out %.a,$^) $(BUILD)/libadapterd.a $(LDFLAGS_ALL) $(DAEMON_LIBS) -lcmocka

tests: $(TESTS)
.PHONY: tests

clean:
	rm -rf build build-*

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
format-check:
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
