"""Rules as arguments for nbdkit's filters, compared with the real nbdkit."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from injectors.rules import parse_yaml
from injectors.rules.errors import NotExpressible
from injectors.rules.nbdkit import to_nbdkit
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError


def words(*rules: str) -> list[str]:
    return to_nbdkit(parse_yaml.read(f"rules: [{', '.join(rules)}]"))


def test_errors_and_delays_by_kind_of_request() -> None:
    assert words("{event: write_aio, errno: ENOSPC, iotype: write}") == [
        "--filter=error", "error-pwrite=ENOSPC", "error-pwrite-rate=100%",
    ]  # fmt: skip
    both = words(
        "{event: none, iotype: discard, errno: EIO}",
        "{event: none, iotype: write-zeroes, action: delay, milliseconds: 200}",
    )
    assert both == [
        "--filter=delay", "--filter=error",
        "error-trim=EIO", "error-trim-rate=100%", "delay-zero=200ms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ("{event: write_aio, iotype: write, sector: 3}", "sector or offset"),
        ("{event: write_aio, iotype: write, once: true}", "count"),
        ("{event: write_aio, iotype: write, probability: 0.5}", "probability"),
        ("{event: write_aio, iotype: write, state: 2}", "state"),
        ("{event: write_aio, iotype: write, errno: EDQUOT}", "errno but EPERM EIO"),
        ("{event: write_aio, iotype: write, action: drop}", "action drop"),
        ("{event: write_aio, iotype: read}", "event write_aio for that iotype"),
        ("{event: flush_to_disk, iotype: flush}", "flush"),
        ("{event: none}", r"flush \(say iotype\)"),
        ("{event: none, iotype: read, action: delay, jitter: 5}", "jitter"),
    ],
)
def test_what_the_filters_cannot_do_is_refused(rule: str, missing: str) -> None:
    with pytest.raises(NotExpressible, match=missing):
        words(rule)


def test_two_rules_for_one_kind_are_refused() -> None:
    with pytest.raises(NotExpressible, match="second rule"):
        words("{event: read_aio, iotype: read}", "{event: none, iotype: read}")


def test_states_are_refused() -> None:
    rules = parse_yaml.read("states: [{event: read_aio, new_state: 2}]")
    with pytest.raises(NotExpressible, match="no states"):
        to_nbdkit(rules)


def test_the_real_nbdkit_injects_the_same_faults() -> None:
    flags = words(
        "{event: write_aio, errno: ENOSPC, iotype: write}",
        "{event: read_aio, action: delay, milliseconds: 60, iotype: read}",
    )
    directory = Path(tempfile.mkdtemp(prefix="q"))
    socket = directory / "s"
    filters = [word for word in flags if word.startswith("--")]
    settings = [word for word in flags if not word.startswith("--")]
    command = ["nbdkit", "-f", "-U", str(socket), *filters, "memory", "1M", *settings]
    server = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with Client.connect(str(socket), "") as client:
            with pytest.raises(NbdError) as caught:
                client.write(0, b"x" * 512)
            assert caught.value.errno == 28
            start = time.monotonic()
            assert bytes(client.read(0, 512)) == bytes(512)
            assert time.monotonic() - start >= 0.06
            client.trim(0, 512)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory)
