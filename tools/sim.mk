# Simulation: crash sweep, bit flips, walks, faults. Worlds in tests/sim/sim_*.c, a program for each other file there.
SIM_LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/sim/sim_*.c)))
SIM_PROGS := $(patsubst %.c,$(B)/%,$(filter-out tests/sim/sim_%.c tests/sim/test_%.c,$(sort $(wildcard tests/sim/*.c))))
$(SIM_PROGS): $(B)/%: $(B)/%.o $(SIM_LIB_OBJ) $(LIB)
	@echo "LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: sim-progs crash
sim-progs: $(SIM_PROGS)
test-programs integration: $(SIM_PROGS)
INTEGRATION += $(SIM_PROGS) # without arguments each runs its share of `make test`

CRASHES ?= 100000
SEED ?= 1
crash: $(SIM_PROGS) ## crash sweep: CRASHES=100000 SEED=1 [TIME=seconds]
	@$(B)/tests/sim/crash_sweep --count $(CRASHES) --seed $(SEED) $(if $(TIME),--time $(TIME)) --seeds tests/sim/seeds.txt
