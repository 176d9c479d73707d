"""The life of one volume on a target and of the server in front of it.

    absent --create--> created --start--> running --stop--> created
                                             |  ^
                                        kill v  | start
                                           crashed

and ``remove`` from anywhere back to absent. A call in a wrong state raises CaseBroken: it is the
case that is wrong. A target that does not do what its profile says raises SetupError: one line with
the command, what it said last, and the file that holds the rest.
"""

from __future__ import annotations

import contextlib
import enum
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qbdcheck.clock import now_s
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.files import ROOT
from qbdcheck.programs.daemon import Daemon
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import Completed, Process, run, tail
from qbdcheck.programs.qmp import Event, Qmp, connect_within
from qbdcheck.targets.description import Action, Description, Ready
from qbdcheck.targets.placeholders import fill, fill_command, fill_tree, names_in
from qbdcheck.targets.readiness import adopt_daemon, free_port, wait_ready

SOCKET_PATH_MAX = 107
"""Bytes of the path of a Unix socket (sun_path, unix(7)), without the final zero."""
COMMAND_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0
STOP_AGAIN_S = 1.0
"""qemu-nbd 7.2 forgets a SIGTERM that comes between its listen() and its main loop (it sets its
state to RUNNING after that, qemu-nbd.c: main): so the signal is sent again."""
_CRASHES = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
)
"""Exit statuses of a server that did not end but crash."""


