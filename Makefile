# adapterd. `make` builds, `make run` shows it, `make test` proves it. Only run, test and deps install packages.

BUILD  ?= build
PREFIX ?= /usr/local
CC     ?= gcc
SHELL  := /bin/bash

VERSION := $(shell cat VERSION)

# The options among those given that the compiler knows (clang before 16 has no -ftrivial-auto-var-init=zero).
accepted = $(foreach option,$(1),$(shell echo 'int x;' | $(CC) -Werror $(option) -x c -c -o /dev/null - 2>/dev/null && echo $(option)))

# SANITIZE=address,undefined or thread: used by test-asan and test-tsan, with a build directory of their own.
SANITIZE ?=
ifeq ($(SANITIZE),)
HARDENING := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection $(call accepted,-ftrivial-auto-var-init=zero)
else
# GCC sees uninitialized variables where there are none once it instruments the code.
HARDENING := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer $(call accepted,-Wno-maybe-uninitialized)
endif
ARCH := $(shell uname -m)
ifeq ($(ARCH),x86_64)
HARDENING += -fcf-protection=full
# Debian's startup files lack the note of control-flow protection, with which the linker drops it for the whole program. Nothing in
# them breaks a shadow stack, so that half is said here; for indirect branches it is left to the startup files, which must agree.
LINK_CET := -Wl,-z,shstk
KERNEL_ARCH := -march=x86-64-v3 -mtune=generic
endif

# WERROR=1 makes warnings errors: for those who work on the code and for CI. What users build does not fail for what a newer compiler
# has to say.
WERROR ?=

# No fast-math and no contraction: the order and rounding of every float operation is a promise to tenants.
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -DADAPTERD_VERSION='"$(VERSION)"' -I. -O2 -g -pthread \
	-Wall -Wextra $(if $(WERROR),-Werror) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
	-Wformat=2 -Wundef -Wwrite-strings -fno-math-errno -ffp-contract=off -fPIE $(HARDENING) $(CFLAGS)
LDFLAGS_ALL := -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack $(LINK_CET) -Wl,--as-needed \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

LIBRARIES := libmicrohttpd jansson sqlite3 libpcre2-8 libutf8proc nettle openblas libcurl

# Whatever compiles needs the packages; these goals do not, or install them first.
NOT_COMPILING := run compilers test test-asan test-tsan fuzz docker-test deps clean format format-check
ifneq ($(filter-out $(NOT_COMPILING),$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell command -v $(CC) >/dev/null && pkg-config --exists $(LIBRARIES) 2>/dev/null && echo yes),yes)
$(error packages are missing: run `make deps` as root (scripts/deps.sh lists them))
endif
endif

PKG_CFLAGS = $(shell pkg-config --cflags $(1) 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(1) 2>/dev/null)
DAEMON_LIBS = $(call PKG_LIBS,libmicrohttpd jansson sqlite3 libpcre2-8 libutf8proc nettle openblas) -lm
CTL_LIBS    = $(call PKG_LIBS,libcurl jansson nettle) -lm
CFLAGS_ALL += $(call PKG_CFLAGS,$(LIBRARIES))

sources = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
# `make V=1` shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

