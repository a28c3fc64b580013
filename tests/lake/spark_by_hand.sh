#!/usr/bin/env bash
# Runs the Spark block of docs/LAKE.md, which `make test` skips: pyspark is 450 MB and needs a Java runtime.
#
#   tests/lake/spark_by_hand.sh BUILD_DIRECTORY FOLDER
#
# Downloads pyspark (pip) and the jars of delta-spark (Maven) into FOLDER unless they are there already. It
# needs Java 17 and mvn (Debian: openjdk-17-jre-headless, maven), and 1.5 GB of memory.
set -euo pipefail
build=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/../.."
if [ ! -x "$folder/venv/bin/python" ]; then python3 -m venv "$folder/venv"; fi
"$folder/venv/bin/pip" install --quiet pyspark==4.2.0
mkdir -p "$folder/jars"
for artifact in delta-spark_4.2_2.13 delta-storage; do
  if [ ! -f "$folder/jars/$artifact-4.4.0.jar" ]; then
    mvn --quiet --batch-mode dependency:copy -Dartifact="io.delta:$artifact:4.4.0" \
      -DoutputDirectory="$folder/jars"
  fi
done
export DELTA_JARS="$folder/jars/delta-spark_4.2_2.13-4.4.0.jar,$folder/jars/delta-storage-4.4.0.jar"
"$folder/venv/bin/python" -B tests/lake/readers_test.py "$build/tests/lake/lake_writer" docs/LAKE.md spark
