module millrace/tests/conformance

go 1.26.0

require (
	github.com/nats-io/jsm.go v0.4.1
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.2
	golang.org/x/text v0.36.0
)
