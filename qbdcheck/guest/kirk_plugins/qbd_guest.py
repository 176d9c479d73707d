"""A channel of LTP's runner kirk into a guest: `--com qbd-guest:socket=PATH`.

kirk (4.2 and newer, https://github.com/linux-test-project/kirk) finds it in this directory. The
socket is the guest agent's. No other program may be connected to it.
"""

from __future__ import annotations

import asyncio
import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from libkirk.com import ComChannel
from libkirk.errors import CommunicationError

from qbdcheck import clock
from qbdcheck.errors import ProgramError
from qbdcheck.guest.agent import Agent, Running

_FIRST_STEP_S, _LONGEST_STEP_S = 0.005, 0.1
_T = TypeVar("_T")


class QbdGuest(ComChannel):  # type: ignore[misc]  # kirk has no type information
    """Commands go through the guest agent, one request at a time."""

    _name = "qbd-guest"

    def __init__(self) -> None:
        self._path = Path()
        self._agent: Agent | None = None
        self._turn = asyncio.Lock()

    def setup(self, **kwargs: Any) -> None:
        """Set the options of --com."""
        if "socket" not in kwargs:
            raise CommunicationError("qbd-guest needs socket=PATH, the socket of the guest agent")
        self._path = Path(str(kwargs["socket"]))

    @property
    def config_help(self) -> dict[str, str]:
        """The options of --com."""
        return {"socket": "path of the guest agent's Unix socket"}

    @property
    def parallel_execution(self) -> bool:
        """Whether several commands may run at once; the agent answers them in order."""
        return True

    async def active(self) -> bool:
        """Whether the agent is connected."""
        return self._agent is not None

    async def communicate(self, iobuffer: Any = None) -> None:  # noqa: ARG002  # of ComChannel
        """Connect."""
        self._agent = await asyncio.to_thread(Agent, self._path)

    async def stop(self, iobuffer: Any = None) -> None:  # noqa: ARG002  # of ComChannel
        """Disconnect. `run_command` has killed the commands that ran."""
        if self._agent is not None:
            await asyncio.to_thread(self._agent.close)
            self._agent = None

    async def _ask(self, call: Callable[..., _T], *arguments: Any) -> _T:
        async with self._turn:
            try:
                # A cancelled call continues in its thread: the agent's next answer belongs to it.
                return await asyncio.shield(asyncio.to_thread(functools.partial(call, *arguments)))
            except ProgramError as error:
                raise CommunicationError(str(error)) from None

    def _connected(self) -> Agent:
        if self._agent is None:
            raise CommunicationError("the guest agent is not connected")
        return self._agent

    async def ping(self) -> float:
        """Return the seconds that a command takes that does nothing."""
        ran = await self.run_command("true")
        return float(ran["exec_time"])

    async def run_command(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        iobuffer: Any = None,
    ) -> dict[str, Any]:
        """Run a line of shell. Cancelling this call kills it with its children."""
        line = [f"export {key}={shlex.quote(value)};" for key, value in (env or {}).items()]
        line += [f"cd {shlex.quote(cwd)} &&"] if cwd else []
        start_s = clock.now_s()
        running: Running = await self._ask(
            self._connected().start, f"exec 2>&1; {' '.join(line)} {command}"
        )
        try:
            step_s = _FIRST_STEP_S
            while await self._ask(lambda: running.is_running):
                await asyncio.sleep(step_s)
                step_s = min(2 * step_s, _LONGEST_STEP_S)
        except asyncio.CancelledError:
            await self._ask(running.kill)
            raise
        ran = await self._ask(running.wait)
        if iobuffer:
            await iobuffer.write(ran.output)
        return {
            "command": command,
            "returncode": ran.status,
            "stdout": ran.output,
            "exec_time": clock.now_s() - start_s,
        }

    async def fetch_file(self, target_path: str) -> bytes:
        """Return a file of the guest."""
        return await self._ask(self._connected().read_file, target_path)
