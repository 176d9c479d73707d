"""qbdcheck waits until a server answers; if it never does, the last error is reported."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from qbdcheck.clock import now_s
from qbdcheck.errors import SetupError
from tests.qbdcheck.targets.conftest import Opener

SERVER = Path(__file__).with_name("odd_server.py")
UNIX = f"""\
name: odd
about: a test
start: {sys.executable} {SERVER} {{socket}} {{size}} ODDITIES
ready: {{socket: "{{socket}}", within: WITHIN}}
blockdev: {{driver: nbd, server: {{type: unix, path: "{{socket}}"}}, export: "{{name}}"}}
nbd: "nbd+unix:///{{name}}?socket={{socket}}"
volatile: true
"""
PORT = """\
name: odd
about: a test
start: nbdkit --foreground --ipaddr=127.0.0.1 --port={port} --export-name={name} memory size={size}
ready: {port: "{port}", within: 5 s}
blockdev: {driver: nbd, server: {type: inet, host: 127.0.0.1, port: "{port}"}, export: "{name}"}
nbd: "nbd://127.0.0.1:{port}/{name}"
volatile: true
"""


def odd(oddities: str, within: str = "10 s") -> str:
    """Return the profile of the odd server."""
    return UNIX.replace("ODDITIES", oddities).replace("WITHIN", within)


def test_server_that_drops_its_first_clients_is_waited_for(open_target: Opener) -> None:
    session = open_target(odd("drops:1.5"))
    started_s = now_s()
    disk = session.new_disk("1M", prefill=False)
    assert now_s() - started_s > 1.0
    with session.nbd(disk) as client:
        assert client.size == 1 << 20


@pytest.mark.parametrize(
    ("oddities", "expected"),
    [
        ("drops:100", "no NBD handshake on nbd.unix:///disk.socket=.*: the server closed"),
        ("bad-greeting", "no NBD handshake on .*: greeting is 5353482d"),
        ("short-info", "no NBD handshake on .*: malformed information in a reply"),
    ],
)
def test_last_error_of_a_server_that_never_speaks_is_reported(
    open_target: Opener, oddities: str, expected: str
) -> None:
    session = open_target(odd(oddities, "700 ms"))
    with pytest.raises(SetupError, match=rf"odd: .* not ready within 0\.7 s: {expected}") as caught:
        session.new_disk("1M", prefill=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("blockdev", "expected"),
    [
        ("{driver: nosuch}", r"QEMU does not open the volume: .*Unknown driver 'nosuch'"),
        ("{driver: null-co, nosuch: 1}", r"does(n't| not) support the option 'nosuch'"),
    ],
)
def test_a_driver_that_never_opens_is_not_waited_for(
    open_target: Opener, blockdev: str, expected: str
) -> None:
    lines = odd("", "60 s").splitlines()
    kept = [line for line in lines if not line.startswith(("nbd:", "blockdev:"))]
    session = open_target("\n".join([*kept, f"blockdev: {blockdev}", ""]))
    started_s = now_s()
    with pytest.raises(SetupError, match=expected):
        session.new_disk("1M", prefill=False)
    assert now_s() - started_s < 30


def test_server_on_a_port_is_ready(open_target: Opener) -> None:
    session = open_target(PORT)
    disk = session.new_disk("1M")
    disk.verify()


def test_server_on_another_port_is_not_ready(open_target: Opener) -> None:
    text = PORT.replace("--port={port}", "--port=0").replace("5 s", "500 ms")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        text = text.replace("--port=0", f"--port={other.getsockname()[1]}")
    with pytest.raises(SetupError, match=r"not ready within 0\.5 s: nothing accepts connections"):
        open_target(text).new_disk("1M", prefill=False)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('{port: "{port}"', '{port: "99{port}"', "ready.port"),
        ("127.0.0.1:{port}/", "127.0.0.1:99{port}/", "nbd"),
    ],
)
def test_port_is_checked_after_it_is_filled_in(
    open_target: Opener, old: str, new: str, key: str
) -> None:
    assert old in PORT
    with pytest.raises(SetupError, match=rf"^target odd: {key}: .*99\d+") as caught:
        open_target(PORT.replace(old, new)).new_disk("1M", prefill=False)
    assert "\n" not in str(caught.value)


def test_command_of_ready_is_run_until_it_succeeds(open_target: Opener) -> None:
    command = (
        "sh -c 'test -S {socket} && echo x >> {dir}/tries && test $(wc -l < {dir}/tries) -ge 3'"
    )
    text = odd("").replace('{socket: "{socket}"', f'{{command: "{command}"')
    disk = open_target(text).new_disk("1M", prefill=False)
    assert (disk.backend.directory / "tries").read_text() == "x\n" * 3


def test_command_of_ready_that_fails_is_reported(open_target: Opener) -> None:
    text = odd("", "500 ms").replace(
        '{socket: "{socket}"', "{command: \"sh -c 'echo LUN is missing; exit 3'\""
    )
    expected = "the command of ready: sh exited with 3: LUN is missing"
    with pytest.raises(SetupError, match=expected):
        open_target(text).new_disk("1M", prefill=False)


def test_other_drivers_are_ready_when_qemu_opens_the_volume(open_target: Opener) -> None:
    text = odd("", "500 ms").replace("{driver: nbd", "{driver: file, filename: '{dir}/v'} #")
    text = text[: text.index("nbd: ")] + "volatile: true\n"
    with pytest.raises(SetupError, match=r"QEMU does not open the volume: qemu-img .*No such file"):
        open_target(text).new_disk("1M", prefill=False)
