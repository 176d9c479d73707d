"""Servers that lack parts of the handshake are tested as far as QEMU can open them."""

from __future__ import annotations

import math

import pytest

from qbdcheck.errors import NotRun, SetupError
from qbdcheck.kit.fault_proxy import FaultProxy
from qbdcheck.kit.nbd_probe import connected, has_go, negotiating
from qbdcheck.targets import few_clients
from qbdcheck.targets import session as session_module
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.size_limits import SizeLimits, probe_sizes
from reference_backend.nbd.agreement import ReplyMode
from tests.qbdcheck.targets.conftest import Opener
from tests.qbdcheck.targets.test_readiness import odd


@pytest.mark.parametrize(
    "oddities", ["", "no-go", "no-meta", "no-go no-meta", "not-fixed", "oldstyle"]
)
def test_server_without_newer_options_is_tested(open_target: Opener, oddities: str) -> None:
    profile = odd(oddities)
    if oddities == "oldstyle":  # its export has no name, and QEMU refuses to name it
        profile = profile.replace(', export: "{name}"', "")
    session = open_target(profile)
    found = capabilities(session.description, session.options, session.scratch)
    assert {"nbd", "flush"} <= found
    assert "block_status" not in found
    assert ("structured" in found) is ("no-meta" in oddities)
    disk = session.new_disk("1M")
    with session.qemu_io(disk) as io:
        io.write(4096, 4096)
        io.flush()
    disk.verify()


@pytest.mark.parametrize("oddities", ["no-go no-meta", "not-fixed", "oldstyle"])
def test_raw_client_reads_and_writes_after_export_name(open_target: Opener, oddities: str) -> None:
    session = open_target(odd(oddities))
    disk = session.new_disk("1M", prefill=False)
    with session.nbd(disk) as client:
        assert (client.size, client.block_sizes, client.contexts) == (1 << 20, None, {})
        assert (client.mode is ReplyMode.STRUCTURED) is ("no-meta" in oddities)
        client.write(512, b"x" * 512)
        assert bytes(client.read(0, 1024)) == bytes(512) + b"x" * 512


def test_what_needs_options_is_not_run_on_an_oldstyle_server(open_target: Opener) -> None:
    session = open_target(odd("oldstyle"))
    disk = session.new_disk("1M", prefill=False)
    with pytest.raises(NotRun, match="oldstyle handshake"), negotiating(disk):
        pass
    with pytest.raises(NotRun, match="oldstyle handshake"):
        FaultProxy(disk.backend, 1)
    with connected(disk) as io:
        io.write(0, 4096)
        io.read(0, 8192)


@pytest.mark.parametrize(("oddities", "expected"), [("", True), ("no-go", False)])
def test_servers_without_go_are_known(open_target: Opener, oddities: str, expected: bool) -> None:
    assert has_go(open_target(odd(oddities)).new_disk("1M", prefill=False)) is expected


def test_refused_export_is_not_entered_by_export_name(open_target: Opener) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M", prefill=False)
    with pytest.raises(Exception, match="option 7 refused: ERR_UNKNOWN"):
        session.nbd(disk.uri.replace("/disk?", "/other?"))


def test_server_that_neither_client_can_open_is_a_setup_error(open_target: Opener) -> None:
    profile = odd("short-info").replace('{socket: "{socket}"', '{command: "test -S {socket}"')
    session = open_target(profile.replace("nbd: ", "nbd: ").replace("WITHIN", "1 s"))
    with pytest.raises(SetupError, match="malformed information") as caught:
        capabilities(session.description, session.options, session.scratch)
    assert "\n" not in str(caught.value)


