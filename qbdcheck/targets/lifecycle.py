"""The life of one volume on a target and of the server in front of it.

    absent --create--> created --start--> running --stop--> created
                                             |  ^
                                        kill v  | start
                                           crashed

``remove`` leads from any state back to absent. A call in a wrong state is a mistake of the case and
raises CaseBroken. A target that does not do what its profile says raises SetupError: one line with
the command and its last output.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError, TooSlowError
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.blockdev import json_filename, object_arguments
from qbdcheck.programs.daemon import Daemon
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.luks_clock import run_measured
from qbdcheck.programs.process import Completed, Process, tail
from qbdcheck.programs.qmp import Event, Qmp, connect_within
from qbdcheck.socket_paths import check_socket_path
from qbdcheck.targets import readiness
from qbdcheck.targets.advertised_sizes import sizes_of, step_of
from qbdcheck.targets.config_files import write_files
from qbdcheck.targets.description import Description
from qbdcheck.targets.listeners import WithListeners
from qbdcheck.targets.placeholders import fill, fill_command, fill_tree, fill_uri, names_in
from qbdcheck.targets.placeholders import option_arguments as options_of
from qbdcheck.targets.profile_parts import Action, Ready
from qbdcheck.targets.server_death import ServerDiedError, last_error, reason_in
from qbdcheck.targets.volume_state import State

COMMAND_S = 60.0
STOP_GRACE_S = 10.0
STOP_AGAIN_S = 1.0
"""Seconds after which the signal is sent again. qemu-nbd 7.2 loses a SIGTERM that comes between its
listen() and its main loop, because it sets its state to RUNNING later (qemu-nbd.c: main)."""


class Backend(WithListeners):
    """One volume and its server.

    :param directory: private to the case; the volume gets a directory in it.
    :param name: name of the volume and of its export.
    :param options: options of the target, such as min_block=4096, read_only=True.
    :param print_server: whether the server's output goes to stderr when it ends (-p).
    :raise NotRun: the profile lacks an option, or a program is missing.
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
        super().__init__()
        self.description = description
        self.programs = programs
        self.name = name
        self.state = State.ABSENT
        self._options = dict(options or {})
        self.sizes, self.step = sizes_of(description, self._options), step_of(description)
        self.size = 0
        self.front: tuple[dict[str, Any], str] | None = None
        """blockdev options and URI of a proxy in front of the server, if there is one."""
        self.event_lists: list[list[Event]] = []
        """The events of each control connection, also of a fault proxy. The lists grow."""
        self.siblings: list[Backend] = []
        """Other exports of the same server (sibling_export.py), oldest first."""
        self.directory = directory / f"{name}.volume"
        self._print_server = print_server
        self._server: Process | Daemon | None = None
        self._control: Qmp | None = None
        self._port: int | None = None
        if missing := [key for key in self._options if key not in description.options]:
            raise NotRun(*(f"target {description.name} has no option {key}" for key in missing))
        programs.require(*description.program_paths)

    def values(self, **more: str | int) -> dict[str, str | int | list[str]]:
        """Return the values of the placeholders."""
        values: dict[str, str | int | list[str]] = {
            "dir": str(self.directory),
            "name": self.name,
            "size": self.size,
            "socket": str(self.directory / "s"),
            "control": str(self.directory / "c"),
            "python": sys.executable,
            "root": str(ROOT),
            "options": options_of(self.description.options, self._options),
            "pid": self._server.pid if self._server else 0,
        }
        if self._port is not None:
            values["port"] = self._port
        return {**values, **more}

    # How clients reach it ------------------------------------------------------------------------

    @property
    def blockdev(self) -> dict[str, Any]:
        """blockdev options of the protocol node, without a node name."""
        return dict(self.front[0]) if self.front is not None else self._server_blockdev()

    def _server_blockdev(self) -> dict[str, Any]:
        filled = fill_tree(self.description.blockdev, self.values())
        assert isinstance(filled, dict)
        return filled

    @property
    def objects(self) -> list[str]:
        """Definitions of the objects to which the protocol node refers (``--object``)."""
        return [fill(text, self.values()) for text in self.description.objects]

    @property
    def uri(self) -> str | None:
        """NBD URI, or None if the target has none."""
        return self.front[1] if self.front is not None else self._server_uri()

    def _server_uri(self) -> str | None:
        uri = self.description.nbd
        return None if uri is None else fill_uri(uri, self.values())

    @property
    def filename(self) -> str:
        """A plain file name for `qemu-img create`; raises NotRun if the target has none."""
        named = self.description.filename
        name = self.uri if named is None else fill(named, self.values())
        if name is None:
            raise NotRun(f"target {self.description.name} has no file name for qemu-img create")
        return name

    @property
    def path(self) -> Path:
        """The file or socket behind the volume."""
        ready = self.description.ready
        place = self.description.path or (ready.socket if ready is not None else None)
        if place is not None:
            return Path(fill(place, self.values()))
        return Path(str(self.blockdev.get("filename", self.directory / self.name)))

    @property
    def pid(self) -> int:
        """Process id of the server.

        :raise CaseBroken: no server runs.
        """
        if self._server is None:
            raise CaseBroken(f"volume {self.name} has no running server")
        return self._server.pid

    # Transitions ---------------------------------------------------------------------------------

    def create(self, size: int, within_s: float = COMMAND_S) -> None:
        """Make the volume. ``size``: in bytes. ``within_s``: seconds of work for each command."""
        self._must_be(State.ABSENT)
        self.size = size
        try:
            self.directory.mkdir(mode=0o700)
        except OSError as error:
            raise SetupError(f"cannot make {self.directory}: {error.strerror}") from None
        check_socket_path(self.directory / "s")
        try:
            if self.description.scope == "case":
                self._take_port()
                self._write_files(early=True)
            for command in self.description.volume.create:
                self._command(fill_command(command, self.values()), "volume.create", within_s)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self.state = State.CREATED

    def start(self, read_only: bool | None = None) -> None:
        """Start the server and wait until it is ready.

        :param read_only: new value of that option for this and later starts.
        :raise SetupError: the server does not start, dies, or is not ready in time.
        """
        self._must_be(State.CREATED, State.CRASHED)
        if read_only is not None:
            self._options["read_only"] = read_only
        if self.description.start is not None:
            self._start_server(self.description.start)
        self.state = State.RUNNING

    def stop(self) -> None:
        """End the server in its normal way. All acknowledged data must survive.

        :raise NotRun: volumes of this target live only as long as their server.
        """
        if self.description.volatile:
            raise NotRun(f"target {self.description.name} does not keep data after a stop")
        self.end()
        self._report_end("stop")

    def end(self) -> None:
        """End the server in its normal way.

        :raise ProgramError: the server does not end in time, or crashes.
        """
        self._must_be(State.RUNNING)
        self.announce()
        self._close_control()
        if (server := self._server) is not None:
            ended = self._ask_to_end(server)
            how = server.describe()
            if not ended:
                server.kill()
                how = f"did not end within {STOP_GRACE_S:g} s"
            self._forget_server()
            if not ended or server.crash:
                reason = reason_in(server.output()) or last_error(server)
                raise ProgramError(
                    f"target {self.description.name}: the server {how} while it was stopped"
                    + (f" ({reason})" if reason else ""),
                    server.argv,
                    server.returncode,
                    server.output(),
                )
        self.state = State.CREATED

    def _ask_to_end(self, server: Process | Daemon) -> bool:
        """Perform the action ``stop``. Return whether the server has ended."""
        action = self.description.stop
        limit = Limit(STOP_GRACE_S * self.programs.slowdown)
        if action.number is None:
            self._do(action, "stop")
            return server.has_ended_in(limit)
        while left_s := limit.left_s():  # at most STOP_AGAIN_S
            server.signal(action.number)
            if server.has_ended_within(left_s):
                return True
        return False

    def kill(self) -> None:
        """Kill the server. All flushed data must survive."""
        if self.description.kill is None:
            raise NotRun(f"target {self.description.name} has no kill action")
        self._must_be(State.RUNNING)
        self.announce(orderly=False)
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
        self._report_end("kill")

    def crash(self, seed: int = 0) -> None:
        """Simulate a power cut. Data that was not flushed may be gone. The server runs afterwards.

        :param seed: decides which data is kept, if the target supports it.
        """
        action = self.description.crash
        if action is None:
            raise NotRun(f"target {self.description.name} has no crash action")
        self._must_be(State.RUNNING)
        self.announce(orderly=False)
        self._do(action, "crash", seed=seed)
        self._report_end("crash", seed)
        if (server := self._server) and not readiness.survives(server, action, self._opens):
            self._close_control()
            self._forget_server()
            self.state = State.CRASHED
            self.start()

    def resize(self, size: int) -> None:
        """Change the size of the volume. ``size``: in bytes.

        If the target refuses it, also by not starting again, the server runs with the old size.

        :raise SetupError, ProgramError, QmpFailed: the target refuses the size.
        """
        action = self.description.volume.resize
        if action is None:
            raise NotRun(f"target {self.description.name} does not resize volumes")
        self._must_be(State.CREATED, State.RUNNING)
        self.announce(alone=True)
        old, running = self.size, self.state is State.RUNNING
        try:
            with self._stopped_for(action):
                self._do(action, "volume.resize", size=size)
                self.size = size
        except (SetupError, ProgramError):
            if running and self.state is State.CREATED:
                self.size = old
                self._do(action, "volume.resize")
                self.start()
            raise

    def snapshot(self, name: str) -> None:
        """Take a snapshot of the volume under a name."""
        if (action := self.description.volume.snapshot) is None:
            raise NotRun(f"target {self.description.name} does not take snapshots")
        self.perform(action, "volume.snapshot", snapshot=name)

    def control(self, command: str, /, **arguments: object) -> Any:
        """Run a command on the control socket (QMP) and return its value.

        Underscores in argument names become dashes.
        """
        return self.control_client().execute(
            command, {key.replace("_", "-"): value for key, value in arguments.items()}
        )

    def control_client(self) -> Qmp:
        """Return the QMP connection to the control socket, which collects the events."""
        if self.description.control is None:
            raise NotRun(f"target {self.description.name} has no control socket")
        self._must_be(State.RUNNING)
        if self._control is None:
            path = Path(fill(self.description.control, self.values()))
            self._control = connect_within(path, f"control of {self.name}", 5.0)
            self.event_lists.append(self._control.events)
        return self._control

    def remove(self, keep: bool = False) -> None:
        """End everything and remove the volume. Never raises: the case is over.

        :param keep: stop the server only; the volume and its directory stay.
        """
        self._close_control()
        if self._server is not None:
            self._server.stop(signal.SIGTERM, 1.0)
            self._forget_server()
        for sibling in reversed(self.siblings):
            sibling.remove(keep)
        if keep:
            return
        if self.state is not State.ABSENT:
            with contextlib.suppress(SetupError, ProgramError):
                self._commands(self.description.volume.remove, "volume.remove")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.state = State.ABSENT

    def _must_be(self, *states: State) -> None:
        if self._server is not None and self.state is State.RUNNING and not self._server.is_running:
            death = ServerDiedError(self.description.name, self._server)
            self._forget_server()
            self.state = State.CRASHED
            if State.CRASHED not in states:
                raise death
        if self.state not in states:
            wanted = " or ".join(state.value for state in states)
            raise CaseBroken(f"volume {self.name} is {self.state.value}, it must be {wanted}")

    def _commands(self, commands: list[str], what: str, **more: str | int) -> None:
        for command in commands:
            self._command(fill_command(command, self.values(**more)), what)

    def _command(self, argv: list[str], what: str, within_s: float = COMMAND_S) -> Completed:
        argv = self._resolve(argv)
        try:
            return run_measured(argv, self._environment(), self.directory, within_s)
        except ProgramError as error:
            reported = tail(error.stderr or error.stdout) or str(error)
            raise (TooSlowError if error.returncode is None else SetupError)(
                f"target {self.description.name}: {what}: {' '.join(argv)}: {reported}"
            ) from None

    def _resolve(self, argv: list[str]) -> list[str]:
        path = self.programs.path(argv[0])
        if path is None:
            raise SetupError(f"target {self.description.name}: {self.programs.missing(argv[0])}")
        return [path, *argv[1:]]

    def _environment(self) -> dict[str, str]:
        variables = self.description.environment.items()
        return {key: fill(value, self.values()) for key, value in variables}

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
        """Perform an action of the profile on a volume.

        :param what: key of the action, for messages. :param more: further placeholders.
        """
        self._must_be(State.CREATED, State.RUNNING)
        with self._stopped_for(action):
            self._do(action, what, **more)

    @contextlib.contextmanager
    def _stopped_for(self, action: Action) -> Iterator[None]:
        """Stop a running server during the body, if the action says ``restart``."""
        with ExitStack() as after:
            if self.state is State.RUNNING and action.restart:
                self.stop()
                after.callback(self.start)
            yield

    def _start_server(self, command: str) -> None:
        ready = self.description.ready
        assert ready is not None
        self._take_port()
        for stale in ("s", "c"):
            (self.directory / stale).unlink(missing_ok=True)
        if ready.pid_file is not None:  # of a killed server; its id must not be adopted
            Path(fill(ready.pid_file, self.values())).unlink(missing_ok=True)
        self._write_files()
        argv = self._resolve(fill_command(command, self.values()))
        self._server = Process(argv, self.directory.parent, f"{self.name}.server",
                               env=self._environment(), cwd=self.directory,
                               leaves_daemon=ready.pid_file is not None)  # fmt: skip
        try:
            ready = ready.model_copy(update=self._filled(ready))
            patience = self.programs.slowdown
            checks = list(self._readiness_checks(ready))
            if ready.pid_file is not None:
                self._server = readiness.adopt_daemon(self.description.name, ready, self._server)
            readiness.wait_ready(self.description.name, ready, self._server, patience, checks)
        except BaseException:
            self._server.kill()
            self._forget_server()
            raise

    def _readiness_checks(self, ready: Ready) -> Iterator[readiness.Check]:
        """Yield the checks that the server must pass.

        :param ready: with its placeholders filled in.
        :raise SetupError: a port or the NBD URI is malformed.
        """
        uri = self._server_uri()
        if ready.command is not None or uri is None or not readiness.is_at(uri, ready):
            yield self._accepts(ready)
        yield self._opens()

    def _accepts(self, ready: Ready) -> readiness.Check:
        """Return the check that the server is there, whatever its volume."""
        if ready.command is not None:
            argv = self._resolve(fill_command(ready.command, self.values()))
            failure = "the command of ready"
            return readiness.succeeds(argv, failure, env=self._environment(), cwd=self.directory)
        with readiness.key_of(self.description.name, "ready.port", ready.port):
            return readiness.accepts(ready)

    def _opens(self) -> readiness.Check:
        """Return the check that the volume can be opened: over NBD, or else by QEMU."""
        uri = self._server_uri()
        if self.description.client is not None:
            command = fill_command(self.description.client, self.values())
            self.programs.reach(str(self.values().get("run", self.directory)), command)
        objects, name = object_arguments(self.objects), json_filename(self._server_blockdev())
        argv = ["qemu-img", "info", *objects, "-U", name]
        failure = "QEMU does not open the volume"
        argv = [*self.programs.client("qemu-img"), *self._resolve(argv)]
        opens = readiness.succeeds(argv, failure, cwd=self.directory)
        with readiness.key_of(self.description.name, "nbd", uri):
            return opens if uri is None else readiness.answers(uri, opens)

    def _filled(self, ready: Ready) -> dict[str, str]:
        places = {"socket": ready.socket, "port": ready.port, "pid_file": ready.pid_file}
        return {key: fill(place, self.values()) for key, place in places.items() if place}

    def _write_files(self, *, early: bool = False) -> None:
        name = f"target {self.description.name}"
        write_files(name, self.description.files, self.values(), early=early)

    def _take_port(self) -> None:
        is_new = self._port is None or self.description.scope == "case"  # a cluster stores its port
        if is_new and "port" in set(names_in(self.description.model_dump())):
            self._port = readiness.free_port()

    def _forget_server(self) -> None:
        if self._server is not None and self._print_server:
            sys.stderr.write(self._server.output())
        self._server = None

    def _close_control(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None
