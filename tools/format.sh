#!/usr/bin/env bash
# Formats the C++ sources with clang-format. With --check it changes nothing, and fails if a file is
# not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
if [ "${1:-}" = --check ]; then mode=(--dry-run -Werror); fi
git ls-files -z --cached --others --exclude-standard '*.h' '*.cc' | xargs -0 -r ls -d 2>/dev/null |
  xargs -r -P "$(nproc)" -n 16 clang-format-14 "${mode[@]}"