def test_read_only_server_is_named_in_one_line(open_target: Opener) -> None:
    session = open_target(odd("read-only"))
    with pytest.raises(SetupError, match="says that the volume is read-only; make it") as caught:
        capabilities(session.description, session.options, session.scratch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("oddities", ["", "one-client"])
def test_server_of_one_client_at_a_time_is_known(
    open_target: Opener, oddities: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_clients, "ANSWER_S", 0.5)
    session = open_target(odd(oddities))
    found = capabilities(session.description, session.options, session.scratch)
    assert ("few_clients" in found) is bool(oddities)
    assert few_clients.most_clients(session.description) == (1 if oddities else few_clients.MANY)


def test_second_client_of_such_a_server_is_not_run_and_does_not_wait(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_clients, "LEAVE_S", 0.1)
    monkeypatch.setattr(session_module, "most_clients", lambda description: 1)
    session = open_target(odd("one-client"), capabilities={"nbd", "few_clients"})
    disk = session.new_disk("1M")
    with session.qemu_io(disk) as io:
        io.read(0, 4096)
    with session.nbd(disk) as client:
        client.read(0, 4096)
        for second in (session.qemu_io, session.nbd, session.qemu_img.json):
            with pytest.raises(NotRun, match="serves one client at a time"):
                second(*(("info", disk.filename) if second == session.qemu_img.json else (disk,)))
        machine = session.storage_daemon()
        with pytest.raises(NotRun, match="serves one client at a time"):
            machine.add({**disk.protocol_blockdev(), "node-name": "second"})
    machine.add({**disk.protocol_blockdev(), "node-name": "alone"})
    machine.close()
    disk.verify()


def test_sizes_of_a_target_are_probed(open_target: Opener) -> None:
    limits = probe_sizes(open_target("file"))
    assert (limits.granularity, limits.zero) == (512, True)
    assert limits.largest >= 1 << 40


@pytest.mark.parametrize("step", [1, 512, 3000, 4096, 65536, 3 << 20, 4 << 20])
def test_step_between_sizes_is_found(open_target: Opener, step: int) -> None:
    session = open_target(
        f"name: rounding\nabout: a test\nvolume:\n"
        f"  create: sh -c 'truncate -s $((({{size}} + {step - 1}) / {step} * {step})) {{dir}}/v'\n"
        'blockdev: {driver: file, filename: "{dir}/v"}\npath: "{dir}/v"\n'
    )
    limits = probe_sizes(session)
    assert limits.granularity == step
    assert limits.nearest(1) == step
    assert limits.nearest(2 * step) == 2 * step
    assert not session.backends
    capabilities(session.description, session.options, session.scratch)
    disk = session.new_disk(5_000_000, prefill=False)
    whole = math.lcm(step, 512)
    assert disk.size == (5_000_000 if step <= 512 else -(-5_000_000 // whole) * whole)
    assert disk.volume_path.stat().st_size == -(-disk.size // step) * step
    assert session.new_disk(5_000_000, prefill=False, exact=True).size == 5_000_000


@pytest.mark.parametrize("step", [512, 1024, 4096, 32768, 3 << 9, 1 << 20])
def test_sizes_that_a_target_rounds_down_are_named(open_target: Opener, step: int) -> None:
    session = open_target(
        "name: cutting\nabout: a test\nvolume:\n"
        f"  create: sh -c 'truncate -s $(({{size}} / {step} * {step})) {{dir}}/v'\n"
        'blockdev: {driver: file, filename: "{dir}/v"}\npath: "{dir}/v"\n'
    )
    limits = probe_sizes(session)
    assert (limits.granularity, limits.cuts) == (step, True)
    assert str(limits).startswith(f"multiples of {step} bytes (other sizes are rounded down")
    capabilities(session.description, session.options, session.scratch)
    assert session.new_disk(5_000_000, prefill=False).size == 5_000_000  # cases shall show it


def test_largest_size_is_that_of_a_probe() -> None:
    assert str(SizeLimits(largest=8 << 20)).endswith("8 MiB works, 1 TiB does not")
    assert str(SizeLimits()).endswith("up to 4 EiB")


def test_read_only_volume_with_undefined_contents_is_zeroed_before(open_target: Opener) -> None:
    session = open_target(
        "name: noise\nabout: a test\nfresh: undefined\noptions: {read_only: --read-only}\n"
        "volume: {create: \"sh -c 'test {size} -le 33554432 && "
        "head -c {size} /dev/urandom > {dir}/{name}'\"}\n"
        "start: qemu-nbd -t --shared=0 -f raw -k {socket} -x {name} {options} {dir}/{name}\n"
        'ready: {socket: "{socket}"}\nnbd: "nbd+unix:///{name}?socket={socket}"\n'
        'blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}, export: "{name}"}\n'
    )
    disk = session.new_disk("1M", prefill=False, read_only=True)
    assert not disk.read_all().any()
    session.new_disk("1M", read_only=True).verify()


def test_sizes_that_a_target_refuses_are_left_out(open_target: Opener) -> None:
    session = open_target(
        "name: fixed\nabout: a test\nvolume:\n"
        "  create: sh -c 'test {size} -gt 0 && test {size} -lt 20000000 &&"
        " truncate -s {size} {dir}/v'\n"
        'blockdev: {driver: file, filename: "{dir}/v"}\npath: "{dir}/v"\n'
    )
    assert probe_sizes(session) == SizeLimits(1, zero=False, largest=8 << 20)
    assert SizeLimits(4096, zero=False).nearest(0) == 4096


@pytest.mark.parametrize("size", ["1M", "100M"])
def test_undefined_fresh_volume_is_zeroed_if_it_is_small(open_target: Opener, size: str) -> None:
    session = open_target(f"{odd('noise')}fresh: undefined\n")
    if size == "100M":
        with pytest.raises(NotRun, match="fresh volumes are undefined, and 100 MiB are too many"):
            session.new_disk(size, prefill=False)
        return
    session.new_disk(size, prefill=False).verify()
    other = session.new_disk(size, prefill=False, zero=False)
    assert set(other.read_all().tolist()) == {0xA5}
    assert session.waived("fresh-volume-reads-zero")
