#!/usr/bin/env bash
# Sets up a Debian bookworm machine to build and test Sightline. Safe to run again: what is there
# already is left alone, and a second run only looks.
#
#   tools/deps.sh run     what `make run` needs: compiler and libraries
#   tools/deps.sh test    the same, and what `make test` needs (the default)
#
# Debian packages are installed with apt (as root or through sudo). Everything else is pinned by
# hash and goes into the tree: .deps/arrow (Arrow C++), .deps/venv (Python), tests/browser/node_modules.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=${1:-test}
case $tier in
  run | test) ;;
  *) echo "deps: '$tier' is no tier: say run or test" >&2; exit 2 ;;
esac

packages=(
  make cmake ninja-build ccache mold g++ git pkg-config ca-certificates tzdata
  python3 python3-venv
  libsimdjson-dev libboost1.81-dev libboost-json1.81-dev libsqlite3-dev libgtest-dev libgmock-dev
  libbenchmark-dev libtomlplusplus-dev libcli11-dev libspdlog-dev libfmt-dev prometheus-cpp-dev
  libhowardhinnant-date-dev libzstd-dev zlib1g-dev libcurl4-openssl-dev
)
if [ "$tier" = test ]; then
  packages+=(clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14 chromium curl)
fi

fail() {
  printf 'deps: %s\n' "$@" >&2
  exit 1
}

# retry COMMAND...: package servers fail now and then. Prints the last output when it gives up.
retry() {
  local attempt output
  output=$(mktemp)
  for attempt in 1 2 3 4 5; do
    if "$@" >"$output" 2>&1; then
      rm -f "$output"
      return 0
    fi
    if [ "$attempt" -lt 5 ]; then
      echo "deps: '$1 ${2:-}' failed (attempt $attempt of 5), trying again in $((attempt * attempt * 2)) s" >&2
      sleep $((attempt * attempt * 2))
    fi
  done
  cat "$output" >&2
  rm -f "$output"
  return 1
}

node_is_new_enough() {
  local version
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  [ "${version%%.*}" -ge 18 ] && command -v npm >/dev/null
}

install_packages() {
  command -v dpkg-query >/dev/null || fail \
    "this is no Debian: install these packages' equivalents by hand and build with cmake:" \
    "  ${packages[*]}"
  if [ "$tier" = test ] && ! node_is_new_enough; then
    packages+=(nodejs npm)
  fi
  local missing
  missing=$(
    comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) \
      <(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${packages[@]}" \
          2>/dev/null | sed -n 's/^installed //p' | sort -u)
  )
  [ -n "$missing" ] || return 0

  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail \
      "these packages are missing and installing them needs root (there is no sudo here):" \
      "  apt-get install" $missing
    apt=(sudo "${apt[@]}")
  fi
  echo "deps: installing" $missing
  retry "${apt[@]}" update || fail "apt-get update failed: see above; is the network there?"
  # shellcheck disable=SC2086  # one word a package
  retry "${apt[@]}" install --yes --no-install-recommends $missing ||
    fail "apt-get install failed: see above; is this Debian 12 (bookworm)?"
}

# The Python that can make a venv: Debian's own where it has python3-venv.
python_with_venv() {
  local candidate
  for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  fail "no python3 here can make a venv: is python3-venv installed?"
}

# Arrow C++ from a wheel. pip comes from a venv that is thrown away: Debian has none by itself.
install_arrow() {
  local python stamp
  stamp=$(sha256sum <tools/requirements-arrow.txt)
  [ "$(cat .deps/arrow/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: Arrow C++ into .deps/arrow"
  python=$(python_with_venv)
  rm -rf .deps/arrow .deps/arrow-pip
  mkdir -p .deps
  "$python" -m venv .deps/arrow-pip || fail "'$python -m venv' failed: is python3-venv installed?"
  retry .deps/arrow-pip/bin/python -m pip install --quiet --no-deps --require-hashes \
    --only-binary :all: --implementation cp --python-version 3.11 --abi cp311 \
    --platform manylinux_2_28_x86_64 --target .deps/arrow --upgrade \
    --requirement tools/requirements-arrow.txt || fail \
    "pip could not install tools/requirements-arrow.txt: see above (the pinned file is for x86_64)"
  rm -rf .deps/arrow-pip
  printf '%s\n' "$stamp" >.deps/arrow/stamp
}

# The venv is made anew when the requirements or the interpreter change.
install_python() {
  local python stamp
  python=$(python_with_venv)
  stamp="$(sha256sum <tools/requirements.txt) $("$python" --version 2>&1)"
  [ "$(cat .deps/venv/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: Python packages into .deps/venv"
  rm -rf .deps/venv
  mkdir -p .deps
  "$python" -m venv .deps/venv || fail "'$python -m venv' failed: is python3-venv installed?"
  retry .deps/venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: \
    --requirement tools/requirements.txt || fail \
    "pip could not install tools/requirements.txt: see above (the pinned files are for Python 3.11 to 3.13 on x86_64)"
  printf '%s\n' "$stamp" >.deps/venv/stamp
}

# install_node DIRECTORY: what its package-lock.json pins.
install_node() {
  [ -f "$1/package-lock.json" ] || return 0
  local stamp
  stamp=$(sha256sum <"$1/package-lock.json")
  [ "$(cat "$1/node_modules/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: npm packages into $1/node_modules"
  (cd "$1" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 retry npm ci --no-audit --no-fund) ||
    fail "'npm ci' in $1 failed: see above"
  printf '%s\n' "$stamp" >"$1/node_modules/.stamp"
}

install_packages
install_arrow
if [ "$tier" = test ]; then
  install_python
  install_node tests/browser
fi
