PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
BUF := .tools/node_modules/.bin/buf
CSPELL := .tools/node_modules/.bin/cspell
PROTOS := $(wildcard proto/orchestra/v1/*.proto)
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
LOCK := --universal --python-version 3.11 --generate-hashes --no-header
CYCLONEDX := 7.5.0
SBOM := dist/cco-sidecar.cdx.json
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11
PROTOC_GEN_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0

.PHONY: help setup run start-bg stop types-table bench-cluster bench-context bench-context-peers bench-dashboard bench-documents bench-events bench-event-publish bench-event-rates bench-event-top bench-fairness bench-many bench-masking bench-restart test test-fast test-postgres test-polyglot test-cluster cluster-test test-dashboard dashboard dashboard-pictures packages sbom lint prose format gen gen-check picture lock breaking proto-baseline bench crash crash-disk event-machine chaos fuzz-api smoke build clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

setup: $(VENV)/.ready ## make .venv from the lock file, with cco in it

# What running needs, and no more.
$(VENV)/.runs: requirements-run.lock pyproject.toml clients/python/pyproject.toml
	@$(CHECK_PYTHON)
	@echo "installing the sidecar into $(VENV) (once, about a minute) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-run.lock
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r build.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

$(VENV)/.ready: requirements.lock pyproject.toml clients/python/pyproject.toml
	@$(CHECK_PYTHON)
	@echo "installing the sidecar and its development tools into $(VENV) (once, one or two minutes) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e clients/python -e .
	@touch $@ $(VENV)/.runs

run: $(VENV)/.runs ## start the sidecar on this repository (PROJECT=/path for another)
	@$(BIN)/cco orchestration-server --project-root $(or $(PROJECT),.) $(ARGS)

start-bg: setup ## start the sidecar in the background, with the ports of the Agent Orchestrator Framework, and print its addresses
	@$(BIN)/cco daemon start --compat-ports --project-root $(or $(PROJECT),.) $(ARGS)
	@$(BIN)/cco compat env

stop: setup ## stop the sidecar that start-bg started
	@$(BIN)/cco daemon stop

test: setup ## run every test
	@$(PY) -m pytest -n 2 -m "not long and not polyglot and not browser and not cluster" $(ARGS)

test-fast: setup ## run the tests that start no process: the inner loop, under a minute
	@$(PY) -m pytest -n 2 -m "not long and not polyglot and not browser and not cluster" --fast $(ARGS)

test-postgres: setup ## run the end-to-end tests with the records in PostgreSQL (TESTS=tests for all)
	@$(PY) -m pytest -n 2 -m "not long and not polyglot and not browser and not cluster" --postgres $(or $(TESTS),tests/e2e) $(ARGS)

test-cluster: setup .tools/nats/.ready ## run the bus on NATS, and the tests of the transports on NATS and PostgreSQL
	@$(PY) -m pytest -n 2 -m "cluster and not long" tests/bus tests/cli tests/cluster $(ARGS)
	@$(PY) -m pytest -n 2 -m "not long and not polyglot and not browser and not cluster" --postgres --nats \
	    $(or $(TESTS),tests/wire tests/e2e/test_scenarios.py) $(ARGS)

test-polyglot: setup .tools/go/.ready .tools/.ready ## run agents in five languages and the field's own tools against the packages as published
	@$(PY) -m pytest -m polyglot tests/polyglot $(ARGS)

lint: setup .tools/.ready dashboard/node_modules/.ready ## ruff, mypy --strict, buf lint and breaking, import-linter, prose, the picture of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(PY) scripts/picture.py --check
	$(BUF) lint
	$(BUF) format --diff --exit-code proto --path proto/orchestra
	$(MAKE) --no-print-directory breaking prose
	scripts/dashboard.sh check

format: setup .tools/.ready ## format Python and proto files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BUF) format -w proto --path proto/orchestra

prose: setup .tools/.ready ## check spelling and wording of docs, comments, help and error texts
	@rm -rf .build/prose
	@git ls-files -co --exclude-standard '*.md' '*.py' '*.proto' | grep -v '^gen/\|^proto/google/' | $(PY) scripts/prose.py .build/prose
	@cd .build/prose && $(CURDIR)/$(CSPELL) lint --config ../../cspell.json --no-progress --no-summary --show-suggestions --dot '**'

breaking: .tools/.ready ## compare the API with the one last released
	$(BUF) breaking proto --against gen/baseline.binpb

proto-baseline: .tools/.ready ## record the current API as the released one
	$(BUF) build proto --exclude-source-info -o gen/baseline.binpb

# The Python stubs run on every release from the one whose tools wrote them: the oldest that cco-sidecar-client supports.
.tools/stubs/.ready: stubs.lock
	@test -x .tools/stubs/bin/python || $(PYTHON) -m venv .tools/stubs
	@.tools/stubs/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r stubs.lock
	@touch $@

.tools/.ready: proto/tools/package.json
	@mkdir -p .tools && cp proto/tools/package.json .tools/
	@cd .tools && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@

# The field's own tools, which tests run against the sidecar. grpcurl 1.8.7 is the last that knows reflection v1alpha only.
.tools/go/.ready: Makefile
	@command -v go >/dev/null || echo "Go is not installed: the tests that need it are skipped"
	@! command -v go >/dev/null || { export GOBIN=$(CURDIR)/.tools/go/v1alpha && \
	    go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.8.7 && export GOBIN=$(CURDIR)/.tools/go && \
	    go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3 && \
	    go install github.com/grpc-ecosystem/grpc-health-probe@v0.4.62 && \
	    go install github.com/bojand/ghz/cmd/ghz@v0.121.0 && \
	    go install github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway@v2.33.0; }
	@mkdir -p .tools/go && touch $@

.tools/nats/.ready: Makefile
	@command -v go >/dev/null || echo "Go is not installed: the tests that need NATS are skipped"
	@! command -v go >/dev/null || GOBIN=$(CURDIR)/.tools/nats go install github.com/nats-io/nats-server/v2@v2.15.2
	@mkdir -p .tools/nats && touch $@

.tools/bin/protoc-gen-go: Makefile
	@GOBIN=$(CURDIR)/.tools/bin go install $(PROTOC_GEN_GO)

.tools/bin/protoc-gen-go-grpc: Makefile
	@GOBIN=$(CURDIR)/.tools/bin go install $(PROTOC_GEN_GO_GRPC)

gen: setup .tools/.ready .tools/stubs/.ready .tools/bin/protoc-gen-go .tools/bin/protoc-gen-go-grpc ## write gen/ (needs Node and Go)
	@rm -rf gen/python/orchestra gen/go/orchestra gen/ts/esm gen/ts/cjs gen/openapi && mkdir -p .build gen/python gen/go gen/openapi
	@PATH=$(CURDIR)/$(BIN):$$PATH .tools/stubs/bin/python -m grpc_tools.protoc -I proto --python_out=gen/python --pyi_out=gen/python --grpc_python_out=gen/python --mypy_grpc_out=quiet:gen/python $(PROTOS)
	@touch gen/python/orchestra/py.typed
	@$(BUF) generate
	@$(BUF) generate --template buf.gen.ts.yaml
	@scripts/typescript.sh
	@mkdir -p gen/console && cd .tools/node_modules/swagger-ui-dist && cp LICENSE NOTICE swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css $(CURDIR)/gen/console/
	@$(BUF) build proto -o .build/orchestra.binpb
	@$(PY) -m cco_sidecar.gateway.openapi .build/orchestra.binpb > .build/openapi.json
	@mv .build/openapi.json gen/openapi/orchestra.v1.json
	@$(PY) scripts/config_docs.py .build/orchestra.binpb
	@$(PY) scripts/unasync.py && $(BIN)/ruff check -q --fix --select I,F401 src/cco_sidecar/client; $(BIN)/ruff format -q src/cco_sidecar/client

# The page that `/` serves. Its types are those of the API, so the API comes first.
dashboard: dashboard/node_modules/.ready ## build gen/dashboard from dashboard/ (needs Node)
	@scripts/dashboard.sh check && cd dashboard && npm run --silent build

dashboard-pictures: setup dashboard/node_modules/.ready ## the pictures of docs/dashboard.md
	@DOCS_PICTURES=1 $(PY) -m pytest -m browser tests/dashboard -k pictures_for_the_docs

dashboard/node_modules/.ready: dashboard/package-lock.json
	@cd dashboard && npm ci --silent --no-audit --no-fund
	@touch $@

test-dashboard: setup dashboard/node_modules/.ready ## drive the dashboard with Chromium (pictures in .build/dashboard)
	@scripts/dashboard.sh test
	@$(PY) -m pytest -m browser tests/dashboard $(ARGS)

gen-check: gen dashboard ## fail when gen/ is not what the protos and dashboard/ say
	@git add --intent-to-add gen && git diff --exit-code --stat -- gen src/cco_sidecar/client docs/configuration.md

picture: setup ## draw the imports of the packages into docs/architecture.md
	@$(PY) scripts/picture.py

lock: setup ## update the lock files
	$(BIN)/uv pip compile -q pyproject.toml --group dev $(LOCK) --no-emit-package cco-sidecar-client -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml $(LOCK) --no-emit-package cco-sidecar-client -o requirements-run.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra postgres --extra nats $(LOCK) --no-emit-package cco-sidecar-client -o requirements-cluster.lock
	$(BIN)/uv pip compile -q build.in $(LOCK) -o build.lock
	$(BIN)/uv pip compile -q stubs.in $(LOCK) -o stubs.lock

build: setup ## the wheels and sdists of cco-sidecar and cco-sidecar-client, in dist/
	$(BIN)/uv build -q --no-build-isolation -o dist clients/python
	$(BIN)/uv build -q --no-build-isolation -o dist

packages: build ## everything that is published: wheels, the Go module, the npm package, the protos, in dist/
	@$(PY) scripts/packages.py dist

sbom: setup ## what an installation consists of, as CycloneDX, in dist/
	@mkdir -p $(dir $(SBOM)) && $(BIN)/uv tool run -q --from cyclonedx-bom==$(CYCLONEDX) cyclonedx-py requirements requirements-run.lock \
	    --pyproject pyproject.toml --output-reproducible --output-file $(SBOM)

bench: setup ## ours beside bare peers, in one run
	@$(PY) -m bench.run

bench-events: setup .build/event-peers/.ready ## events beside NATS, Redis, etcd and AutoGen (PEERS="a;b", RATES=50,200, ROUNDS=n, PLOT=file.svg)
	@$(PY) -m bench.events $(if $(PEERS),--peers "$(PEERS)") $(if $(RATES),--rates $(RATES)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PLOT),--plot $(PLOT))

bench-event-rates: setup .build/event_client ## fan-out at 500 to 2,000 events/s, with clients in C++ (RATES=n,m)
	@$(PY) -m bench.event_rates $(if $(RATES),--rates $(RATES)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-event-top: setup .build/event-peers/.ready .build/event_client ## the most deliveries a second, beside AutoGen and bare gRPC (ROUNDS=n)
	@$(PY) -m bench.event_top $(if $(ROUNDS),--rounds $(ROUNDS))

bench-event-publish: setup .build/event-peers/.ready ## durable publishing beside JetStream and Redis Streams (ROUNDS=n)
	@$(PY) -m bench.event_publish $(if $(ROUNDS),--rounds $(ROUNDS))

bench-cluster: setup .tools/nats/.ready ## one, two and four sidecars on one PostgreSQL and one NATS (ROUNDS=n)
	@$(PY) -m bench.cluster $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

# apt-get install libgrpc++-dev
.build/event_client: bench/event_client.cc
	@mkdir -p .build && g++ -O2 -std=c++17 $< -o $@ $$(pkg-config --cflags --libs grpc++)

# Redis and etcd are taken from the PATH: apt-get install redis-server etcd-server
.build/event-peers/.ready:
	@python3 -m venv .build/event-peers && .build/event-peers/bin/pip install -q nats-py==2.16.0 redis==8.1.0 httpx==0.28.1 aetcd==1.0.0 uvloop
	@GOBIN=$(CURDIR)/.build/event-peers/bin go install github.com/nats-io/nats-server/v2@v2.15.2 || echo "no Go: NATS is skipped"
	@python3 -m venv .build/event-peers-autogen && .build/event-peers-autogen/bin/pip install -q "autogen-ext[grpc]==0.7.5" uvloop
	@touch $@

bench-masking: setup ## what masking finds, what it changes, and how fast it is
	@$(PY) -m bench.masking

bench-context: setup ## how long contexts take, beside reading the files (MANY=1: 50,000 files too)
	@$(PY) -m bench.context $(if $(MANY),--many)

types-table: setup ## what each agent type reads, into docs (REPOS="name=path ...")
	@$(PY) scripts/types_table.py $(REPOS)

bench-context-peers: setup .build/peers/.ready ## contexts beside repomix, gitingest and aider's map (REPO=path, COMMITS=n)
	@$(PY) -m bench.context_peers --repo $(REPO) $(if $(COMMITS),--commits $(COMMITS))

.build/peers/.ready:
	@python3 -m venv .build/peers && .build/peers/bin/pip install -q gitingest==0.3.1 aider-chat==0.86.2
	@npm install --silent --prefix .build/peers repomix@1 && touch $@

bench-many: setup ## what 1,000 filters and 1,000 parked long polls cost
	@$(PY) -m bench.many

bench-restart: setup ## how long a start takes with up to ten million events on disk (EVENTS="n ...")
	@$(PY) -m bench.restart $(if $(EVENTS),--events $(EVENTS))

bench-documents: setup ## documents: list, search and partial read (DOCUMENTS=n, ROUNDS=n)
	@$(PY) -m bench.documents $(if $(DOCUMENTS),--documents $(DOCUMENTS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-dashboard: setup ## the dashboard: first paint, frames, memory (AGENTS=n, EVENTS=n, MINUTES=n; 60 for an hour as it comes)
	@$(PY) -m bench.dashboard $(if $(AGENTS),--agents $(AGENTS)) $(if $(EVENTS),--events $(EVENTS)) $(if $(MINUTES),--minutes $(MINUTES))

bench-fairness: setup ## what each worst case of one client costs another (ONLY=name, SECONDS=n)
	@$(PY) -m bench.fairness $(if $(ONLY),--only $(ONLY)) $(if $(SECONDS),--seconds $(SECONDS))

crash: setup ## 200 rounds of kill -9 under load (ROUNDS=n for another number)
	@$(PY) -m pytest -m long -s -o timeout=0 tests/e2e/test_crash.py

crash-disk: setup ## events and records after 10,000 power failures each, and with flipped bits (STATES=n, FLIPS=n, SEED=n)
	@STATES=$(or $(STATES),10000) RECORD_STATES=$(or $(STATES),10000) SEED=$(or $(SEED),0) FLIP_BYTES=$(or $(FLIP_BYTES),65536) FLIPS=$(or $(FLIPS),10000) $(PY) -m pytest -n 2 -q -o timeout=0 --dist worksteal tests/storage/test_crash_states.py tests/storage/test_segment.py tests/storage/test_crashing_records.py tests/storage/test_record_flips.py

event-machine: setup ## the event engine against a model, 20,000 steps (EXAMPLES of 50 steps)
	@EXAMPLES=$(or $(EXAMPLES),400) $(PY) -m pytest -q -o timeout=0 tests/bus/test_engine_machine.py

cluster-test: setup .tools/nats/.ready ## break each part of a cluster several times, with 119 agents (ROUNDS=n, AGENTS=n, SEED=n)
	@$(PY) -m pytest -m long -s -o timeout=0 tests/joined tests/cluster

chaos: setup ## 200 rounds of kill -9, SIGSTOP, full disks and clock jumps (ROUNDS=n, SEED=n)
	@$(PY) -m pytest -m long -s -o timeout=0 tests/e2e/test_chaos.py

fuzz-api: setup ## schemathesis, all checks, thousands of examples (EXAMPLES=n an operation)
	@$(PY) -m pytest -m long -s -o timeout=0 tests/e2e/test_fuzz.py

smoke: setup ## the real claude, codex and gemini from their registry (needs npm)
	@$(PY) -m pytest -m long -s -o timeout=0 tests/e2e/test_real_programs.py

clean: ## remove what the targets made
	rm -rf $(VENV) .tools .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf examples/build examples/*/build examples/*/node_modules examples/*/target
