# Figures beside a real nats-server (tests/bench/bench.py), the restart of a large store, and the parts of the engine alone.
BENCH_PROGS := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/bench/*.c)))
$(BENCH_PROGS): $(B)/%: $(B)/%.o $(TESTLIB_OBJ) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) $(TEST_LD) -o $@ $^ -lcmocka $(LIBS)

$(B)/tests/bench/check: private LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

.PHONY: bench bench-floor bench-restart bench-progs bench-check
bench-check: $(B)/tests/bench/check ## instructions, allocations, env calls per message; RECORD=1 writes tests/bench/check.tsv
	@command -v valgrind >/dev/null || sh tools/setup.sh ci
	@python3 tests/bench/check.py $< $(if $(RECORD),--record)
bench-progs: $(BENCH_PROGS)
bench: all $(BENCH_PROGS) ## figures beside nats-server from the Go registry: make bench [ROW=part] [RUNS=5] [SCALE=1] [LARGE=1]
	@MILLRACE=$(BIN)/millrace LOAD=$(B)/tests/bench/load python3 tests/bench/bench.py --runs $(or $(RUNS),5) \
	  --row "$(ROW)" --scale $(or $(SCALE),1) $(if $(JSON),--json "$(JSON)") $(if $(LARGE),--large)
bench-floor: all $(BENCH_PROGS) ## beside what sockets and disk alone allow: synchronous publishing; OBJECTS=1: object put
	@MILLRACE=$(BIN)/millrace PROGS=$(B)/tests/bench python3 tests/bench/floor.py --runs $(or $(RUNS),3) $(if $(OBJECTS),--objects)
bench-restart: all ## restart after SIGKILL of 5 million messages, with 1,000 checked reads
	@MILLRACE=$(BIN)/millrace python3 tests/bench/restart.py
