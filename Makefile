# Entry points for people and CI. The work is CMake's; `make` alone says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SIGHTLINE := build/release/sightline
SEED ?= 1
T ?= 60
N ?= 10000000
CHAOS ?= 600
ATTACK ?= 3600

.PHONY: help run build test check sim fuzz chaos chaos-stores attack bench format deps deps-run clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: deps-run build/release/build.ninja ## build what is needed and start Sightline with simulated cameras
	@cmake --build build/release --target sightline
	@exec $(SIGHTLINE) up --demo

build: deps-run ## build everything (release)
	@tools/suites.py build

test: deps ## everything that a clean machine can prove (under an hour); ends with `N passed, M failed`
	@tools/suites.py test

check: deps ## before each commit: format, lint, layers, unit, golden, simulator, fuzzers (a minute; cold, half an hour)
	@tools/suites.py check

sim: deps-run build/release/build.ninja ## one seed of the simulator, e.g. make sim SEED=42
	@cmake --build build/release --target sightline_sim >/dev/null
	@build/release/tests/sim/sightline_sim --seed $(SEED)

fuzz: deps build/sanitizers/build.ninja ## all fuzzers for T seconds each, e.g. make fuzz T=60
	@cmake --build build/sanitizers --target fuzzers >/dev/null
	@tools/fuzz.sh build/sanitizers $(T)

chaos: deps build/release/build.ninja ## ten minutes of faults on three Kafka brokers, e.g. make chaos SEED=3 CHAOS=120
	@cmake --build build/release --target sightline generate
	@python3 -B tests/system/system_test.py --binary $(SIGHTLINE) --only kafka_chaos --seed $(SEED) --seconds $(CHAOS)

chaos-stores: deps build/release/build.ninja ## as long with the lake and the checkpoints on HDFS, which fails and dies, e.g. make chaos-stores SEED=3
	@cmake --build build/release --target sightline generate
	@python3 -B tests/system/system_test.py --binary $(SIGHTLINE) --only stores_chaos --seed $(SEED) --seconds $(CHAOS)

attack: deps build/release/build.ninja ## an operator's life and hostile SQL for ATTACK seconds each, then 100,000 questions and seeds of the simulator (SEED=1 ATTACK=3600)
	@cmake --build build/release --target sightline sightline_sim sightline_pruning
	@python3 -B tests/system/system_test.py --binary $(SIGHTLINE) --only operator_hour --seed $(SEED) --seconds $(ATTACK)
	@python3 -B tests/system/system_test.py --binary $(SIGHTLINE) --only hostile_corpus --only hostile_askers --seed $(SEED) --seconds $(ATTACK)
	@build/release/tests/pruning/sightline_pruning --seed $(SEED)000 --questions 100000
	@build/release/tests/sim/sightline_sim --first $(SEED) --seeds 100000

bench: deps-run build/release/build.ninja ## benchmarks; their results are checked (N=events)
	@cmake --build build/release >/dev/null
	@bench/run.py build/release $(N)

format: ## clang-format over our C++ sources
	@tools/format.sh

deps: ## install what building and testing needs (Debian bookworm)
	@tools/deps.sh test

clean: ## remove all build directories
	@rm -rf build

deps-run:
	@tools/deps.sh run

build/%/build.ninja: CMakePresets.json | deps-run
	@cmake --fresh --preset $* >/dev/null
