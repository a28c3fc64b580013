"""Sinks that are switched off and on again: counting never stops, and each ledger says what its sink lacks.
docs/SEMANTICS.md, "Sinks that were off"."""

from __future__ import annotations

from events import Traffic, deliver
from registry import test
from server import Server, Test, expect, expect_equal, wait_until
from test_lake import ask, command

COUNTED = "SELECT sum(item_count)::BIGINT AS n FROM item_counts"
LOST = "SELECT coalesce(sum(lost), 0)::BIGINT AS n FROM ledger"
GAPS = "SELECT source_partition, first_offset, next_offset, lost FROM ledger WHERE lost > 0 ORDER BY ALL"


def one(server: Server, sql: str) -> int:
    return ask(server, sql)[0]["n"]


def committed(server: Server) -> None:
    """Waits until every sink has everything: what is sealed waits in memory until then."""
    wait_until(lambda: server.metric("sightline_engine_sealed_segments") == 0, 10, "every sink has everything")


def check_lake(t: Test, server: Server, counted: int, lost: bool) -> None:
    """What is on disk, with the server stopped."""
    lake = server.data / "lake"
    said = [row for row in command(t, "lake", "verify", "--lake", lake) if row["object"] == "lost"]
    expect_equal(len(said), int(lost), f"what verify says is lost: {said}")
    expect_equal(command(t, "query", COUNTED, "--lake", lake)[0]["n"], counted, "what the lake has")


@test(seconds=120)
def lake_off_and_on(t: Test) -> None:
    """The lake is switched off, on, off and on again, by SIGTERM and by kill -9: every event is counted and shown,
    what the lake missed is lost in its ledger, and what it could still be given is not."""
    server = t.server("--lake.roll_interval", "200ms")
    traffic = Traffic(0, trouble=False)
    off = ("--lake.enabled", "false")

    def live(*options: str) -> None:
        server.options = ["--lake.roll_interval", "200ms", *options]
        server.start()
        for _ in range(5):
            deliver(server, traffic, 100)
        server.wait_ledger(counted=traffic.oracle.distinct)
        committed(server)
        expect(server.healthy(), f"it is well: {server.health()}")

    with t.case("off and on, with SIGTERM"):
        live()
        server.stop()
        check_lake(t, server, 500, lost=False)
        live(*off)
        server.stop()
        live()
        expect_equal(server.log().count("was switched off: it lacks the"), 9,
                     "lines: three partitions of four have events, and three sinks were off")
        traffic.oracle.check(server, repeated=False)
        expect_equal(one(server, COUNTED), 1_000, "what SQL has")
        lost = one(server, LOST)
        expect(lost > 0, "SQL says that something is lost")
        expect(all(row["lost"] == row["next_offset"] - row["first_offset"] for row in ask(server, GAPS)),
               "a row of the ledger names the offsets")
        expect_equal(server.ledger()["counted"], 1_500, "what the screen has")
        server.stop()
        check_lake(t, server, 1_000, lost=True)

    with t.case("killed before a checkpoint, nothing is lost"):
        live(*off)
        server.kill()
        live()
        expect_equal(one(server, COUNTED), 2_000, "what SQL has")
        expect_equal(one(server, LOST), lost, "what is lost")
        server.stop()
        check_lake(t, server, 2_000, lost=True)

    with t.case("killed again and again while it records what it missed"):
        live(*off)
        server.stop()
        for _ in range(5):
            server.options = ["--lake.roll_interval", "200ms"]
            server.launch()
            expect(server.wait_door(60), server.last_line())
            server.kill()
        live()
        traffic.oracle.check(server, repeated=False)
        expect_equal(one(server, COUNTED), 2_500, "what SQL has")
        expect(one(server, LOST) > lost, "more is lost")
        server.stop()
        check_lake(t, server, 2_500, lost=True)


@test(seconds=60)
def lake_switched_on_later(t: Test) -> None:
    """A folder that has counted without a lake gets one."""
    server = t.server("--lake.enabled", "false")
    server.start()
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 300)
    server.wait_ledger(counted=300)
    committed(server)
    server.stop()
    server.options = ["--lake.roll_interval", "200ms"]
    server.start()
    deliver(server, traffic, 200)
    traffic.oracle.check(server, repeated=False)
    expect_equal(one(server, COUNTED), 200, "what SQL has")
    expect(one(server, LOST) > 0, "what the lake does not have")
    server.stop()
    check_lake(t, server, 200, lost=True)


@test(seconds=60)
def checkpoints_vanish(t: Test) -> None:
    """The folder of the checkpoints is gone for a while, as an unmounted file system is, with the empty mount point in
    its place: counting goes on, nothing is put into the wrong folder, and it is used again when it is back."""
    server = t.server("--engine.checkpoint_interval", "100ms", "--lake.roll_interval", "200ms")
    server.start()
    traffic = Traffic(0, trouble=False)
    folder, away = server.data / "checkpoints", server.data / "away"

    def checkpoint() -> float:
        return server.metric("sightline_engine_checkpoints_total")

    deliver(server, traffic, 200)
    wait_until(lambda: checkpoint() > 0, 10, "a checkpoint")
    for mount_point in (False, True):
        folder.rename(away)
        if mount_point:
            folder.mkdir()
        before = checkpoint()
        for _ in range(5):
            deliver(server, traffic, 100)
            server.wait_ledger(counted=traffic.oracle.distinct)
        server.wait_reason(20, "cannot put a checkpoint", "is not the folder that was opened")
        expect_equal(checkpoint(), before, "checkpoints meanwhile")
        if mount_point:
            expect_equal(list(folder.iterdir()), [], "what lies in the empty mount point")
            folder.rmdir()
        expect(not folder.exists(), "the folder was made anew")
        away.rename(folder)
        wait_until(lambda: checkpoint() > before, 20, "checkpoints again")
        wait_until(server.healthy, 20, "it is well again")
    server.kill()
    server.start()
    traffic.oracle.check(server, repeated=False)
    server.stop()