# Kernels of another architecture stay out.
CORE_SRC     := $(filter-out $(if $(filter x86_64,$(ARCH)),core/kernels/arm/%,core/kernels/x86/%),$(call sources,core))
ADAPTERS_SRC := $(call sources,adapters)
SERVER_SRC   := $(call sources,server)
CLI_SRC      := $(call sources,cli)
TEST_SRC     := $(call sources,tests/unit tests/kernels tests/golden tests/fault)
TESTS        := $(patsubst %.c,$(BUILD)/%,$(filter %_test.c,$(TEST_SRC)))
# What power_test defines stands before the C library's, so no other test may have it; adapterctl's restore is under its test, too.
POWER_HELPERS := $(call objects,$(filter tests/fault/power/%,$(filter-out %_test.c,$(TEST_SRC))) cli/commands/copy.c cli/lib/interrupt.c cli/commands/restore.c)
TEST_HELPERS := $(filter-out $(POWER_HELPERS),$(call objects,$(filter-out %_test.c,$(TEST_SRC))))
MIGRATIONS   := $(sort $(wildcard migrations/*.sql))

# Programs that measure; bench/*.py drives them.
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,make_model make_gguf kernels engine rewriting training accuracy registered streams grammar)
BENCH_HELPERS  := $(call objects,$(filter-out $(patsubst $(BUILD)/%,%.c,$(BENCH_PROGRAMS)),$(call sources,bench)))

LIB_OBJ := $(call objects,$(CORE_SRC) $(ADAPTERS_SRC)) $(BUILD)/gen/migrations.o
SERVER_LIB_OBJ := $(call objects,$(filter-out server/main.c,$(SERVER_SRC))) $(BUILD)/gen/openapi.o $(BUILD)/gen/web.o

.DELETE_ON_ERROR:
.PHONY: all run test check test-asan test-tsan docker-test torture powerloss deps install clean format format-check
all: $(BUILD)/adapterd $(BUILD)/adapterctl

$(BUILD)/adapterd: $(BUILD)/server/main.o $(SERVER_LIB_OBJ) $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(DAEMON_LIBS)

# Of the library the linker takes what the client uses: parts of core/base, core/system and core/format, and no more.
$(BUILD)/adapterctl: $(call objects,$(CLI_SRC)) $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(CTL_LIBS)

$(BUILD)/libadapterd.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

# The daemon without its main, for tests.
$(BUILD)/libserver.a: $(SERVER_LIB_OBJ)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

# cmocka 2 calls assert_in_range deprecated; 1.1 has nothing in its place. Tables of texts have texts in several pieces.
TEST_CFLAGS := -Wno-deprecated-declarations -Wno-string-concatenation

$(BUILD)/%.o: %.c VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) $(FILE_CFLAGS) $(if $(filter $(BUILD)/tests/%,$@),$(TEST_CFLAGS)) -MMD -MP -c -o $@ $<

# Loops over numbers. Only the files in core/kernels/x86 are compiled for more than the plainest CPU: they are called once
# the CPU was asked what it has. (psabi: vectors of 32 bytes never leave a file, whatever they would be passed in.)
$(BUILD)/core/kernels/%.o $(BUILD)/core/format/dtype.o $(BUILD)/core/train/optimizer.o: FILE_CFLAGS := -O3 -Wno-psabi
ifeq ($(ARCH),x86_64)
$(BUILD)/core/kernels/x86/%.o: FILE_CFLAGS := -O3 $(KERNEL_ARCH)
$(BUILD)/core/kernels/x86/%_avx512.o: FILE_CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512vnni
$(BUILD)/core/kernels/x86/%_amx.o: FILE_CFLAGS += -mavx512f -mavx512bw -mavx512vl -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16
$(BUILD)/core/kernels/x86/%_avxvnni.o: FILE_CFLAGS += -mavxvnni
$(BUILD)/tests/kernels/emulated_%.o: FILE_CFLAGS := -Og -Wno-psabi $(KERNEL_ARCH)
endif
# What is fuzzed are readers: the kernels, which computing them needs, would take clang minutes each with all its checks.
ifneq ($(LIBFUZZER),)
$(BUILD)/core/kernels/%.o $(BUILD)/core/kernels/x86/%.o: FILE_CFLAGS += -O1 -fno-sanitize=all
endif

# Each migration becomes one C string: the binary carries its own schema.
$(BUILD)/gen/migrations.c: $(MIGRATIONS) adapters/store/sqlite/migrations.awk
	@mkdir -p $(@D)
	$(Q)awk -f adapters/store/sqlite/migrations.awk $(MIGRATIONS) > $@
# So does the description of the HTTP interface.
$(BUILD)/gen/openapi.c: server/routes/openapi.json server/routes/openapi.awk VERSION
	@mkdir -p $(@D)
	$(Q)awk -v version=$(VERSION) -f server/routes/openapi.awk $< > $@
# And the console, as it is and compressed.
WEB := $(shell find web -type f)
$(BUILD)/gen/web.c: $(WEB) server/console/embed.sh server/console/web_files.h
	@mkdir -p $(@D)
	$(Q)server/console/embed.sh web $(BUILD)/gen/web > $@
$(BUILD)/gen/web.o: $(WEB)
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(TESTS): $(BUILD)/%: $(BUILD)/%.o $(TEST_HELPERS) $(BUILD)/libserver.a $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $(filter-out %.a,$^) $(BUILD)/libserver.a $(BUILD)/libadapterd.a $(LDFLAGS_ALL) $(DAEMON_LIBS) -lcmocka

$(BUILD)/tests/fault/power/power_test: $(POWER_HELPERS)

# Targets of fuzzing: with clang's libFuzzer where LIBFUZZER is set, otherwise with a driver that any compiler builds.
LIBFUZZER ?=
FUZZ_SRC := $(call sources,tests/fuzz)
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(filter %_fuzz.c,$(FUZZ_SRC)))
$(FUZZERS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/tests/fuzz/support/fuzz.o $(if $(LIBFUZZER),,$(BUILD)/tests/fuzz/support/driver.o) $(BUILD)/libserver.a $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $(filter-out %.a,$^) $(BUILD)/libserver.a $(BUILD)/libadapterd.a $(LDFLAGS_ALL) $(if $(LIBFUZZER),-fsanitize=fuzzer) $(DAEMON_LIBS)
fuzzers: $(FUZZERS)

tests: $(TESTS) $(FUZZERS)
.PHONY: tests fuzzers

$(BUILD)/bench/peaks.o: FILE_CFLAGS := -O3 $(KERNEL_ARCH)
$(BENCH_PROGRAMS): $(BUILD)/%: $(BUILD)/%.o $(BENCH_HELPERS) $(BUILD)/libadapterd.a
	$(call say,LD)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(DAEMON_LIBS)

# Shapes to measure (0.5b, 1.5b; the first in full); where random models are made (about 5 GB); a small model that writes
# stories, for accuracy; BENCH_VOCABULARY: a directory with a tokenizer.json, for structured output; other servers, NAME=DIRECTORY of llama-server and llama-bench.
BENCH_MODELS  ?= 0.5b 1.5b
BENCH_DIR     ?= /tmp/bench-models
BENCH_STORIES ?=
BENCH_PEERS   ?=
bench-programs: $(BENCH_PROGRAMS)
bench: all bench-programs
	@BUILD=$(BUILD) bench/report --models "$(BENCH_MODELS)" --directory $(BENCH_DIR) \
		$(if $(BENCH_STORIES),--stories $(BENCH_STORIES)) $(if $(BENCH_VOCABULARY),--vocabulary $(BENCH_VOCABULARY)) $(addprefix --peer ,$(BENCH_PEERS))
.PHONY: bench bench-programs

# Packages may be missing when make reads this file, so run and test start it again once they are there.
deps:
	scripts/deps.sh build run test

run:
	@scripts/deps.sh build run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@BUILD=$(BUILD) demo/run.sh

test:
	@scripts/deps.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) all tests bench-programs
	@$(MAKE) --no-print-directory check

# The tests alone, of what is built.
check:
	@tests/run.sh $(BUILD) $(TESTS)

# The whole suite, C tests and daemon, under sanitizers.
test-asan:
	@ADAPTERD_TIMEOUT_SCALE=4 $(MAKE) --no-print-directory test BUILD=build-asan SANITIZE=address,undefined
test-tsan:
	@ADAPTERD_TIMEOUT_SCALE=10 $(MAKE) --no-print-directory test BUILD=build-tsan SANITIZE=thread

# The tree with each compiler that is there, warnings being errors: GCC 12 to 15 and clang 14 to 19 are tried before releases.
COMPILERS ?= $(foreach c,gcc clang $(addprefix gcc-,12 13 14 15) $(addprefix clang-,14 15 16 17 18 19),$(if $(shell command -v $(c)),$(c)))
compilers:
	@for cc in $(COMPILERS); do echo "== $$cc"; \
		$(MAKE) --no-print-directory WERROR=1 CC=$$cc BUILD=build-$$cc all tests bench-programs >build-$$cc.log 2>&1 || \
		{ tail -20 build-$$cc.log; exit 1; }; done
.PHONY: compilers

docker-test:
	@tests/docker_test.sh

# kill -9 in the middle of changes, many times. 10,000 take about an hour.
KILLS ?= 10000
torture: all $(BUILD)/tests/fault/registry_crash_test
	@tests/torture.sh $(BUILD) $(KILLS) $(SEED)

# Power failures: at every point of recorded lives of data directories (POWER_POINTS=600: at so many of each, 10 minutes), and N
# random states of the disk.
powerloss: $(BUILD)/tests/fault/power/power_test
	@POWER_STATES=$(or $(N),5000) $(if $(SEED),POWER_SEED=$(SEED)) $<

# The other promises that many rounds prove; N is how many (seconds of fairness).
PYTHON ?= /usr/bin/python3
promise = ADAPTERD_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -q -s --color=no tests/e2e/operations/test_promises.py -k $@
crowds: all
	@ADAPTERD_CROWDS=$(or $(N),100) $(promise)
fairness: all
	@ADAPTERD_FAIR_SECONDS=$(or $(N),60) $(promise)
disconnects: all
	@ADAPTERD_DISCONNECTS=$(or $(N),10000) $(promise)
drains: all
	@ADAPTERD_DRAINS=$(or $(N),500) $(promise)
# Answers of the demo under N JSON schemas at random, from SEED on.
schemas: all
	@ADAPTERD_SCHEMAS=$(or $(N),1000) ADAPTERD_SCHEMAS_SEED=$(or $(SEED),1) ADAPTERD_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -s --color=no tests/e2e/inference/test_schemas.py -k random
# The console in a real Chromium, with what takes long: training, restarts, 10,000 adapters, axe-core (by npm), first paint. SHOTS: a
# directory for pictures of all pages.
console-test: all
	@scripts/deps.sh console
	@ADAPTERD_CONSOLE=1 $(if $(SHOTS),ADAPTERD_CONSOLE_SHOTS=$(SHOTS)) ADAPTERD_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -rs --color=no tests/e2e/console
.PHONY: console-test
# What jobs made, loaded by PEFT and compared; PEFT_PYTHON has torch, transformers and peft. JOBS: a directory of other jobs.
PEFT_PYTHON ?= python3
peft: all
	@ADAPTERD_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 \
		$(PEFT_PYTHON) -W ignore tests/peft/loads.py $(JOBS)

# OpenAI's own clients, every call that is served: a Python that has openai, a directory whose node_modules has openai and zod.
CLIENT_PYTHON ?= python3
CLIENT_NODE   ?=
clients: all
	@ADAPTERD_BUILD=$(BUILD) ADAPTERD_CLIENT_PYTHON=$(CLIENT_PYTHON) ADAPTERD_CLIENT_NODE=$(CLIENT_NODE) PYTHONDONTWRITEBYTECODE=1 \
		python3 -m pytest -q -rs tests/e2e/inference/test_official.py
.PHONY: crowds fairness disconnects drains schemas peft clients

# Every target for FUZZ_SECONDS under AddressSanitizer and UndefinedBehaviorSanitizer, or only FUZZ_TARGETS; what is found
# on the way is kept in build-fuzz/fuzz/found and begun with the next time.
FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst tests/fuzz/%_fuzz.c,%,$(filter %_fuzz.c,$(FUZZ_SRC)))
fuzz:
	@scripts/deps.sh build fuzz
	@$(MAKE) --no-print-directory CC="$(FUZZ_CC)" BUILD=build-fuzz SANITIZE=address,undefined,fuzzer-no-link LIBFUZZER=1 fuzzers
	@PYTHON=$(PYTHON) tests/fuzz/run.sh build-fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)
.PHONY: fuzz

DESTDIR ?=
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/adapterd \
		$(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/adapterd $(BUILD)/adapterctl $(DESTDIR)$(PREFIX)/bin
	sed 's|/usr/local|$(PREFIX)|g' deploy/adapterd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/adapterd.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/adapterd.service
	install -m 644 deploy/adapterd.conf README.md CHANGELOG.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/adapterd
	install -m 644 docs/man/adapterctl.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/adapterd.8 $(DESTDIR)$(PREFIX)/share/man/man8
	for program in adapterctl adapterd; do \
		install -m 644 deploy/completion/adapterctl $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program; done

clean:
	rm -rf build build-*

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
format-check:
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
