# The main job on real input (tests/demo/demo.py): make demo [CLIENT=js|go] [KILLS=20] [ORDERS=20000] [DEMO_SEED=n]
CLIENT ?= js
KILLS ?= 20
ORDERS ?= 20000

.PHONY: demo
demo: all ## orders through three stages with unmodified clients while the server is killed: CLIENT=js|go KILLS=20 ORDERS=20000
	@MILLRACE=$(BIN)/millrace JSADMIN=$(BIN)/jsadmin python3 tests/demo/demo.py --client $(CLIENT) --kills $(KILLS) \
	  --orders $(ORDERS) $(if $(DEMO_SEED),--seed $(DEMO_SEED))
