"""links: TCP links between a process and brokers that a test can stall, slow down and cut.

A Link listens on a port of its own and forwards to another; all links of a Links run on one thread of
their own. Their methods are for the test's thread.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Callable

from server import free_port

PIECE = 1 << 16


class Link:
    """Open at first. Bytes that have been taken are never lost but by cut()."""

    def __init__(self, links: "Links", target: int):
        self.links, self.target, self.port = links, target, free_port()
        self.delay = 0.0
        self.is_cut = False
        self.connections = 0  # that came through, ever
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.writers: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Nothing goes through, and nobody is told."""
        self.links.call(self.flowing.clear)

    def slow(self, seconds: float) -> None:
        """Each piece comes so much later."""
        self.delay = seconds

    def cut(self) -> None:
        """Every connection ends at once, and new ones do."""
        self.is_cut = True
        self.links.call(self._abort)

    def mend(self) -> None:
        self.is_cut, self.delay = False, 0.0
        self.links.call(self.flowing.set)

    # -- on the thread of the links --------------------------------------------------------------

    def _abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self) -> None:
        await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=PIECE)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self.writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self.writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                await self.flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
            await self.flowing.wait()
            writer.close()
        except OSError:
            writer.transport.abort()


class Links:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def link(self, target: int) -> Link:
        """To a port of this machine; it listens when this returns."""
        made = Link(self, target)
        asyncio.run_coroutine_threadsafe(made.serve(), self.loop).result(10)
        return made

    def call(self, function: Callable[[], None]) -> None:
        """Done when this returns."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(), done.set()))
        done.wait(10)
