# Simulation: crash sweep, bit flips, walks, faults. Worlds in tests/sim/sim_*.c, a program for each other file there.
SIM_LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/sim/sim_*.c)))
SIM_PROGS := $(patsubst %.c,$(B)/%,$(filter-out tests/sim/sim_%.c tests/sim/test_%.c,$(sort $(wildcard tests/sim/*.c))))
$(SIM_PROGS): $(B)/%: $(B)/%.o $(SIM_LIB_OBJ) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) $(TEST_LD) -o $@ $^ $(LIBS)

.PHONY: sim-progs crash
sim-progs: $(SIM_PROGS)
test-programs integration: $(SIM_PROGS)
INTEGRATION += $(SIM_PROGS) # without arguments each runs its share of `make test`

CRASHES ?= 100000
SEED ?= 1
crash: $(SIM_PROGS) ## crash sweep: CRASHES=100000 SEED=1 [TIME=seconds]
	@$(B)/tests/sim/crash_sweep --count $(CRASHES) --seed $(SEED) $(if $(TIME),--time $(TIME)) --seeds tests/sim/seeds.txt

.PHONY: flips flips-real faults walk
FLIPS ?= 100000
STEPS ?= 100000
REAL_FLIPS ?= 300
flips: $(SIM_PROGS) ## bit flips of a whole store: FLIPS=100000, or ALL=1 for every bit of every byte in use
	@$(B)/tests/sim/bit_flips --count $(FLIPS) --seed $(SEED) $(if $(ALL),--all)
flips-real: all ## bit flips in stores of the real server: REAL_FLIPS=300
	@$(TEST_ENV) FLIPS=$(REAL_FLIPS) SEED=$(SEED) python3 tests/integration/flips_real.py
faults: $(SIM_PROGS) ## each disk operation of three lives fails in turn; full disks
	@$(B)/tests/sim/disk_faults --stride 1 --seed $(SEED)
walk: $(SIM_PROGS) ## model walk: STEPS=100000
	@$(B)/tests/sim/model_walk --steps $(STEPS) --seed $(SEED)
