# Mutants: one-line bugs that the tests must catch (tests/mutants/*.patch).
.PHONY: mutants
mutants: ## each patch of tests/mutants must make the test fail that it names: make mutants [T=part of a name]
	@sh tools/mutants.sh "$(T)"
