"""Wait until a server that was started is ready. Report the last error if it never is.

A server is ready when three checks pass, in this order: something accepts connections at the socket
or port of the profile (or its command exits with 0), an NBD server answers the handshake, and for
other drivers QEMU opens the volume.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from qbdcheck import clock
from qbdcheck.clock import pause
from qbdcheck.errors import NotReadyError, ProgramError, SetupError
from qbdcheck.machine_speed import Limit, elapsed_limit_s
from qbdcheck.programs.daemon import Daemon
from qbdcheck.programs.process import Process, describe_exit, run, tail
from qbdcheck.targets.profile_parts import Action, Ready, check_port
from qbdcheck.targets.server_death import reason_in
from reference_backend.client import Client, parse_uri
from reference_backend.nbd.constants import HandshakeFlag, OptionReply
from reference_backend.nbd.errors import NbdProtocolError, OptionRefused

STEP_S = 0.001
_LATENESS, _MOST_STEP_S = 0.06, 0.1
"""A wait lasts at most this share longer than needed, and at most so many seconds."""
PORT_GRACE_S = 0.1
"""Seconds that a server may keep running after it lost its port to another program."""
CRASH_GRACE_S = 2.0
"""Seconds that a server may take to end after its power cut, while it does not answer."""
ATTEMPT_S = 1.0
"""Seconds that one check may take, at least."""
HANDSHAKE_ERRORS = (OSError, EOFError, NbdProtocolError, OptionRefused)
"""What a client raises if a server does not speak NBD, breaks its rules or refuses."""
_IS_READY = frozenset((OptionReply.ERR_UNSUP, OptionReply.ERR_TLS_REQD))
"""Refusals of INFO by a server that is ready: it does not know the option, or requires TLS."""

_NEVER = re.compile(
    r"^QEMU does not open the volume: .*(was killed by SIG(ABRT|SEGV|BUS|FPE|ILL)"
    r"|Unknown (driver|protocol) '|(does not|doesn't) support the option ')"
)
"""QEMU crashed, lacks the driver, or the driver does not know an option."""

Check = Callable[[float], None]
"""Check whether a server is ready, within a number of seconds. Raises if it is not."""


class NotReadyYet(Exception):  # noqa: N818  # a state, not a mishap
    """The server is not ready; the text says what fails."""


def adopt_daemon(target: str, ready: Ready, starter: Process) -> Daemon:
    """Wait until the starter has ended. Return the daemon that it left.

    :param ready: with its placeholders filled in.
    :raise NotReadyError: it failed, or no process id was written in time.
    """
    if starter.wait(ready.within) != 0:
        raise NotReadyError(_died(target, starter))
    path = Path(ready.pid_file or "")
    limit = Limit(ready.within)
    while not (path.is_file() and path.read_text().strip().isdigit()):
        if limit.is_over:
            raise NotReadyError(
                f"target {target}: the server wrote no process id to {path} "
                f"within {limit.seconds:g} s"
            )
        pause(STEP_S)
    return Daemon(int(path.read_text()), starter)


def wait_ready(
    target: str, ready: Ready, server: Process | Daemon, patience: float, checks: list[Check]
) -> None:
    """Wait until all checks pass, for as long as the profile allows.

    :param ready: with its placeholders filled in.
    :param patience: factor on the time limit, for debuggers.
    :raise NotReadyError: the server dies before, or is not ready in time.
    """
    limit, begin_s = Limit(ready.within * patience), clock.now_s()
    while True:
        try:
            for check in checks:
                check(max(ATTEMPT_S * patience, limit.total_left_s))
        except (NotReadyYet, ProgramError, *HANDSHAKE_ERRORS) as error:
            problem = " ".join(str(error).split())
            if _NEVER.search(problem):  # waiting is of no use
                raise NotReadyError(f"target {target}: {problem}") from None
        else:
            break
        if not server.is_running:
            raise NotReadyError(_died(target, server))
        if limit.is_over:
            raise NotReadyError(
                f"target {target}: the server is not ready within {limit.seconds:g} s: "
                f"{problem}; its output: {tail(server.output()) or 'none'}"
            )
        # The longer it takes, the rarer the questions: they cost the server the time that it needs.
        pause(min(max(STEP_S, (clock.now_s() - begin_s) * _LATENESS), _MOST_STEP_S))
    # Another program may own the port and have accepted. Then our server ends soon.
    if server.has_ended_within(PORT_GRACE_S if ready.port is not None else 0):
        raise NotReadyError(_died(target, server))


def survives(server: Process | Daemon, cut: Action, opens: Callable[[], Check]) -> bool:
    """Return whether a server still runs after the action that cut its power.

    A command that kills the server can return before the server is gone, so a server that runs is
    asked. One that was asked over its control socket has answered already.

    :param opens: returns the check that its volume can be opened.
    """
    limit = Limit(CRASH_GRACE_S)
    while server.is_running and cut.control is None and not limit.is_over:
        try:
            opens()(ATTEMPT_S)
        except (NotReadyYet, ProgramError, *HANDSHAKE_ERRORS):
            pause(STEP_S)
        else:
            break
    return server.is_running


def _died(target: str, server: Process | Daemon) -> str:
    how, reason = server.describe(), reason_in(server.output())
    if reason:
        how = f"{Path(server.argv[0]).name} {describe_exit(server.returncode)}: {reason}"
    return (
        f"target {target}: the server died at its start: {how} (command: {' '.join(server.argv)})"
    )


def free_port() -> int:
    """Return the number of a free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(ready: Ready) -> Check:
    """Return the check that something accepts connections at the socket or port.

    :param ready: with its placeholders filled in.
    :raise ValueError: the port is not a number from 1 to 65535.
    """
    port = None if ready.port is None else check_port(ready.port)
    path = ready.socket or ""

    def check(timeout_s: float) -> None:
        where = f"port {port}" if port is not None else path
        if port is None and not Path(path).exists():
            raise NotReadyYet(f"nothing accepts connections on {where}")
        family = socket.AF_UNIX if port is None else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(elapsed_limit_s(timeout_s))
            try:
                probe.connect(path if port is None else ("127.0.0.1", port))
            except OSError:
                raise NotReadyYet(f"nothing accepts connections on {where}") from None

    return check


