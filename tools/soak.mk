# Hours of mixed load, kills and full disks (tests/soak/): make soak [HOURS=0.5] [SOAK_SEED=n] [SOAK_ARGS="--keep"]
HOURS ?= 0.5
.PHONY: soak
soak: all ## mixed load with kills, slow readers, full disks; flat or not: HOURS=0.5 SOAK_SEED=n
	@$(TEST_ENV) python3 -B tests/soak/soak.py --hours $(HOURS) $(if $(SOAK_SEED),--seed $(SOAK_SEED)) $(SOAK_ARGS)
