"""QEMU's own QMP client, connected to a server process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from qemu.qmp import QMPClient

from .cli_server import ServerProcess


def with_qmp(server: ServerProcess, script: Callable[[QMPClient], Awaitable[Any]]) -> Any:
    """Run a coroutine with a connected qemu.qmp client."""

    async def run() -> Any:
        client = QMPClient("test")
        await client.connect(str(server.control))
        try:
            return await asyncio.wait_for(script(client), 20)
        finally:
            with contextlib.suppress(EOFError):  # the server may be gone, as asked
                await client.disconnect()

    return asyncio.run(run())
