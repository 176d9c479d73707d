"""The server, started by its command line, with the usual NBD client programs."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.targets.certificates import Authority

from .real_clients import Served, qmp, run, serve, stop

MIB = 1 << 20


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="q"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(params=["unix", "tcp"])
def served(request: pytest.FixtureRequest, short: Path) -> Iterator[Served]:
    """An empty volume "vol" of 64 MiB."""
    argv = ("--memory", "64M", "--export-name", "vol")
    with serve(short, *argv, tcp=request.param == "tcp") as running:
        yield running


@pytest.fixture
def image(short: Path) -> Path:
    """A sparse file of 8 MiB with data at 1 MiB and in its last sector."""
    path = short / "image"
    content = bytearray(8 * MIB)
    content[MIB : MIB + 70_000] = b"data567" * 10_000
    content[-512:] = b"e" * 512
    path.write_bytes(content)
    return path


def qemu_io(uri: str, *commands: str, expect: int = 0) -> str:
    argv = [argument for command in commands for argument in ("-c", command)]
    return run("qemu-io", "-t", "writeback", "-f", "raw", *argv, uri, expect=expect)


def test_nbdinfo_reports_what_is_offered(served: Served) -> None:
    reported = json.loads(run("nbdinfo", "--json", served.uri("vol")))
    [export] = reported["exports"]
    assert reported["structured"]
    assert export["export-size"] == 64 * MIB
    assert export["contexts"] == ["base:allocation", "qbd:dirty"]
    can = {key for key, value in export.items() if key.startswith("can_") and value}
    assert can == {
        "can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn",
        "can_trim", "can_zero",
    }  # fmt: skip
    sizes = [export[f"block_size_{name}"] for name in ("minimum", "preferred", "maximum")]
    assert sizes == [1, 4096, 32 * MIB]


def test_nbdinfo_lists_and_maps(short: Path) -> None:
    with serve(short, "--memory", "1M", "--export-name", "a", "--export-name", "b/ü=2M") as two:
        listed = json.loads(run("nbdinfo", "--list", "--json", two.uri()))
        sizes = {each["export-name"]: each["export-size"] for each in listed["exports"]}
        assert sizes == {"a": MIB, "b/ü": 2 * MIB}
        qemu_io(two.uri("a"), "write -P 1 64k 64k")
        mapped = json.loads(run("nbdinfo", "--map", "--json", two.uri("a")))
    assert [(each["offset"], each["length"], each["type"]) for each in mapped] == [
        (0, 65536, 3),
        (65536, 65536, 0),
        (131072, MIB - 131072, 3),
    ]


def test_qemu_io_writes_zeroes_discards_and_reads(served: Served) -> None:
    message = qemu_io(
        served.uri("vol"),
        "write -P 7 4k 64k",
        "read -P 7 4k 64k",
        "read -P 0 68k 4k",
        "write -z -u 8k 4k",
        "read -P 0 8k 4k",
        "discard 16k 8k",
        "write -f -P 9 16k 512",
        "read -P 9 16k 512",
        "aio_write -P 3 1M 1M",
        "aio_flush",
        "read -P 3 1M 1M",
        "write -P 5 30M 33M",
        "read -P 5 30M 33M",
        "flush",
    )
    assert "Pattern verification failed" not in message
    assert "beyond" not in message
    qemu_io(served.uri("vol"), "write 64M 512", expect=1)


def test_qemu_img_converts_compares_and_maps(served: Served, image: Path) -> None:
    uri = served.uri("vol")
    assert "virtual size: 64 MiB" in run("qemu-img", "info", uri)
    run("qemu-img", "resize", "-f", "raw", image, "64M")
    run("qemu-img", "convert", "-n", "-W", "-m", "8", "-f", "raw", "-O", "raw", image, uri)
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)
    mapped = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", uri))
    data = [(each["start"], each["length"]) for each in mapped if each["data"]]
    assert data == [(MIB, 73728), (8 * MIB - 4096, 4096)]


def test_qcow2_works_on_a_volume(served: Served) -> None:
    uri = served.uri("vol")
    run("qemu-img", "create", "-f", "qcow2", uri, "1G")
    run("qemu-io", "-c", "write -P 4 500M 1M", "-f", "qcow2", uri)
    assert "No errors" in run("qemu-img", "check", uri)
    run("qemu-io", "-c", "read -P 4 500M 1M", "-f", "qcow2", uri)


NBDSH = ("env", "PATH=/usr/bin:/bin", "nbdsh")
"""libnbd's binding belongs to the system's Python, which need not be first in PATH."""


def blockdev(served: Served, **more: object) -> str:
    host, _, port = served.where.rpartition(":")
    address = {"type": "inet", "host": host, "port": port}
    if served.where.startswith("/"):
        address = {"type": "unix", "path": served.where}
    return json.dumps({"driver": "nbd", "node-name": "n", "server": address, **more})


def test_qemu_storage_daemon_serves_a_volume_on(served: Served, short: Path) -> None:
    daemon = subprocess.Popen(
        [
            "qemu-storage-daemon",
            "--blockdev", blockdev(served, export="vol"),
            "--nbd-server", f"addr.type=unix,addr.path={short}/d",
            "--export", "type=nbd,id=e,node-name=n,name=again,writable=on",
            "--pidfile", f"{short}/pid",
        ]
    )  # fmt: skip
    try:
        while not (short / "pid").exists():
            assert daemon.poll() is None
            time.sleep(0.01)
        qemu_io(f"nbd+unix:///again?socket={short}/d", "write -P 8 0 2M", "flush")
    finally:
        stop(daemon)
    qemu_io(served.uri("vol"), "read -P 8 0 2M")


@pytest.mark.parametrize("machine", [["none"], ["pc", "-accel", "tcg", "-S"]])
def test_qemu_system_opens_a_volume(served: Served, machine: list[str]) -> None:
    program = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", *machine]
    program += ["-qmp", "stdio", "-blockdev", blockdev(served, export="vol")]
    if machine[0] == "pc":
        program += ["-device", "virtio-blk-pci,drive=n"]
    [answer] = qmp(program, {"execute": "query-named-block-nodes"})
    [node] = answer["return"]
    assert node["image"]["virtual-size"] == 64 * MIB


@pytest.mark.parametrize("connections", [1, 4])
def test_nbdcopy_copies_there_and_back(served: Served, image: Path, connections: int) -> None:
    run("qemu-img", "resize", "-f", "raw", image, "64M")
    option = f"--connections={connections}"
    run("nbdcopy", option, "--flush", image, served.uri("vol"))
    back = image.with_name("back")
    run("nbdcopy", option, served.uri("vol"), back)
    assert back.read_bytes() == image.read_bytes()
    mapped = json.loads(run("nbdinfo", "--map", "--json", served.uri("vol")))
    assert sum(each["length"] for each in mapped if each["type"] == 0) < MIB


SCRIPT = """
import errno
h.connect_uri(uri)
assert h.can_df() and h.get_structured_replies_negotiated()
h.pwrite(b"a" * 100000, 3, nbd.CMD_FLAG_FUA)
assert h.pread(100000, 3) == b"a" * 100000
seen = []
data = h.pread_structured(1 << 20, 0, lambda buf, off, status, err: seen.append((off, status)))
assert data[3:100003] == b"a" * 100000 and not any(data[100003:])
assert nbd.READ_HOLE in [status for _, status in seen]
seen.clear()
h.pread_structured(1 << 20, 0, lambda buf, off, status, err: seen.append(status), nbd.CMD_FLAG_DF)
assert seen == [nbd.READ_DATA]
h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
h.trim(4096, 4096)
h.cache(4096, 4096)
h.flush()
h.set_strict_mode(0)
for call, expected in (
    (lambda: h.pwrite(b"x", 64 << 20), errno.ENOSPC),
    (lambda: h.pread(1, 64 << 20), errno.EINVAL),
    (lambda: h.zero(4096, (64 << 20) - 100), errno.ENOSPC),
    (lambda: h.trim(1 << 20, 64 << 20), errno.EINVAL),
    (lambda: h.pread(4096, 0, nbd.CMD_FLAG_REQ_ONE), errno.EINVAL),
):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == expected, (error, expected)
    else:
        raise AssertionError("no error")
