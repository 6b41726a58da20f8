# Millrace. `make run` and `make test` are the two commands a newcomer needs; `make help` lists the rest.
#
# MODE=release|debug|asan|tsan|clang|fuzz|cov picks flags and an object folder (build/<mode>); programs of the release
# build land in build/bin. Objects depend on their headers (-MMD) and on the flags they were built with, so a build is
# never stale and never more than needed.

MODE ?= release
B := build/$(MODE)
BIN := $(if $(filter release,$(MODE)),build/bin,$(B)/bin)
PREFIX ?= /usr/local
DESTDIR ?=

CC := $(if $(filter clang fuzz,$(MODE)),clang,gcc)
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
  -Wold-style-definition -Wpointer-arith -Wcast-align -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla \
  -Wimplicit-fallthrough -Wnull-dereference -Werror
ifeq ($(CC),clang)
WARN += -Wthread-safety
endif
ifeq ($(CC),gcc)
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches
endif
OPT_release := -O2 -g -D_FORTIFY_SOURCE=3
OPT_clang := -O2 -g -D_FORTIFY_SOURCE=2
OPT_debug := -O0 -g3 -DMR_SLOW_ASSERTS
OPT_asan := -O1 -g -DMR_SLOW_ASSERTS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
OPT_fuzz := -O1 -g -DMR_SLOW_ASSERTS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
  -fno-omit-frame-pointer
OPT_cov := -O0 -g --coverage
CFLAGS := -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT_$(MODE)) -fstack-protector-strong -fno-strict-aliasing -pthread
LDFLAGS := $(filter -fsanitize% --coverage,$(OPT_$(MODE))) -pthread
# a hundred test programs: gold, where there is one, links each in a tenth of the time
TEST_LD := $(if $(filter-out fuzz,$(MODE)),$(if $(shell command -v ld.gold),-fuse-ld=gold))
LIBS := -luv -lsqlite3 -lzstd -lcrypto -lsodium -ljson-c -lisal -lxxhash -lhttp_parser -lcrypt -lm
ifneq ($(filter release clang,$(MODE)),)
LIBS += -ljemalloc
endif

