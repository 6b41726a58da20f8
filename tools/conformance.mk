# The same scripts at nats-server and at ours (tests/conformance/): make conformance [SEED=1] [SCRIPTS=400] [SECONDS=0] [ONLY=n]
.PHONY: conformance
conformance: all ## differences from nats-server: make conformance [SEED=n] [SCRIPTS=n] [SECONDS=n] [ONLY=script]
	@MILLRACE=$(BIN)/millrace sh tests/conformance/run.sh $(if $(SEED),-seed $(SEED)) $(if $(SCRIPTS),-scripts $(SCRIPTS)) \
	  $(if $(SECONDS),-seconds $(SECONDS)) $(if $(ONLY),-only $(ONLY))
