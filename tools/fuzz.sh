#!/usr/bin/env bash
# Runs fuzzers, each for some seconds: tools/fuzz.sh BUILD_DIRECTORY SECONDS [NAME...] (default: all).
#
# A short run (10 s or less) starts from tests/fuzz/corpus, with the same seed and as many inputs each
# time: it guards against known crashes, and does the same on every machine. A longer run searches
# for new ones: it also starts from BUILD_DIRECTORY/corpus, and keeps there what it learns. The input
# of a crash is kept, and its name is printed.
set -euo pipefail
build=$(realpath "$1")
seconds=$2
shift 2
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
  set -- $(find "$build/tests/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -executable -printf '%f\n' |
    sed 's/^fuzz_//' | sort)
fi

failed=0
for name in "$@"; do
  if [ "$seconds" -gt 10 ]; then
    learnt=$build/corpus/$name
    mkdir -p "$learnt"
    bound=(-seed=0 -max_total_time="$seconds")  # a new seed each time
  else
    learnt=$(mktemp -d)
    bound=(-seed=1 -runs=$((2000 * seconds)))
  fi
  mkdir -p "$build/crashes"
  words=()
  if [ -f "tests/fuzz/$name.dict" ]; then words=(-dict="tests/fuzz/$name.dict"); fi
  log=$build/crashes/$name.log
  corpus=tests/fuzz/corpus/$name
  if [ ! -d "$corpus" ]; then corpus=; fi  # this fuzzer has no corpus in the tree
  if "$build/tests/fuzz/fuzz_$name" "${bound[@]}" -timeout=30 -rss_limit_mb=2048 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$build/crashes/$name-" \
    "${words[@]}" "$learnt" $corpus >"$log" 2>&1; then
    printf 'fuzz %s: %s inputs, no crash\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    rm -f "$log"
  else
    failed=1
    grep -vE '^#[0-9]|^\s*NEW_FUNC' "$log" || true  # without libFuzzer's progress lines
    printf 'fuzz %s: FAILED; to repeat it: %s %s\n' "$name" "$build/tests/fuzz/fuzz_$name" \
      "$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
  fi
  if [ "$seconds" -le 10 ]; then rm -rf "$learnt"; fi
done
exit $failed
