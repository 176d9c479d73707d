"""Servers of ``scope: run``: one serves the volumes of all cases of a run.

The runner starts the server before the first case, and its forked children inherit it. It dies with
the runner. A case that kills or crashes its server, or asks for options of it, has a server of its
own, because other cases use the shared one at the same time. So has each case after the shared
server died.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qbdcheck.errors import NotRun, ProgramError, SetupError
from qbdcheck.programs.installed import Programs
from qbdcheck.socket_paths import check_socket_path
from qbdcheck.targets import readiness
from qbdcheck.targets.description import Description
from qbdcheck.targets.lifecycle import COMMAND_S, Backend
from qbdcheck.targets.profile_parts import Ready
from qbdcheck.targets.server_death import ServerDiedError
from qbdcheck.targets.volume_state import State

ENDS_SERVER = frozenset(("kill", "crash", "sudden_end"))
"""Capabilities of a target that a case can use only on a server of its own."""


class RunServer(Backend):
    """The server alone. Its volumes are `RunVolume` objects.

    :param parent: an existing directory, removed with the server. It gets one in it, ``{run}``.
    :param options: options of the target, for the server of a single case.
    """

    def __init__(
        self,
        description: Description,
        programs: Programs,
        parent: Path,
        options: Mapping[str, Any] | None = None,
        *,
        print_server: bool = False,
    ) -> None:
        super().__init__(
            description, programs, parent, "server", options, print_server=print_server
        )

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return the values of the placeholders."""
        return {**super().values(), "run": str(self.directory), **more}

    def create(self, size: int = 0, within_s: float = 0.0) -> None:  # noqa: ARG002  # no command
        """Make the directory. The server has no volume."""
        self._must_be(State.ABSENT)
        self.size = size
        self.directory.mkdir(mode=0o700)
        check_socket_path(self.directory / "s")
        self.state = State.CREATED

    def remove(self, keep: bool = False) -> None:
        """End the server and remove its directory. Never raises."""
        self.state = State.ABSENT  # there is no volume to remove
        super().remove(keep)
        if not keep:
            shutil.rmtree(self.directory.parent, ignore_errors=True)

    @property
    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.is_running

    def death(self) -> ServerDiedError:
        """Return the error that says how the server died."""
        assert self._server is not None
        return ServerDiedError(self.description.name, self._server)

    def wait_for(self, volume: Backend, check: readiness.Check) -> None:
        """Wait until a volume on the server can be opened.

        :raise SetupError: it cannot within the time of ``ready``, or the server died.
        """
        ready, server = self.description.ready, self._server
        assert ready is not None
        if server is None:
            raise SetupError(f"target {volume.description.name}: its server does not run")
        readiness.wait_ready(self.description.name, ready, server, self.programs.slowdown, [check])

    def _readiness_checks(self, ready: Ready) -> Iterator[readiness.Check]:
        yield self._accepts(ready)


