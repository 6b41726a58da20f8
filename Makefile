# Millrace. `make run` and `make test` are the two commands a newcomer needs; `make help` lists the rest.
#
# MODE=release|debug|asan|tsan|clang picks flags and an object folder (build/<mode>); programs of the release build
# land in build/bin.

MODE ?= release
B := build/$(MODE)
BIN := $(if $(filter release,$(MODE)),build/bin,$(B)/bin)

CC := $(if $(filter clang,$(MODE)),clang,gcc)
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
  -Wold-style-definition -Wpointer-arith -Wcast-align -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla \
  -Wimplicit-fallthrough -Wnull-dereference -Werror
ifeq ($(CC),gcc)
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches
endif
OPT_release := -O2 -g -D_FORTIFY_SOURCE=3
OPT_clang := -O2 -g -D_FORTIFY_SOURCE=2
OPT_debug := -O0 -g3 -DMR_SLOW_ASSERTS
OPT_asan := -O1 -g -DMR_SLOW_ASSERTS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan := -O1 -g -fsanitize=thread
CFLAGS := -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT_$(MODE)) -fstack-protector-strong -fno-strict-aliasing -pthread
LDFLAGS := $(filter -fsanitize%,$(OPT_$(MODE))) -pthread
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
PROGS := $(if $(wildcard broker/main.c),$(BIN)/millrace) $(if $(wildcard tools/jsadmin.c),$(BIN)/jsadmin)

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all unit
all: $(LIB) $(PROGS)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "CC   $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# migrations/NNNN_what.sql, in order, as strings in the binary
$(B)/migrations.c: $(sort $(wildcard migrations/*.sql)) tools/embed_sql.sh
	@mkdir -p $(@D)
	@sh tools/embed_sql.sh $(sort $(wildcard migrations/*.sql)) > $@
$(B)/migrations.o: $(B)/migrations.c Makefile
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BIN)/millrace: $(B)/broker/main.o $(LIB)
	@mkdir -p $(@D)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
	@ln -sf millrace $(BIN)/nats-server
$(BIN)/jsadmin: $(B)/tools/jsadmin.o $(LIB)
	@mkdir -p $(@D)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(UNIT): $(B)/%: $(B)/%.o $(TESTLIB_OBJ) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) -lcmocka $(LIBS)

# every unit test program in turn; T=name runs those whose path holds the name
unit: $(UNIT)
	@fails=0; n=0; for t in $(UNIT); do case $$t in *$(T)*) ;; *) continue;; esac; n=$$((n+1)); \
	  if timeout 120 $$t > $$t.log 2>&1; then echo "ok   $$t"; else echo "FAIL $$t"; tail -40 $$t.log; fails=$$((fails+1)); fi; \
	  done; echo "unit: $$n programs, $$fails failed"; test $$fails = 0

-include $(shell find $(B) -name '*.d' 2>/dev/null)