h.shutdown()
print("well")
"""


def test_nbdsh_gets_each_command_and_each_error(served: Served) -> None:
    message = run(*NBDSH, "-c", f"uri = {served.uri('vol')!r}", "-c", SCRIPT)
    assert message == "well\n"


def test_nbdsh_works_without_structured_replies_too(served: Served) -> None:
    script = (
        "h.set_request_structured_replies(False)",
        f"h.connect_uri({served.uri('vol')!r})",
        "assert not h.get_structured_replies_negotiated()",
        "h.pwrite(b'simple' * 1000, 5)",
        "assert h.pread(6000, 5) == b'simple' * 1000",
    )
    run(*NBDSH, *(argument for line in script for argument in ("-c", line)))


@pytest.mark.parametrize("rw", ["randwrite", "write"])
def test_fio_verifies_what_it_wrote(served: Served, rw: str) -> None:
    message = run(
        "fio", "--name=v", "--ioengine=nbd", f"--uri={served.uri('vol')}", f"--rw={rw}",
        "--bsrange=512-128k", "--iodepth=16", "--size=16M", "--verify=crc32c",
        "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0", "--output-format=terse",
    )  # fmt: skip
    assert "verify:" not in message


def test_qemu_nbd_serves_a_volume_given_only_its_uri(served: Served, short: Path) -> None:
    path = short / "n"
    program = subprocess.Popen(["qemu-nbd", "-t", "-f", "raw", "-k", str(path), served.uri("vol")])
    try:
        while not path.exists():
            assert program.poll() is None
            time.sleep(0.01)
        qemu_io(f"nbd+unix:///?socket={path}", "write -P 6 0 1M", "flush")
    finally:
        stop(program)
    qemu_io(served.uri("vol"), "read -P 6 0 1M")


def test_read_only_is_advertised_and_enforced(short: Path, image: Path) -> None:
    before = image.read_bytes()
    with serve(short, "--image", image, "--read-only") as server:
        [export] = json.loads(run("nbdinfo", "--json", server.uri()))["exports"]
        assert export["is_read_only"]
        assert "can_trim" not in {key for key, value in export.items() if value}
        qemu_io(server.uri(), "write 0 512", expect=1)
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, server.uri())
    assert image.read_bytes() == before


def test_nbdinfo_does_not_show_switched_off_features(short: Path) -> None:
    argv = [f"--no-{name}" for name in ("trim", "fua", "cache", "multi-conn", "block-status")]
    with serve(short, "--memory", "1M", *argv) as server:
        [export] = json.loads(run("nbdinfo", "--json", server.uri()))["exports"]
        assert not any(export[f"can_{name}"] for name in ("trim", "fua", "cache", "multi_conn"))
        assert not export.get("contexts")
        assert export["can_flush"]
        qemu_io(server.uri(), "write -P 1 0 64k", "discard 0 64k", "read 0 64k", "flush")


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tls")
    authority = Authority("project")
    authority.issue(root / "server", "server")
    authority.issue(root / "client", "client")
    stranger = Authority("stranger")
    stranger.issue(root / "stranger", "client")
    return root


def qemu_img_tls(served: Served, directory: Path, expect: int = 0) -> str:
    host, _, port = served.where.rpartition(":")
    options = f"driver=nbd,host={host},port={port},tls-creds=t,export=vol"
    secret = f"tls-creds-x509,id=t,dir={directory},endpoint=client"
    return run(
        "qemu-img", "info", "--object", secret, "--image-opts", options, expect=expect
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["offered", "required", "verified"])
def test_tls_clients_are_accepted_and_plaintext_only_if_offered(
    short: Path, certificates: Path, mode: str
) -> None:
    argv: list[str | Path] = ["--memory", "64M", "--export-name", "vol"]
    argv += ["--tls-certs", certificates / "server"]
    argv += {"offered": [], "required": ["--tls-required"]}.get(
        mode, ["--tls-required", "--tls-verify-peer"]
    )
    ours, strangers = certificates / "client", certificates / "stranger"
    with serve(short, *argv, tcp=True) as served:
        secure = served.uri("vol", "nbds", **{"tls-certificates": ours})
        reported = json.loads(run("nbdinfo", "--json", secure))
        assert reported["TLS"]
        script = "h.set_uri_allow_local_file(True); "
        script += f"h.connect_uri({secure!r}); h.pwrite(b't' * 3000000, 1)"
        check = "assert h.pread(3000002, 0) == bytes(1) + b't' * 3000000 + bytes(1)"
        run(*NBDSH, "-c", script, "-c", check)
        assert "64 MiB" in qemu_img_tls(served, ours)
        run("nbdcopy", secure, short / "copy")
        assert (short / "copy").stat().st_size == 64 * MIB
        plain = run("nbdinfo", served.uri("vol"), expect=0 if mode == "offered" else 1)
        assert ("export-size" in plain) == (mode == "offered")
        qemu_img_tls(served, strangers, expect=1)


def test_tls_is_refused_where_the_server_has_none(short: Path, certificates: Path) -> None:
    with serve(short, "--memory", "1M", "--export-name", "vol", tcp=True) as served:
        secure = served.uri("vol", "nbds", **{"tls-certificates": certificates / "client"})
        run("nbdinfo", secure, expect=1)
        qemu_img_tls(served, certificates / "client", expect=1)
        assert "without TLS" in run("nbdinfo", served.uri("vol"))
