# Client libraries at nats-server and at ours, row by row (tests/interop/): make interop [CLIENTS="go rust"]
.PHONY: interop
interop: all ## client libraries in six languages beside nats-server: make interop [CLIENTS="go js py rust java c"]
	@peer=$$(sh tools/peer.sh) || { echo "interop: no nats-server can be built here; nothing was compared"; exit 3; }; \
	  MILLRACE=$(BIN)/millrace python3 tests/interop/interop.py --peer "$$peer/nats-server" $(CLIENTS)
