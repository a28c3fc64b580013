#!/usr/bin/env python3
"""The lake's tables as foreign readers see them, and under kill -9 and races.

    lake_test.py LAKE_WRITER TEST     one of the functions test_* of this file

The oracle is `lake_writer oracle`: the artificial stream without a lake. The readers are `deltalake` (with
its own log reader and query engine) and DuckDB (read_parquet over deltalake's list of files).
"""

import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import deltalake
import duckdb

BINARY = ""
INCREMENTS = "item_count_increments"
LEDGER = "ledger"
KILLS = 52
RESTARTS = 12


# A writer with this in its environment changes the layout: the stream has three locations.
BUCKETS = {**os.environ, "SIGHTLINE_TEST_MAX_PARTITIONS": "2"}


def run(*words, check=True, env=None):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, env=env)
    if check and done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def sums(text):
    rows = {}
    for line in text.splitlines():
        location, window, item, count = line.split(" ")
        rows[int(location), int(window), bytes.fromhex(item)] = int(count)
    return rows


def by_deltalake(root, version=None):
    """Sums by window, computed by deltalake's own engine."""
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}", version=version)
    reader = deltalake.QueryBuilder().register("t", table).execute(
        "SELECT geographical_location_oid AS l, CAST(window_start AS BIGINT) AS w, item_name AS i, "
        "CAST(sum(item_count) AS BIGINT) AS n FROM t GROUP BY 1, 2, 3")
    rows = reader.read_all() if hasattr(reader, "read_all") else reader
    columns = [rows.column(name).to_pylist() for name in ("l", "w", "i", "n")]
    return {(l, w // 1000, i.encode()): n for l, w, i, n in zip(*columns)}


def by_duckdb(root):
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    rows = duckdb.sql(
        "SELECT CAST(geographical_location_oid AS BIGINT), epoch_ms(window_start), item_name, sum(item_count) "
        f"FROM read_parquet({files!r}, hive_partitioning=true) GROUP BY ALL").fetchall()
    return {(l, w, i.encode()): int(n) for l, w, i, n in rows}


def expect(actual, expected, what):
    if actual != expected:
        different = [key for key in actual.keys() | expected.keys() if actual.get(key) != expected.get(key)]
        raise AssertionError(f"{what}: {len(different)} of {len(expected)} cells differ, e.g. "
                             f"{[(key, actual.get(key), expected.get(key)) for key in different[:3]]}")


def expect_all(root, oracle, what):
    expect(sums(run("sums", root).stdout), oracle, f"{what}: our reader")
    expect(by_deltalake(root), oracle, f"{what}: deltalake")
    expect(by_duckdb(root), oracle, f"{what}: DuckDB")
    verified = run("verify", root, check=False)
    if verified.returncode != 0:
        raise AssertionError(f"{what}: {verified.stdout}{verified.stderr}")


def test_deltalake_and_duckdb(root):
    until = 6000
    oracle = sums(run("oracle", until).stdout)
    assert len(oracle) > 500
    run("write", root, until, 1)
    expect_all(root, oracle, "written")
    before = run("describe", root, INCREMENTS).stdout
    version = deltalake.DeltaTable(f"{root}/{INCREMENTS}").version()
    for table in (INCREMENTS, LEDGER):
        run("compact", root, table)
        expect_all(root, oracle, f"compacted {table}")
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    assert len(table.file_uris()) == 3, table.file_uris()
    expect(by_deltalake(root, version), oracle, "the version before the compaction")
    run("checkpoint", root, INCREMENTS)
    expect_all(root, oracle, "after a checkpoint")
    # Reads the checkpoint and what follows it, not the commits before it.
    log = pathlib.Path(root, INCREMENTS, "_delta_log")
    for commit in sorted(log.glob("*.json")):
        if int(commit.stem) < table.version():
            commit.unlink()
    expect(by_deltalake(root), oracle, "deltalake from our checkpoint alone")
    expect(sums(run("sums", root).stdout), oracle, "our reader from our checkpoint alone")
    assert "history 1" in run("describe", root, INCREMENTS).stdout
    time.sleep(0.01)
    deleted = int(run("vacuum", root, INCREMENTS).stdout.split()[0])
    assert deleted > 10, deleted
    expect_all(root, oracle, "after vacuum")
    # Statistics: an engine that skips files by them still finds the same rows.
    cut = datetime.datetime(2026, 11, 22, 0, 30, tzinfo=datetime.timezone.utc)
    pruned = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(f"{root}/{INCREMENTS}")).execute(
        f"SELECT CAST(sum(item_count) AS BIGINT) AS n FROM t WHERE window_start >= '{cut.isoformat()}'")
    rows = pruned.read_all() if hasattr(pruned, "read_all") else pruned
    after = sum(n for (_, w, _), n in oracle.items() if w >= cut.timestamp() * 1000)
    assert rows.column("n").to_pylist() == [after], (rows.column("n").to_pylist(), after)
    run("write", root, until + 500, 2)
    expect_all(root, sums(run("oracle", until + 500).stdout), "written on after all that")
    by_location = deltalake.DeltaTable(f"{root}/{INCREMENTS}").version()
    run("write", root, until + 1000, 3, env=BUCKETS)
    oracle = sums(run("oracle", until + 1000).stdout)
    expect_all(root, oracle, "by bucket")
    expect(by_deltalake(root, by_location), sums(run("oracle", until + 500).stdout), "the version before the buckets")
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    assert table.metadata().partition_columns == ["date", "bucket"], table.metadata()
    assert all("/bucket=" in uri for uri in table.file_uris()), table.file_uris()
    assert [entry["operation"] for entry in table.history()].count("CHANGE LAYOUT") == 1
    run("checkpoint", root, INCREMENTS)
    expect_all(root, oracle, "by bucket, after a checkpoint")
    run("compact", root, INCREMENTS)
    run("vacuum", root, INCREMENTS)
    expect_all(root, oracle, "by bucket, compacted and vacuumed")
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    table.create_checkpoint()
    table.optimize.compact()
    run("write", root, until + 1500, 4)
    expect_all(root, sums(run("oracle", until + 1500).stdout), "by bucket, written on")
    print(before.strip())


def test_deltalake_writes(root):
    """We can read, and continue to write, a table that deltalake has compacted, checkpointed and vacuumed."""
    run("write", root, 3000, 1)
    oracle = sums(run("oracle", 3000).stdout)
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    metrics = table.optimize.compact()
    assert metrics["numFilesRemoved"] > metrics["numFilesAdded"] > 0, metrics
    expect_all(root, oracle, "deltalake compacted")
    table = deltalake.DeltaTable(f"{root}/{INCREMENTS}")
    table.create_checkpoint()
    newest = f"{table.version():020}"
    log = pathlib.Path(root, INCREMENTS, "_delta_log")
    for name in log.iterdir():
        if name.name[:20].isdigit() and not name.name.startswith(newest):
            name.unlink()
    assert [name.name for name in log.glob("*.checkpoint*")] == [f"{newest}.checkpoint.parquet"]
    expect(sums(run("sums", root).stdout), oracle, "from deltalake's checkpoint alone")
    deltalake.DeltaTable(f"{root}/{INCREMENTS}").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    expect_all(root, oracle, "deltalake vacuumed")
    run("write", root, 4000, 2)
    expect_all(root, sums(run("oracle", 4000).stdout), "written on")
    # Another engine owns the source: we refuse, and say what to do.
    other = run("write", root, 5000, 3, "spark", check=False)
    assert other.returncode == 2 and "written by the engine 'embedded'" in other.stderr, other.stderr
    # A feature that we do not know: we refuse, and write nothing.
    version = deltalake.DeltaTable(f"{root}/{INCREMENTS}").version()
    next_commit = log / f"{version + 1:020}.json"
    for protocol, words in ((dict(minReaderVersion=3, minWriterVersion=7, readerFeatures=["deletionVectors"],
                                  writerFeatures=["deletionVectors"]), "reader version 3"),
                            (dict(minReaderVersion=1, minWriterVersion=4), "writer version 4")):
        next_commit.write_text(json.dumps({"protocol": protocol}) + "\n")
        refused = run("write", root, 5000, 4, check=False)
        assert refused.returncode == 2 and words in refused.stderr, refused.stderr
    next_commit.unlink()
    next_commit.write_text(json.dumps({"add": {"path": "x", "partitionValues": {}, "size": 1, "modificationTime": 1,
                                               "dataChange": True, "deletionVector": {"storageType": "u"}}}) + "\n")
    refused = run("sums", root, check=False)
    assert refused.returncode == 2 and "deletion vector" in refused.stderr, refused.stderr


def test_deltalake_deletes(root):
    """What deltalake removes of ours stops us until it is back; a column that it adds stays, and reads as null."""
    run("write", root, 2000, 1)
    oracle = sums(run("oracle", 2000).stdout)

    def table():
        return deltalake.DeltaTable(f"{root}/{INCREMENTS}")

    def refused(*words):
        for command in (("write", root, 3000, 2), ("vacuum", root, INCREMENTS), ("compact", root, INCREMENTS)):
            done = run(*command, check=False)
            if done.stdout.startswith("0 files"):
                continue  # there was nothing to pack
            assert done.returncode == 2 and all(word in done.stderr for word in words), (command, done)

    for operation, change in (("DELETE", lambda: table().delete("geographical_location_oid = 1")),
                              ("UPDATE", lambda: table().update({"item_count": "item_count + 1"}, predicate="item_count > 1")),
                              ("WRITE", lambda: deltalake.write_deltalake(table(), table().to_pyarrow_table().slice(0, 9),
                                                                          mode="overwrite"))):
        good = table().version()
        change()
        bad = table().version()
        assert bad > good, operation
        refused(f"({operation})", f"TO VERSION AS OF {bad - 1}", "lake verify")
        assert run("verify", root, check=False).returncode == 1, operation
        table().create_checkpoint()
        refused(f"({operation})")
        table().restore(bad - 1)
        run("write", root, 2000, 3)
        expect_all(root, oracle, f"restored after {operation}")
    table().restore(2)
    refused("(RESTORE)")
    table().restore(table().version() - 1)
    run("write", root, 3000, 4)
    oracle = sums(run("oracle", 3000).stdout)
    expect_all(root, oracle, "restored after RESTORE")
    table().alter.add_columns([deltalake.Field("weather", deltalake.schema.PrimitiveType("string"))])
    run("write", root, 4000, 5)
    expect_all(root, sums(run("oracle", 4000).stdout), "with a column of theirs")
    rows = table().to_pyarrow_table()
    assert rows.column("weather").null_count == rows.num_rows > 0
    table().alter.set_table_properties({"delta.setTransactionRetentionDuration": "interval 7 days"})
    done = run("write", root, 5000, 6, check=False)
    assert done.returncode == 2 and "delta.setTransactionRetentionDuration" in done.stderr, done


def test_crash(root):
    """kill -9 at random moments: every offset is there once, nothing is damaged, and orphans are few.
    In the middle the layout changes."""
    until, kills, orphans = 60_000, 0, 0
    rng = random.Random(20_261_122)
    while kills < KILLS:
        writer = subprocess.Popen([BINARY, "write", root, str(until), str(rng.randrange(1 << 30))],
                                  env=BUCKETS if kills > KILLS // 3 else None)
        others = []
        if kills % 4 == 3:
            others = [subprocess.Popen([BINARY, "compact", root, table], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL) for table in (INCREMENTS, LEDGER)]
        time.sleep(rng.uniform(0.01, 0.12))
        running = writer.poll() is None
        for process in [writer, *others]:
            process.kill()
            process.wait()
        if not running:
            assert writer.returncode == 0, writer.returncode
            until += 20_000
            continue
        kills += 1
        if kills % 10 == 0:
            verified = run("verify", root, check=False)
            assert verified.returncode == 0, verified.stdout
            orphans = int(verified.stdout.split("notes ")[1].split()[0])
            # At most the files of one commit per attempt: 3 locations a day, 1 file of the ledger, and
            # what a killed compaction had written.
            assert orphans <= kills * 8, (orphans, kills)
    run("write", root, until, 1)
    expect_all(root, sums(run("oracle", until).stdout), "after the kills")
    time.sleep(0.01)
    for table in (INCREMENTS, LEDGER):
        run("vacuum", root, table)
    verified = run("verify", root).stdout
    assert "notes 0" in verified, verified
    expect_all(root, sums(run("oracle", until).stdout), "after the vacuum")
    print(f"{kills} kills, {until} offsets a partition, {orphans} orphans before the vacuum")


def test_race(root):
    """Two writers that fence each other, one of which changes the layout, and two compactors on each table.
    After RESTARTS the fenced one stays away: on a busy machine, two that restart for ever would never finish."""
    until = 30_000
    restarts, ended = 0, False
    writers = [None, None]
    compactors = [None] * 4
    deadline = time.monotonic() + 1500
    try:
        while not ended:
            assert time.monotonic() < deadline, f"the writers never came to the end, {restarts} restarts"
            for i, writer in enumerate(writers):
                if writer is not None:
                    code = writer.poll()
                    if code is None:
                        continue
                    # 3: fenced by the other one; a task would be rebuilt then
                    assert code in (0, 3), f"a writer ended with {code} after {restarts} restarts"
                    ended = ended or code == 0
                    alone = writers[1 - i] is not None and writers[1 - i].poll() is None
                    if ended or (alone and restarts >= RESTARTS):
                        continue
                    restarts += 1
                    time.sleep(0.05)
                writers[i] = subprocess.Popen([BINARY, "write", root, str(until), str(i)],
                                              env=BUCKETS if i == 1 and restarts > 3 else None)
            for i, compactor in enumerate(compactors):
                if compactor is not None and compactor.poll() is None:
                    continue
                assert compactor is None or compactor.returncode == 0, compactor.stderr.read()
                if pathlib.Path(root, LEDGER, "_delta_log").exists():
                    compactors[i] = subprocess.Popen([BINARY, "compact", root, (INCREMENTS, LEDGER)[i % 2]],
                                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(0.01)
        for i, process in enumerate([*writers, *compactors]):
            code = process.wait()
            assert code in ((0, 3) if i < len(writers) else (0,)), f"process {i} ended with {code}"
    finally:  # else they would write on into a folder that is being removed
        for process in [*writers, *compactors]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    run("write", root, until, 9)
    expect_all(root, sums(run("oracle", until).stdout), "after the race")
    assert restarts > 0
    history = deltalake.DeltaTable(f"{root}/{INCREMENTS}").history(limit=100_000)
    compactions = sum(entry["operation"] == "OPTIMIZE" for entry in history)
    assert compactions > 0
    print(f"{restarts} restarts, {compactions} compactions")


def test_rounds(root):
    """A writer and two compactors on each table, side by side in each round: after each nothing is lost, and nothing
    is there twice. ROUNDS in the environment makes it longer, by hand."""
    rounds, piece, taken = int(os.environ.get("ROUNDS", "8")), 1000, 0
    run("write", root, piece, 0)
    for number in range(2, rounds + 2):
        writer = subprocess.Popen([BINARY, "write", root, str(number * piece), str(number)],
                                  env=BUCKETS if number > rounds // 2 else None)
        compactors = []
        while writer.poll() is None or not compactors:
            started = [subprocess.Popen([BINARY, "compact", root, table], stdout=subprocess.PIPE, text=True)
                       for table in (INCREMENTS, LEDGER) for _ in range(2)]
            for compactor in started:
                words = compactor.communicate()[0]
                assert compactor.returncode == 0, f"round {number}: a compactor ended with {compactor.returncode}"
                taken += int(words.split()[-2])
            compactors += started
        assert writer.returncode == 0, f"round {number}: the writer ended with {writer.returncode}"
        expect_all(root, sums(run("oracle", number * piece).stdout), f"round {number}")
    history = deltalake.DeltaTable(f"{root}/{INCREMENTS}").history(limit=100_000)
    compactions = sum(entry["operation"] == "OPTIMIZE" for entry in history)
    assert compactions >= rounds, compactions
    time.sleep(0.01)
    for table in (INCREMENTS, LEDGER):
        run("vacuum", root, table)
    expect_all(root, sums(run("oracle", (rounds + 1) * piece).stdout), "after the vacuum")
    assert "notes 0" in run("verify", root).stdout
    print(f"{rounds} rounds, {compactions} compactions, {taken} times another compactor was faster")


def damage_cases(root):
    """(name, function that causes the damage, table, words that a finding must contain)"""
    def live(table):
        return run("files", root, table).stdout.splitlines()

    def commits(table):
        return sorted(pathlib.Path(root, table, "_delta_log").glob("*.json"))

    def flip(path, at):
        content = bytearray(path.read_bytes())
        content[at % len(content)] ^= 0x20
        path.write_bytes(content)

    def file(table, i=0):
        return pathlib.Path(root, live(table)[i])

    def add_again(table, copy):
        """Makes one more commit, by hand, that adds a live file again."""
        action = None
        for commit in commits(table):
            for line in commit.read_text().splitlines():
                if "add" in json.loads(line):
                    action = json.loads(line)
        path = pathlib.Path(root, table, action["add"]["path"])
        if copy:
            twin = path.with_name("part-copy.parquet")
            shutil.copy(path, twin)
            action["add"]["path"] = str(twin.relative_to(pathlib.Path(root, table)))
            if copy == "untagged":
                del action["add"]["tags"]
        else:
            action["add"]["path"] = action["add"]["path"].replace("part-", "%70art-", 1)
        number = int(commits(table)[-1].stem) + 1
        pathlib.Path(root, table, "_delta_log", f"{number:020}.json").write_text(json.dumps(action) + "\n")

    def edit(commit, old, new):
        text = commit.read_text()
        assert old in text, (old, text)
        commit.write_text(text.replace(old, new, 1))

    for table in (INCREMENTS, LEDGER):
        yield f"{table}: deleted", lambda: file(table).unlink(), table, "it is gone"
        yield f"{table}: cut", lambda: os.truncate(file(table), 500), table, "bytes, not"
        yield f"{table}: emptied", lambda: os.truncate(file(table), 0), table, "bytes, not"
        for at in (4, 40, 200, 777, -100, -20, -5):
            yield f"{table}: flipped {at}", lambda at=at: flip(file(table, 1), at), table, "altered"
        yield f"{table}: copied", lambda: add_again(table, "copy"), table, "twice"
        yield f"{table}: copied, no hash", lambda: add_again(table, "untagged"), table, "twice"
        yield f"{table}: added twice", lambda: add_again(table, None), table, "twice"
        yield f"{table}: commit gone", lambda: commits(table)[5].unlink(), table, "gap"
        yield f"{table}: commit cut", lambda: os.truncate(commits(table)[6], 700), table, "damaged"
        yield f"{table}: commit emptied", lambda: os.truncate(commits(table)[6], 0), table, "empty"
        yield (f"{table}: commit altered", lambda: edit(commits(table)[7], '"size":', '"size":1'), table, "altered")
        yield (f"{table}: commit shortened",
               lambda: commits(table)[7].write_text("".join(commits(table)[7].read_text().splitlines(True)[:-1])),
               table, "altered")
        yield (f"{table}: checkpoint damaged",
               lambda: flip(sorted(pathlib.Path(root, table, "_delta_log").glob("*.checkpoint.parquet"))[-1], 900),
               table, "checkpoint")


def test_damage(root):
    """Verify finds and names every planted damage; without damage the same lake is clean."""
    whole = f"{root}/whole"
    run("write", whole, 6000, 5)
    assert run("verify", whole).returncode == 0
    lake = f"{root}/lake"
    missed, number = [], 0
    shutil.copytree(whole, lake)
    for what, do, table, words in damage_cases(lake):
        do()
        verified = run("verify", lake, check=False)
        findings = [line for line in verified.stdout.splitlines() if line.startswith(f"DAMAGE {table}")]
        if verified.returncode != 1 or not any(words in line for line in findings):
            missed.append(f"{what}: no '{words}' in {verified.stdout}{verified.stderr}")
        number += 1
        shutil.rmtree(lake)
        shutil.copytree(whole, lake)
    assert run("verify", lake).returncode == 0
    assert not missed, "\n".join(missed)
    print(f"{number} planted damages found")


def main():
    global BINARY
    BINARY = sys.argv[1]
    places = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=places) as root:
        globals()[f"test_{sys.argv[2]}"](root)


if __name__ == "__main__":
    main()
