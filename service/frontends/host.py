"""The engine's side: it computes for every front end that connects, and forgets who has gone."""

import asyncio
import logging
import os
import socket
import struct
from itertools import count

from service.engine import Engine
from service.frontends.arena import Mapping
from service.frontends.desk import Desk
from service.frontends.messages import State
from service.models import ServedModel

log = logging.getLogger("mixer.frontends")

# Who connects sends its memory at once.
GREETING_TIMEOUT_S = 5.0


class Host:
    """Accepts front ends, and tells each of every change of the engine."""

    def __init__(self, engine: Engine, listening: socket.socket, heartbeat_s: float) -> None:
        """Take a listening Unix socket; it is not closed, since a successor may need it."""
        self._engine, self._listening, self._heartbeat_s = engine, listening, heartbeat_s
        self._ungreeted: set[socket.socket] = set()  # connections that have no desk yet
        self._desks: set[Desk] = set()
        self._numbers = count()
        self._keys: dict[ServedModel, int] = {}
        engine.on_change(self._tell_all)
        self._note_frontends()

    async def run(self) -> None:
        """Accept until cancelled, and give a sign of life in every interval."""
        self._listening.setblocking(False)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._give_signs_of_life())
                while True:
                    connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
                    self._ungreeted.add(connection)
                    tasks.create_task(self._welcome(connection))
        finally:
            for connection in self._ungreeted:
                connection.close()
            for desk in self._desks:
                desk.wire.close()

    async def _give_signs_of_life(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            self._tell_all()

    async def _welcome(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            memory = await loop.run_in_executor(None, _greeting, connection)
        except OSError as error:
            log.warning("a front end did not greet: %s", error)
            self._ungreeted.discard(connection)
            connection.close()
            return
        desk = Desk(self._engine, Mapping(memory), self._desk_changed)
        await loop.connect_accepted_socket(lambda: desk.wire, connection)
        self._ungreeted.discard(connection)
        self._desks.add(desk)
        self._desk_changed(desk)
        self._tell(desk)

    def _desk_changed(self, desk: Desk) -> None:
        if desk.closed:
            self._desks.discard(desk)
        # One alone may be on its way out; all of them means the server.
        self._engine.health.draining = bool(self._desks) and all(d.draining for d in self._desks)
        self._note_frontends()

    def _note_frontends(self) -> None:
        nobody = {} if self._desks else {"frontends": "none is connected"}
        self._engine.health.obstacles = nobody

    def _tell_all(self) -> None:
        for desk in self._desks:
            self._tell(desk)

    def _tell(self, desk: Desk) -> None:
        catalog, health = self._engine.catalog, self._engine.health
        # A number for each model, the same as long as it is served.
        self._keys = {
            model: self._keys[model] if model in self._keys else next(self._numbers)
            for model in catalog.served
        }
        desk.tell(
            State(
                served=desk.describe(self._keys),
                missing=catalog.missing,
                stale=catalog.stale,
                illness=health.live().reasons,
                started=health.started.is_set(),
            )
        )


def _greeting(connection: socket.socket) -> int:
    """Return the descriptor of the memory that a front end sends first."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", peer)[1] != os.getuid():
        raise PermissionError("it is another user's process")
    connection.settimeout(GREETING_TIMEOUT_S)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if not descriptors:
        raise ConnectionError("it sent no memory")
    connection.setblocking(False)
    return descriptors[0]