class State(enum.Enum):
    """Where a volume is in its life."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    CRASHED = "crashed"


class Backend:
    """One volume and its server.

    :param directory: private to the case, exists; the volume gets a directory inside.
    :param name: of the volume; also that of the export.
    :param options: of the target: min_block=4096, read_only=True.
    :param print_server: whether the server's output goes to stderr when it ends (-p).
    :raise NotRun: the profile does not offer one of the options, or a program is missing.
    """

    def __init__(
        self,
        description: Description,
        programs: Programs,
        directory: Path,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        print_server: bool = False,
    ) -> None:
        self.description = description
        self.programs = programs
        self.name = name
        self.state = State.ABSENT
        self.size = 0
        self.on_power_lost: list[Callable[[], None]] = []
        """Called when what was not flushed may be gone: after `kill` and `crash`."""
        self.front: tuple[dict[str, Any], str] | None = None
        """blockdev options and URI of what stands before the server, if something does."""
        self.told: list[list[Event]] = []
        """The events of each control connection, and of a fault proxy's; they grow."""
        self.tenants: list[Backend] = []
        """What else its server serves (tenant.py), oldest first."""
        self.directory = directory / f"{name}.volume"
        self._options = dict(options or {})
        self._print_server = print_server
        self._server: Process | Daemon | None = None
        self._control: Qmp | None = None
        self._port: int | None = None
        missing = [f"target {description.name} has no option {key}"
                   for key in self._options if key not in description.options]  # fmt: skip
        if missing:
            raise NotRun(*missing)
        programs.require(*description.program_paths)

    # Placeholders --------------------------------------------------------------------------------

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return what the placeholders stand for."""
        values: dict[str, str | int | list[str]] = {
            "dir": str(self.directory),
            "name": self.name,
            "size": self.size,
            "socket": str(self.directory / "s"),
            "control": str(self.directory / "c"),
            "python": sys.executable,
            "root": str(ROOT),
            "options": self._option_words(),
            "pid": self._server.pid if self._server else 0,
        }
        if self._port is not None:
            values["port"] = self._port
        return {**values, **more}

    def _option_words(self) -> list[str]:
        words: list[str] = []
        for key, value in self._options.items():
            if value is not False and value is not None:
                template = self.description.options[key]  # type: ignore[index]
                filled = value if isinstance(value, str) else int(value)
                words += fill_command(template, {"value": filled})
        return words

    # What others need to reach it ----------------------------------------------------------------

    @property
    def blockdev(self) -> dict[str, Any]:
        """blockdev options of the protocol node, without a node name."""
        if self.front is not None:
            return dict(self.front[0])
        filled = fill_tree(self.description.blockdev, self.values())
        assert isinstance(filled, dict)
        return filled

    @property
    def uri(self) -> str | None:
        """NBD URI, None where the target has none."""
        if self.front is not None:
            return self.front[1]
        if self.description.nbd is None:
            return None
        values = {
            key: quote(value, safe="/" if key in {"socket", "dir"} else "")
            for key, value in self.values().items()
            if isinstance(value, str)
        }
        return fill(self.description.nbd, {**self.values(), **values})

    @property
    def filename(self) -> str | None:
        """A plain file name for `qemu-img create`, None where the target has none."""
        if self.description.filename is not None:
            return fill(self.description.filename, self.values())
        return self.uri

    @property
    def path(self) -> Path:
        """The file or socket behind the volume."""
        if self.description.path is not None:
            return Path(fill(self.description.path, self.values()))
        ready = self.description.ready
        if ready is not None and ready.socket is not None:
            return Path(fill(ready.socket, self.values()))
        return Path(str(self.blockdev.get("filename", self.directory / self.name)))

    @property
    def pid(self) -> int:
        """Process id of the server.

        :raise CaseBroken: none runs.
        """
        if self._server is None:
            raise CaseBroken(f"volume {self.name} has no running server")
        return self._server.pid

    # Transitions ---------------------------------------------------------------------------------

    def create(self, size: int) -> None:
        """Make the volume, of ``size`` bytes."""
        self._must_be(State.ABSENT)
        self.size = size
        try:
            self.directory.mkdir(mode=0o700)
        except OSError as error:
            raise SetupError(f"cannot make {self.directory}: {error.strerror}") from None
        self._check_sockets()
        try:
            self._commands(self.description.volume.create, "volume.create")
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self.state = State.CREATED

    def start(self, read_only: bool | None = None) -> None:
        """Start the server and wait until it is ready.

        :param read_only: changes that option from now on.
        :raise SetupError: it does not start, dies at once, or never becomes ready.
        """
        self._must_be(State.CREATED, State.CRASHED)
        if read_only is not None:
            self._options["read_only"] = read_only
        if self.description.start is not None:
            self._start_server(self.description.start)
        self.state = State.RUNNING

    def stop(self) -> None:
        """End the server as its users do; what was acknowledged must survive.

        :raise NotRun: volumes of this target live only as long as their server.
        """
        if self.description.volatile:
            raise NotRun(f"target {self.description.name} keeps nothing when it is stopped")
        self.end()

    def end(self) -> None:
        """End the server as its users do.

        :raise ProgramError: it does not end in time, or ends by a crash.
        """
        self._must_be(State.RUNNING)
        self._close_control()
        server = self._server
        if server is not None:
            ended = self._ask_to_end(server)
            how = server.describe()
            if not ended:
                server.kill()
                how = f"did not end within {STOP_GRACE_S:g} s"
            self._forget_server()
            if not ended or (server.returncode or 0) in _CRASHES:
                raise ProgramError(
                    f"target {self.description.name}: at its stop the server {how}",
                    server.argv,
                    server.returncode,
                    server.output(),
                )
        self.state = State.CREATED

    def _ask_to_end(self, server: Process | Daemon) -> bool:
        """Do what stops the server; say whether it has ended."""
        action = self.description.stop
        deadline = now_s() + STOP_GRACE_S * self.programs.slowdown
        if action.number is None:
            self._do(action, "stop")
            return server.has_ended_within(deadline - now_s())
        while now_s() < deadline:
            server.signal(action.number)
            if server.has_ended_within(min(STOP_AGAIN_S, deadline - now_s())):
                return True
        return False

    def kill(self) -> None:
        """Kill the server in mid-air; what was flushed must survive."""
        if self.description.kill is None:
            raise NotRun(f"target {self.description.name} has no kill")
        self._must_be(State.RUNNING)
        self._close_control()
        assert self._server is not None
        action = self.description.kill
        if action.number is not None:
            self._server.signal(action.number)
        else:
            self._do(action, "kill")
        if not self._server.has_ended_within(STOP_GRACE_S):
            self._server.kill()
        self._forget_server()
        self.state = State.CRASHED
        self._tell_power_lost()

    def crash(self, seed: int = 0) -> None:
        """Lose power: of what was not flushed any part may be gone. The server runs afterwards.

        :param seed: decides what is kept, where the target lets us choose.
        """
        action = self.description.crash
        if action is None:
            raise NotRun(f"target {self.description.name} has no crash")
        self._must_be(State.RUNNING)
        self._do(action, "crash", seed=seed)
        self._tell_power_lost()
        if self._server is not None and not self._server.is_running:
            self._close_control()
            self._forget_server()
            self.state = State.CRASHED
            self.start()

    def resize(self, size: int) -> None:
        """Give the volume another size, in bytes."""
        action = self.description.volume.resize
        if action is None:
            raise NotRun(f"target {self.description.name} does not resize volumes")
        self._must_be(State.CREATED, State.RUNNING)
        old, self.size = self.size, size
        try:
            self.perform(action, "volume.resize")
        except BaseException:
            self.size = old
            raise

    def snapshot(self, name: str) -> None:
        """Keep the present contents of the volume under a name."""
        action = self.description.volume.snapshot
        if action is None:
            raise NotRun(f"target {self.description.name} takes no snapshots")
        self.perform(action, "volume.snapshot", snapshot=name)

    def control(self, command: str, /, **arguments: object) -> Any:
        """Run a command on the control socket (QMP) and return its value.

        Underscores in names of arguments stand for dashes.
        """
        return self.control_client().execute(
            command, {key.replace("_", "-"): value for key, value in arguments.items()}
        )

    def control_client(self) -> Qmp:
        """Return the connection to the control socket; it has the events."""
        if self.description.control is None:
            raise NotRun(f"target {self.description.name} has no control socket")
        self._must_be(State.RUNNING)
        if self._control is None:
            path = Path(fill(self.description.control, self.values()))
            self._control = connect_within(path, f"control of {self.name}", 5.0)
            self.told.append(self._control.events)
        return self._control

    def remove(self, keep: bool = False) -> None:
        """End everything and remove the volume. Never raises: the case is over.

        :param keep: stop the server only; the volume and its directory stay.
        """
        self._close_control()
        if self._server is not None:
            self._server.stop(signal.SIGTERM, 1.0)
            self._forget_server()
        for tenant in reversed(self.tenants):
            tenant.remove(keep)
        if keep:
            return
        if self.state is not State.ABSENT:
            with contextlib.suppress(SetupError, ProgramError):
                self._commands(self.description.volume.remove, "volume.remove")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.state = State.ABSENT

    def _tell_power_lost(self) -> None:
        for tell in self.on_power_lost:
            tell()

    # Inside --------------------------------------------------------------------------------------

    def _must_be(self, *states: State) -> None:
        if self._server is not None and self.state is State.RUNNING and not self._server.is_running:
            said = self._server.describe()
            self._forget_server()
            self.state = State.CRASHED
            if State.CRASHED not in states:
                message = f"target {self.description.name}: its server died: {said}"
                raise ProgramError(message, [self.description.name], None)
        if self.state not in states:
            wanted = " or ".join(state.value for state in states)
            raise CaseBroken(f"volume {self.name} is {self.state.value}, it must be {wanted}")

    def _check_sockets(self) -> None:
        path = self.directory / "s"
        if len(str(path).encode()) > SOCKET_PATH_MAX:
            raise SetupError(f"{path} is too long for a Unix socket; set TMPDIR to a shorter path")

    def _commands(self, commands: list[str], what: str, **more: str | int) -> None:
        for command in commands:
            self._command(fill_command(command, self.values(**more)), what)

    def _command(self, argv: list[str], what: str) -> Completed:
        argv = self._resolve(argv)
        try:
            return run(
                argv,
                timeout_s=COMMAND_TIMEOUT_S,
                env=self._environment(),
                cwd=self.directory,
            )
        except ProgramError as error:
            said = tail(error.stderr or error.stdout) or str(error)
            raise SetupError(
                f"target {self.description.name}: {what}: {' '.join(argv)}: {said}"
            ) from None

    def _resolve(self, argv: list[str]) -> list[str]:
        path = self.programs.path(argv[0])
        if path is None:
            raise SetupError(f"target {self.description.name}: {self.programs.missing(argv[0])}")
        return [path, *argv[1:]]

    def _environment(self) -> dict[str, str]:
        return {
            key: fill(value, self.values()) for key, value in self.description.environment.items()
        }

    def _do(self, action: Action, what: str, **more: str | int) -> None:
        if action.control is not None:
            arguments = fill_tree(action.arguments, self.values(**more))
            assert isinstance(arguments, dict)
            self.control_client().execute(fill(action.control, self.values(**more)), arguments)
        elif action.number is not None:
            assert self._server is not None
            self._server.signal(action.number)
        else:
            self._commands(action.command, what, **more)

    def perform(self, action: Action, what: str, **more: str | int) -> None:
        """Carry out an action of the profile on a volume.

        :param what: its key, for messages. :param more: further placeholders.
        """
        self._must_be(State.CREATED, State.RUNNING)
        was_running = self.state is State.RUNNING and action.restart
        if was_running:
            self.stop()
        self._do(action, what, **more)
        if was_running:
            self.start()

    def _start_server(self, command: str) -> None:
        ready = self.description.ready
        assert ready is not None
        templates = [command, *self.description.files.values()]
        if "port" in set(names_in(list(templates))):
            self._port = free_port()
        for stale in ("s", "c"):
            (self.directory / stale).unlink(missing_ok=True)
        if ready.pid_file is not None:  # of a server that was killed: it would be adopted again
            Path(fill(ready.pid_file, self.values())).unlink(missing_ok=True)
        self._write_files()
        argv = self._resolve(fill_command(command, self.values()))
        self._server = Process(argv, self.directory.parent, f"{self.name}.server",
                               env=self._environment(), cwd=self.directory,
                               leaves_daemon=ready.pid_file is not None)  # fmt: skip
        try:
            ready = ready.model_copy(update=self._filled(ready))
            patience = self.programs.slowdown
            if ready.pid_file is not None:
                self._server = adopt_daemon(self.description.name, ready, self._server)
            wait_ready(self.description.name, ready, self._server, patience)
        except BaseException:
            self._server.kill()
            self._forget_server()
            raise

    def _filled(self, ready: Ready) -> dict[str, str]:
        places = {"socket": ready.socket, "port": ready.port, "pid_file": ready.pid_file}
        return {key: fill(place, self.values()) for key, place in places.items() if place}

    def _write_files(self) -> None:
        for path, contents in self.description.files.items():
            file = Path(fill(path, self.values()))
            try:
                file.write_text(fill(contents, self.values()))
            except OSError as error:
                raise SetupError(
                    f"target {self.description.name}: files: cannot write {file}: {error.strerror}"
                ) from None

    def _forget_server(self) -> None:
        if self._server is not None and self._print_server:
            sys.stderr.write(self._server.output())
        self._server = None

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
