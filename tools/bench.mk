# Figures beside a real nats-server (tests/bench/bench.py), and the restart of a large store.
.PHONY: bench bench-restart
bench: all ## figures beside nats-server from the Go registry: make bench [ROW=part] [RUNS=5]
	@MILLRACE=$(BIN)/millrace python3 tests/bench/bench.py --runs $(or $(RUNS),5) --row "$(ROW)"
bench-restart: all ## restart after SIGKILL of 5 million messages, with 1,000 checked reads
	@MILLRACE=$(BIN)/millrace python3 tests/bench/restart.py