class RunVolume(Backend):
    """A volume on a server of ``scope: run``.

    :param directory: private to the case; exists.
    :param owned: whether the server is the case's own, so that it may be stopped and killed.
    """

    def __init__(
        self, server: RunServer, programs: Programs, directory: Path, name: str, *, owned: bool
    ) -> None:
        super().__init__(server.description, programs, directory, name)
        self.sizes = server.sizes
        self.server = server
        self._owned = owned
        place = f"{self.directory}:{os.getpid()}".encode()
        self._case = f"qc{zlib.crc32(place):08x}"

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return the values of the placeholders: most are those of the server."""
        own: dict[str, str | int | list[str]] = {
            "dir": str(self.directory), "name": self.name, "size": self.size, "case": self._case,
        }  # fmt: skip
        return {**self.server.values(), **own, **more}

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self.server.pid

    def create(self, size: int, within_s: float = COMMAND_S) -> None:
        """Make the volume. A server of the case's own starts first."""
        if self._owned and self.server.state is State.ABSENT:
            self.server.create()
            self.server.start()
        super().create(size, within_s)

    def start(self, read_only: bool | None = None) -> None:
        """Wait until the volume can be opened. A server of the case's own is started.

        :raise SetupError: the volume cannot be opened, or the server does not start.
        """
        self._must_be(State.CREATED, State.CRASHED)
        if self._owned and self.server.state is not State.RUNNING:
            self.server.start(read_only)
        self.server.wait_for(self, self._opens())
        self.state = State.RUNNING

    def stop(self) -> None:
        """End a server of the case's own in its normal way. All acknowledged data must survive.

        :raise NotRun: other cases use the server.
        """
        self._must_own("stopped")
        super().stop()

    def end(self) -> None:
        """End the use of the volume, and a server of the case's own.

        :raise ProgramError: the server has died, or does not end in time.
        """
        self._must_be(State.RUNNING)
        self.announce()
        self._close_control()
        if self._owned:
            self.server.end()
        self.state = State.CREATED

    def kill(self) -> None:
        """Kill a server of the case's own. All flushed data must survive."""
        self._must_own("killed")
        self._must_be(State.RUNNING)
        self.announce(orderly=False)
        self._close_control()
        self.server.kill()
        self.state = State.CRASHED
        self._report_end("kill")

    def crash(self, seed: int = 0) -> None:
        """Simulate a power cut of a server of the case's own. It runs afterwards."""
        self._must_own("crashed")
        self._must_be(State.RUNNING)
        self.announce(orderly=False)
        self.server.crash(seed)
        self.server.wait_for(self, self._opens())
        self._report_end("crash", seed)

    def remove(self, keep: bool = False) -> None:
        """Remove the volume, and a server of the case's own. Never raises: the case is over."""
        if self._owned or not self.server.is_alive:
            self.state = State.ABSENT  # the volume goes with the server, which may not answer
        super().remove(keep)
        if self._owned:
            self.server.remove(keep)

    def _must_own(self, what: str) -> None:
        if not self._owned:
            name = self.description.name
            raise NotRun(f"target {name} has one server for all cases, which cannot be {what}")

    def _must_be(self, *states: State) -> None:
        if self.state is State.RUNNING and not self.server.is_alive:
            self.state = State.CRASHED
            if State.CRASHED not in states:
                raise self.server.death()
        super()._must_be(*states)


_shared: dict[str, RunServer] = {}
"""The shared servers that this process has started or inherited, by their profiles."""


def _key(description: Description) -> str:
    """Return what distinguishes servers: the profile without what only says how to judge them."""
    return description.model_copy(update={"lacks": [], "deviations": []}).model_dump_json()


def start_shared(
    description: Description, programs: Programs, root: Path, *, print_server: bool = False
) -> None:
    """Start the server of a profile with ``scope: run``, unless it runs. Else do nothing.

    :param root: an existing directory. The server gets a private one in it.
    :raise SetupError: it does not start. :raise NotRun: a program is missing.
    """
    if description.scope != "run" or shared(description) is not None:
        return
    parent = Path(tempfile.mkdtemp(prefix="qs-", dir=root))
    server = RunServer(description, programs, parent, print_server=print_server)
    try:
        server.create()
        server.start()
    except BaseException:
        server.remove()
        raise
    _shared[_key(description)] = server


def shared(description: Description) -> RunServer | None:
    """Return the shared server of a profile, or None if none runs."""
    server = _shared.get(_key(description))
    return server if server is not None and server.is_alive else None


def end_shared(*, keep: bool = False) -> None:
    """End all shared servers of this process. A server that does not end in time is killed.

    :param keep: keep their directories, which have the volumes.
    """
    while _shared:
        _, server = _shared.popitem()
        try:
            if server.is_alive:
                server.end()
        except (ProgramError, SetupError):
            pass  # each case has checked that it was alive
        server.remove(keep)


@contextlib.contextmanager
def shared_servers_end(*, keep: bool = False) -> Iterator[None]:
    """End the shared servers of this process after the body."""
    try:
        yield
    finally:
        end_shared(keep=keep)