SRC := $(sort $(wildcard engine/*.c engine/base/*.c kv/*.c objstore/*.c raft/*.c broker/*.c))
MAINS := broker/main.c
LIB_SRC := $(filter-out $(MAINS),$(SRC)) $(B)/migrations.c
LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out $(B)/migrations.c,$(LIB_SRC))) $(B)/migrations.o
LIB := $(B)/libmillrace.a
TESTLIB_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/lib/*.c)))
UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c tests/sim/test_*.c))
UNIT := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
FUZZ := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
INTEGRATION := $(sort $(wildcard tests/integration/*.sh tests/integration/*.py))
# what integration scripts learn of the build
TEST_ENV = MILLRACE=$(BIN)/millrace JSADMIN=$(BIN)/jsadmin FUZZ_PROGRAMS=$(B)/tests/fuzz
PROGS := $(if $(wildcard broker/main.c),$(BIN)/millrace) $(if $(wildcard tools/jsadmin.c),$(BIN)/jsadmin)

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help setup run test unit integration debug asan tsan clang lint format fuzz fuzz-smoke fuzz-proof install clean FORCE

all: $(LIB) $(PROGS) ## build the programs (build/bin/millrace, jsadmin, and the alias nats-server)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile tools/*.mk 2>/dev/null | sed -E 's/:[^#]*## /|/' | \
	  awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo "  variables: MODE=release|debug|asan|tsan|clang|fuzz|cov  T=part of a test's name  STORE=folder PORT=n (run)"
	@echo "             DESTDIR= PREFIX= ALIAS=1 (install)  FUZZ_SECONDS=n FUZZ_SEED=n (fuzz-smoke)  FIX=1 (format)"

# --- building -------------------------------------------------------------------------------------------------------

$(LIB): $(LIB_OBJ) $(B)/objects
	@rm -f $@
	@ar rcs $@ $(LIB_OBJ)

# Written only when the flags change; or the list of objects, so that a removed source leaves the library too.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) | $(LDFLAGS) $(LIBS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) | $(LDFLAGS) $(LIBS)' > $@
$(B)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJ)' | cmp -s - $@ || echo '$(LIB_OBJ)' > $@

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "CC   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# migrations/NNNN_what.sql, in order, as strings in the binary
$(B)/migrations.c: $(sort $(wildcard migrations/*.sql)) tools/embed_sql.sh
	@mkdir -p $(@D)
	@sh tools/embed_sql.sh $(sort $(wildcard migrations/*.sql)) > $@
$(B)/migrations.o: $(B)/migrations.c $(B)/flags
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BIN)/millrace: $(B)/broker/main.o $(LIB)
	@mkdir -p $(@D)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
	@ln -sf millrace $(BIN)/nats-server
JSADMIN_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tools/*.c)))
$(BIN)/jsadmin: $(JSADMIN_OBJ) $(LIB)
	@mkdir -p $(@D)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $^ -lnats $(LIBS)

$(UNIT): $(B)/%: $(B)/%.o $(TESTLIB_OBJ) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) $(TEST_LD) -o $@ $(filter %.o,$^) $(LIB) -lcmocka $(LIBS)

# libFuzzer programs with MODE=fuzz; in every other mode the same targets replay files.
$(FUZZ): $(B)/%: $(B)/%.o $(TESTLIB_OBJ) $(if $(filter fuzz,$(MODE)),,$(B)/tests/fuzz/replay.o) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) $(TEST_LD) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) -o $@ $(filter %.o,$^) $(LIB) -lcmocka $(LIBS)
fuzz: $(FUZZ)

# --- running --------------------------------------------------------------------------------------------------------

setup: ## install the Debian packages that building and testing need
	@sh tools/setup.sh build test

run: ## build and start a server with JetStream: make run [STORE=folder] [PORT=n]
	@sh tools/setup.sh build
	@$(MAKE) --no-print-directory -j$(shell nproc) MODE=release all
	@sh tools/run.sh "$(STORE)" "$(PORT)"

# --- tests ----------------------------------------------------------------------------------------------------------

test: ## set up, build, run unit and integration tests
	@sh tools/setup.sh build test
	@$(MAKE) --no-print-directory -j$(shell nproc) MODE=$(MODE) all test-programs
	@$(TEST_ENV) python3 tests/run.py -k "$(T)" $(UNIT) $(INTEGRATION)

unit: $(UNIT) ## unit tests only; T=name runs those whose path holds the name
	@python3 tests/run.py -k "$(T)" $(UNIT)

integration: all $(FUZZ) ## integration tests only (scripts that drive the real binary)
	@$(TEST_ENV) python3 tests/run.py -k "$(T)" $(INTEGRATION)

.PHONY: test-programs
test-programs: $(UNIT) $(FUZZ)

debug: ## build without optimisation, with slow asserts (build/debug)
	@$(MAKE) --no-print-directory MODE=debug all
asan: ## all tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory MODE=asan test
tsan: ## unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory MODE=tsan unit
clang: ## build everything with clang
	@$(MAKE) --no-print-directory MODE=clang all test-programs

lint: ## layers, banned calls, sizes, text, READMEs, untested sources, format
	@sh tools/lint.sh
format: ## show what clang-format would change; FIX=1 changes it
	@sh tools/format.sh $(FIX)
fuzz-smoke: ## run each fuzz target for FUZZ_SECONDS (10) under the sanitizers
	@FUZZ_SEED=$(FUZZ_SEED) sh tools/fuzz.sh $(or $(FUZZ_SECONDS),10) $(T)
fuzz-proof: ## run each fuzz target for CPU_SECONDS (900) of user CPU time in one go
	@$(MAKE) --no-print-directory MODE=fuzz fuzz
	@python3 tools/fuzz_proof.py $(or $(CPU_SECONDS),900) $(T)

install: all ## install millrace and jsadmin under DESTDIR/PREFIX; ALIAS=1 adds nats-server
	@sh tools/install.sh "$(DESTDIR)$(PREFIX)/bin" "$(ALIAS)" $(PROGS)

clean: ## remove everything that was built
	rm -rf build

# Targets of parts that come with their own file: bench, crash, mutants, demo, ...
-include $(wildcard tools/*.mk)
-include $(shell find $(B) -name '*.d' 2>/dev/null)