def succeeds(
    argv: Sequence[str], failure: str, *, cwd: Path, env: Mapping[str, str] | None = None
) -> Check:
    """Return the check that a program exits with 0. ``failure``: begins the message if not."""

    def check(timeout_s: float) -> None:
        done = run(argv, timeout_s=timeout_s, check=False, env=env, cwd=cwd)
        if done.returncode != 0:
            reported = tail(done.stderr or done.stdout) or "it printed nothing"
            how = describe_exit(done.returncode)
            raise NotReadyYet(f"{failure}: {Path(argv[0]).name} {how}: {reported}")

    return check


@contextlib.contextmanager
def key_of(target: str, key: str, value: str | None) -> Iterator[None]:
    """Name the key of the profile whose value is malformed.

    :raise SetupError: the body raised ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise SetupError(f"target {target}: {key}: {value}: {error}") from None


def is_at(uri: str, ready: Ready) -> bool:
    """Return whether an NBD URI leads to the socket or port of the profile.

    :param ready: with its placeholders filled in.
    """
    with contextlib.suppress(ValueError):
        address = parse_uri(uri)[0]
        if isinstance(address, tuple):
            return str(address[1]) == ready.port
        return address == ready.socket
    return False


def answers(uri: str, opens: Check) -> Check:
    """Return the check that an NBD server sends its greeting and has the export.

    :param opens: the check for a server that breaks the rules of the raw client: QEMU opens it.
    :raise ValueError: this is not an NBD URI.
    """
    address, export, _is_secure = parse_uri(uri)

    def check(timeout_s: float) -> None:
        try:
            ask(timeout_s)
        except NbdProtocolError as error:
            try:
                opens(timeout_s)
            except (NotReadyYet, ProgramError):
                raise NotReadyYet(f"no NBD handshake on {uri}: {error}") from None
        except HANDSHAKE_ERRORS as error:
            raise NotReadyYet(f"no NBD handshake on {uri}: {error}") from None

    def ask(timeout_s: float) -> None:
        if isinstance(address, str) and not Path(address).exists():  # 50 times cheaper than to try
            raise NotReadyYet(f"nothing accepts connections on {address}")
        try:
            client = Client.open_socket(address, timeout_s=elapsed_limit_s(timeout_s))
        except (ConnectionRefusedError, FileNotFoundError):
            where = f"port {address[1]}" if isinstance(address, tuple) else address
            raise NotReadyYet(f"nothing accepts connections on {where}") from None
        try:
            if client.handshake_flags & HandshakeFlag.FIXED_NEWSTYLE:
                client.opt_info(export)
        except OptionRefused as refusal:
            if refusal.reply not in _IS_READY:
                raise
        finally:
            # Without ABORT: a server that dies of ABORT must fail a case, not its readiness check.
            client.sock.close()

    return check
