# Every recipe makes its own environment (tools/run); `make demo` needs nothing but Python 3.11+ and make.
EVENTS ?= 200000
LAKE ?=
ARGS ?=
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test spark-test fault mutations compose-test lint bench audit sbom terraform clean

help: ## list the recipes
	@echo "usage: make RECIPE [NAME=VALUE…]"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1  \t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## everything once, nothing else installed (EVENTS=200000 LAKE=folder)
	tools/run playlake demo --events $(EVENTS) $(if $(LAKE),--lake '$(LAKE)')

test: ## all tests, against a real Apache Kafka (ARGS='-k verify' JOBS=4)
	tools/chromium >/dev/null && tools/promtool >/dev/null
	tools/run --dev pytest -n $(JOBS) --dist worksteal $(ARGS)

spark-test: ## gold on a Spark cluster with the lake on S3, compared with DuckDB's: minutes
	tools/run --dev pytest --long tests/integration/test_gold_on_spark_cluster.py $(ARGS)

fault: ## the fault suite with 20 seeds each, for hours (ARGS='--seed 7' for one, '--seeds 20 --rotate' in 3)
	tools/run --dev pytest -n $(JOBS) --dist worksteal tests/fault $(or $(ARGS),--seeds 20) --junitxml build/fault.xml; \
	ended=$$?; tools/run --dev python tools/fault_table.py build/fault.xml && exit $$ended

mutations: ## break the product in named ways, for each of which a fault test must fail (ARGS='epoch' for some)
	tools/run --dev python -m tests.mutations $(ARGS)

compose-test: ## the compose stacks for real: kill a worker, scale, verify (ARGS='--keep' leaves it up)
	tools/chromium >/dev/null
	tools/run --dev python -m tests.compose $(ARGS)

lint: ## ruff, mypy, import rules
	tools/run --dev ruff check .
	tools/run --dev ruff format --check .
	tools/run --dev mypy
	tools/run --dev lint-imports

bench: ## worker and producer against the tuned loop, as ratios (ARGS='--events 2000000')
	tools/run --dev python -m bench $(ARGS)

audit: ## known vulnerabilities of what the image holds; says so where the service can't be asked
	python3 tools/audit.py $(ARGS)

sbom: ## what the image holds, as CycloneDX, on standard output
	@uv export --frozen --quiet --no-dev --extra dashboard --no-header --format cyclonedx1.5

terraform: ## deploy/terraform against the AWS provider's schema, by way of npm
	tools/run --dev python tools/terraform.py

clean: ## remove the environments and caches; never a lake
	rm -rf .venv .uv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
