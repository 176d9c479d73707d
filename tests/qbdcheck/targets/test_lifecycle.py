"""A target that breaks its profile gives a message of one line, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest

from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.files import ROOT
from qbdcheck.targets.volume_state import State
from tests.qbdcheck.targets.conftest import Opener

HEAD = 'name: mine\nabout: a test\nblockdev: {driver: file, filename: "{dir}/{name}"}\n'
READY = 'ready: {socket: "{socket}", within: 300 ms}\n'


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("start: no-such-server {socket}\n" + READY, "program no-such-server is not installed"),
        (
            "start: sh -c 'echo first; echo cannot open pool >&2; exit 3'\n" + READY,
            "target mine: the server died at its start: sh exited with 3: first | cannot open pool",
        ),
        (
            "start: sh -c 'echo still loading; exec sleep 100'\n" + READY,
            r"within 0\.3 s: nothing accepts connections on .*/s; its output: still loading",
        ),
        (
            "start: sh -c 'kill -SEGV $$'\n" + READY,
            "sh was killed by SIGSEGV and printed nothing",
        ),
        (
            "start: sh -c 'echo Broken pipe >&2; echo s.c:7:Assertion failed >&2; kill -ABRT $$'\n"
            + READY,
            r"died at its start: sh was killed by SIGABRT: s\.c:7:Assertion failed \(command",
        ),
        (
            "volume: {create: sh -c 'echo pool is offline >&2; exit 1'}\n",
            "target mine: volume.create: .*pool is offline",
        ),
        (
            "volume: {create: dd if=/dev/zero of=/dev/full bs=1k count=1 status=none}\n",
            "No space left on device",
        ),
        ("files: {/nonexistent/x: text}\nstart: sleep 100\n" + READY, "files: cannot write"),
        (
            'start: "true"\nready: {socket: "{socket}", pid_file: "{dir}/pid", within: 300 ms}\n',
            r"wrote no process id to .*/pid within 0\.3 s",
        ),
    ],
)
def test_target_that_does_not_start(open_target: Opener, profile: str, expected: str) -> None:
    before = _children()
    session = open_target(HEAD + profile)
    with pytest.raises(SetupError, match=expected) as caught:
        session.new_disk("1M", prefill=False)
    assert "\n" not in str(caught.value)
    session.close()
    assert _children() <= before
    assert not list(session.scratch.glob("*.volume"))


CLOCK = "echo Unable to get accurate CPU usage >&2; exit 1"


def test_a_luks_volume_is_made_again_where_qemu_cannot_measure_time(open_target: Opener) -> None:
    create = f"echo x >> tries; test $(wc -l < tries) -ge 3 || {{ {CLOCK}; }}; truncate -s 1M disk"
    session = open_target(HEAD + f"volume: {{create: [\"sh -c '{create}'\"]}}\n")
    disk = session.new_disk("1M", prefill=False)
    assert (disk.backend.directory / "tries").read_text().count("x") == 3
    session.close()


def test_a_luks_volume_that_cannot_be_made_proves_nothing(open_target: Opener) -> None:
    session = open_target(HEAD + f"volume: {{create: sh -c '{CLOCK}'}}\n")
    with pytest.raises(CaseBroken, match="CPU clock of this machine is too coarse"):
        session.new_disk("1M", prefill=False)
    session.close()


def test_files_are_there_when_the_volume_is_made(open_target: Opener) -> None:
    session = open_target(
        HEAD + 'files: {"{dir}/conf": "port={port} {name}", "{dir}/made/conf": "later"}\n'
        "volume:\n"
        "  create: [\"grep -q 'port=[1-9][0-9]* disk' {dir}/conf\", 'mkdir {dir}/made',\n"
        "           'truncate -s {size} {dir}/disk']\n"
        "start: sh -c 'grep -q later {dir}/made/conf && exec qemu-nbd -t -f raw -k {socket} disk'\n"
        + READY
    )
    assert session.new_disk("1M", prefill=False).backend.directory.joinpath("made/conf").exists()


def test_server_whose_port_is_in_use_is_reported(open_target: Opener) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        session = open_target(
            HEAD + f"start: nbdkit -f -i 127.0.0.1 -p {port} memory 1M\n"
            f'ready: {{port: "{port}", within: 5 s}}\n'
        )
        with pytest.raises(SetupError, match="Address already in use"):
            session.new_disk("1M", prefill=False)


def test_directory_too_long_for_sockets_is_refused(open_target: Opener) -> None:
    session = open_target("reference")
    session.scratch = session.scratch / ("d" * 100)
    session.scratch.mkdir()
    with pytest.raises(SetupError, match="too long for a Unix socket; set TMPDIR"):
        session.new_disk("1M", prefill=False)


def test_missing_program_of_a_profile_is_a_reason_not_to_run(open_target: Opener) -> None:
    session = open_target(HEAD + "programs: [no-such-tool]\n")
    with pytest.raises(NotRun, match="program no-such-tool is not installed"):
        session.new_disk("1M")


def test_programs_that_are_not_built_are_one_reason_with_the_command(open_target: Opener) -> None:
    programs = "programs: {a: '{root}/none/a', b: '{root}/none/b'}\nbuild: make -C none\n"
    session = open_target(HEAD + programs)
    with pytest.raises(NotRun) as caught:
        session.new_disk("1M")
    assert caught.value.reasons == (
        f"the programs in {ROOT}/none are not built; run: make -C none",
    )


def test_option_that_a_target_does_not_have_is_a_reason_not_to_run(open_target: Opener) -> None:
    with pytest.raises(NotRun, match="target file has no option min_block"):
        open_target("file").new_disk("1M", min_block=4096)


def test_kill_and_start_keep_flushed_data(open_target: Opener) -> None:
    session = open_target("qemu-nbd")
    disk = session.new_disk("1M")
    with session.qemu_io(disk) as io:
        io.write(0, 65536)
        io.flush()
    pid = disk.backend.pid
    disk.backend.kill()
    assert not psutil.pid_exists(pid)
    assert disk.backend.state is State.CRASHED
    disk.backend.start()
    disk.verify()


def test_a_server_that_was_stopped_for_an_action_starts_again_if_the_action_fails(
    open_target: Opener,
) -> None:
    volume = open_target("qemu-nbd").new_disk("1M").backend
    with pytest.raises(SetupError, match=r"volume\.resize"):
        volume.resize(1 << 63)
    assert volume.state is State.RUNNING
    assert volume.size == 1 << 20


def test_a_size_that_a_server_refuses_by_not_starting_leaves_it_running(
    open_target: Opener,
) -> None:
    profile = (
        HEAD
        + "volume:\n  create: truncate -s {size} {dir}/{name}\n"
        + '  resize: {command: "truncate -s {size} {dir}/{name}", restart: true}\n'
        + "start: sh -c 'test {size} -lt 9000000 && exec qemu-nbd -t -f raw -k {socket} "
        + "-x {name} {dir}/{name}; echo too large >&2; exit 1'\n"
        + 'ready: {socket: "{socket}", within: 5 s}\nstop: {signal: TERM}\n'
    )
    volume = open_target(profile).new_disk("1M").backend
    with pytest.raises(SetupError, match="too large"):
        volume.resize(16 << 20)
    assert volume.state is State.RUNNING
    assert volume.size == 1 << 20
    assert (volume.directory / volume.name).stat().st_size == 1 << 20
    volume.resize(2 << 20)
    assert volume.size == 2 << 20


def test_call_in_a_wrong_state_is_a_mistake_of_the_case(open_target: Opener) -> None:
    disk = open_target("qemu-nbd").new_disk("1M", prefill=False)
    with pytest.raises(CaseBroken, match="volume disk is running, it must be created or crashed"):
        disk.backend.start()
    disk.backend.stop()
    with pytest.raises(CaseBroken, match="volume disk is created, it must be running"):
        disk.backend.kill()


def test_volatile_target_refuses_to_be_stopped(open_target: Opener) -> None:
    disk = open_target("nbdkit").new_disk("1M", prefill=False)
    with pytest.raises(NotRun, match="does not keep data after a stop"):
        disk.backend.stop()


def test_crash_of_a_server_is_reported(open_target: Opener) -> None:
    session = open_target("nbdkit")
    disk = session.new_disk("1M", prefill=False)
    os.kill(disk.backend.pid, 11)
    with pytest.raises(ProgramError, match=r"server.* nbdkit was killed by SIGSEGV"):
        session.close()


def test_sockets_are_private(open_target: Opener) -> None:
    disk = open_target("reference").new_disk("1M", prefill=False)
    assert Path(disk.volume_path).parent.stat().st_mode & 0o777 == 0o700


def test_control_speaks_qmp(open_target: Opener) -> None:
    disk = open_target("storage-daemon").new_disk("1M", prefill=False)
    nodes = disk.backend.control("query-named-block-nodes", flat=True)
    assert "volume" in {one["node-name"] for one in nodes}


def test_name_in_a_uri_is_quoted(open_target: Opener) -> None:
    session = open_target("qemu-nbd")
    disk = session.new_disk("1M", name="fünf/6".replace("/", "%"))
    assert "f%C3%BCnf%256" in disk.uri
    with session.nbd(disk) as client:
        assert client.size == 1 << 20


def test_server_that_its_power_cut_ends_late_is_started_again(open_target: Opener) -> None:
    """A command can return while the server that it killed still counts as running."""
    session = open_target(
        HEAD + "volume: {create: truncate -s 1M disk}\n"
        "start: qemu-nbd -t -f raw -k {socket} -x {name} disk\n"
        'ready: {socket: "{socket}", within: 5 s}\nnbd: "nbd+unix:///{name}?socket={socket}"\n'
        "crash: ['kill -STOP {pid}', \"sh -c '(sleep 0.3; kill -KILL {pid}) >/dev/null 2>&1 &'\"]\n"
    )
    disk = session.new_disk("1M", prefill=False)
    cut = disk.backend.pid
    disk.backend.crash()
    assert disk.backend.pid != cut
    with session.nbd(disk) as client:
        assert client.size == 1 << 20
    session.close()
