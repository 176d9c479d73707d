"""The command line: its commands, and one line with exit status 2 for each error."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from blockio.layers import Below, Reply, Request
from qbdcheck.files import ROOT
from reference_backend.cli import main
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import OptionRefused
from reference_backend.nbd.settings import Features
from reference_backend.parser import FEATURES

from .cli_server import PROGRAM, ServerProcess, command
from .test_store_survives_sigkill import Qmp


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a command that must be refused; return its one line."""
    status: object = None
    try:
        status = main(argv)
    except SystemExit as ending:
        status = ending.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1, err
    return err.strip()


def test_a_pool_is_managed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = str(tmp_path / "pool")

    def run(*argv: str) -> str:
        assert main([argv[0], "--pool", pool, *argv[1:]]) == 0
        out: str = capsys.readouterr().out
        return out

    run("create", "p/vol_100T", "100T")
    run("create", "p/small", "1.5M")
    run("snapshot", "p/small", "one")
    run("snapshot", "p/small", "two")
    assert run("snapshot", "p/small") == "one\ntwo\n"
    run("snapshot", "p/small", "one", "--delete")
    run("snapshot", "p/small", "two", "--clone", "p/clone")
    run("resize", "p/small", "4k")
    listed = json.loads(run("list", "--json"))
    assert [(v["name"], v["size"], v["snapshots"]) for v in listed] == [
        ("p/clone", 1536 << 10, []),
        ("p/small", 4096, ["two"]),
        ("p/vol_100T", 100 << 40, []),
    ]
    assert "size: 4096 bytes\n" in run("info", "p/small")
    assert json.loads(run("info", "p/small", "--json"))["snapshots"] == ["two"]
    run("rm", "p/small@two")
    run("rm", "p/small")
    assert [line.split()[-1] for line in run("list").splitlines()] == ["p/clone", "p/vol_100T"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "reference_backend: the following arguments are required: COMMAND"),
        (["fly"], "reference_backend: argument COMMAND: invalid choice: 'fly'"),
        (["serve", "--socket", "/tmp/s"], "arguments --pool --memory --image is required"),
        (["serve", "--memory", "1M"], "one of the arguments --socket --listen is required"),
        (["serve", "--memory", "1X", "--socket", "/tmp/s"], "--memory: '1X' is not a size"),
        (["serve", "--memory", "8E", "--socket", "/x/s"], "size 9223372036854775808 is outside of"),
        (["serve", "--image", "/no/such", "--socket", "/tmp/s"], "/no/such: No such file"),
        (["serve", "--pool", "/no/such", "--socket", "/tmp/s"], "/no/such: no such directory"),
        (["serve", "--memory", "1M", "--listen", "0.0.0.0:0"], "add --allow-remote"),
        (["serve", "--memory", "1M", "--listen", "10809"], "write HOST:PORT, like"),
        (["serve", "--memory", "1M", "--listen", "localhost:99999"], "write HOST:PORT, like"),
        (["serve", "--memory", "1M", "--socket", "/no/such/s"], "No such file or directory"),
        (["serve", "--memory", "1M", "--socket", "/tmp/" + "x" * 200], "longer than 107 bytes"),
        (["serve", "--memory", "1M", "--socket", "/tmp/s", "--min-block", "3"], "a power of two"),
        (
            ["serve", "--memory", "1M", "--socket", "/tmp/s", "--max-block", "100"],
            "--max-block 100: must be a multiple of --min-block",
        ),
        (["serve", "--memory", "1M", "--socket", "/tmp/s", "--tls-required"], "requires --tls"),
        (
            ["serve", "--memory", "1M", "--socket", "/tmp/s", "--tls-certs", "/no/such"],
            "No such file or directory",
        ),
        (
            ["serve", "--memory", "1M", "--socket", "/tmp/s", "--layer", "no.such:Layer"],
            "--layer no.such:Layer: No module named 'no'",
        ),
        (
            ["serve", "--memory", "1M", "--socket", "/tmp/s", "--layer", "json:JSONDecoder:x=1"],
            "unexpected keyword argument 'x'",
        ),
        (["serve", "--memory", "1M", "--socket", "/tmp/s", "--layer", "json"], "write MODULE:"),
        (["serve", "--memory", "1M", "--socket", "/tmp/s", "--max-connections", "0"], "at least 1"),
        (
            ["cluster", "--dir", "/d", "--size", "100", "--socket", "/s"],
            "must be a multiple of 4096",
        ),
        (["cluster", "--dir", "/d", "--size", "2G", "--socket", "/s"], "at most 1073741824 bytes"),
        (["info", "--pool", "/no/such", "v"], "/no/such: no such directory"),
        (["serve", "--memory", "1M", "--socket", "/tmp/s", "--no-such"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_give_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    line = refused(capsys, *argv)
    assert message in line
    assert line.startswith("reference_backend")


def test_errors_of_pools_give_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = str(tmp_path)
    assert main(["create", "--pool", pool, "v", "1M"]) == 0
    assert "there is a volume 'v' already" in refused(capsys, "create", "--pool", pool, "v", "1M")
    assert "no volume 'w'" in refused(capsys, "rm", "--pool", pool, "w")
    assert "name 'a/../b' holds" in refused(capsys, "create", "--pool", pool, "a/../b", "1M")
    (tmp_path / "v" / "volume.json").write_text("{")
    assert "restore this file" in refused(capsys, "info", "--pool", pool, "v")


def test_a_damaged_volume_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = str(tmp_path)
    for name in ("bad", "good"):
        assert main(["create", "--pool", pool, name, "1M"]) == 0
    (tmp_path / "bad" / "volume.json").write_text("{")
    assert main(["list", "--pool", pool]) == 2
    out, err = capsys.readouterr()
    assert out.split()[-1] == "good"
    assert err.startswith(f"reference_backend list: {tmp_path}/bad/volume.json: no JSON")
    with ServerProcess("--pool", pool) as server:
        with server.connect("good") as nbd:
            assert nbd.size == 1 << 20
        with pytest.raises(OptionRefused, match="bad"):
            server.connect("bad")
        qmp = Qmp(server.control)
        bad, good = qmp("query-volumes")
        qmp.close()
    assert set(bad) == {"name", "damaged"}
    assert good["size"] == 1 << 20


def test_two_servers_never_share_a_socket_an_image_or_a_volume(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    with ServerProcess("--image", str(image), control=False) as server:
        argv = ("serve", "--image", str(image), "--socket", str(server.directory / "other"))
        assert "in use by another server" in command(*argv, expect=2).stderr
        argv = ("serve", "--memory", "1M", "--socket", str(server.socket))
        assert f"a server already listens on {server.socket}" in command(*argv, expect=2).stderr
        with server.connect() as nbd:
            assert nbd.size == 4096


def test_every_feature_can_be_switched_off() -> None:
    assert [name.replace("-", "_") for name in FEATURES] == Features.names()


def test_features_that_are_switched_off_are_not_offered() -> None:
    argv = ("--memory", "1M", "--no-trim", "--no-structured", "--no-extended")
    with ServerProcess(*argv, control=False) as server, server.connect() as nbd:
        assert TransmissionFlag.SEND_TRIM not in nbd.flags
        assert TransmissionFlag.SEND_FLUSH in nbd.flags
        assert nbd.mode == 0


def test_several_named_volumes_of_different_sizes_are_served_from_memory() -> None:
    names = ("--export-name", "a", "--export-name", "pool/b=5000", "--export-name", "x=y")
    with ServerProcess("--memory", "1M", *names, control=False) as server:
        for name, size in (("a", 1 << 20), ("pool/b", 5000), ("x=y", 1 << 20)):
            with server.connect(name) as nbd:
                assert nbd.size == size


def test_block_sizes_and_read_only_are_advertised() -> None:
    argv = ("--min-block", "512", "--preferred-block", "64k", "--max-block", "1M", "--read-only")
    with ServerProcess("--memory", "1M", *argv, control=False) as server, server.connect() as nbd:
        assert nbd.block_sizes == (512, 65536, 1 << 20)
        assert TransmissionFlag.READ_ONLY in nbd.flags


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly(tmp_path: Path, number: int) -> None:
    pid_file = tmp_path / "pid"
    pool = tmp_path / "pool"
    command("create", "--pool", str(pool), "v", "1M")
    with ServerProcess("--pool", str(pool), "--pid-file", str(pid_file)) as server:
        assert pid_file.read_text() == f"{server.process.pid}\n"
        with server.connect("v") as nbd:
            nbd.write(0, b"x" * 4096)
            assert server.stop(number) == 0
        assert sorted(path.name for path in server.directory.iterdir()) == []
        assert not pid_file.exists()
    assert (pool / "v" / "data" / "000000").read_bytes()[:4096] == b"x" * 4096


def test_ready_is_written_to_a_descriptor_with_the_chosen_port() -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--memory", "1M", "--listen", "127.0.0.1:0", "--ready-fd", str(writer)],
        cwd=ROOT,
        pass_fds=[writer],
    )
    os.close(writer)
    with os.fdopen(reader) as reported:
        argument, address = reported.readline().split()
        host, _, port = address.rpartition(":")
        assert argument == "ready"
        with Client.connect((host, int(port)), "") as nbd:
            assert nbd.size == 1 << 20
    process.terminate()
    assert process.wait(20) == 0


class Upside:
    """A layer for tests: adds ``by`` to every byte read, and a control command."""

    def __init__(self, by: str) -> None:
        self.by = int(by)

    def handle(self, request: Request, below: Below) -> Reply:
        reply = below(request)
        return Reply(reply.error, bytes((b + self.by) % 256 for b in bytes(reply.data)))

    def control_commands(self, events: object) -> dict[str, object]:
        return {"query-upside": lambda arguments: self.by}


def test_layers_are_loaded_by_name_and_may_add_control_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(__file__).read_text()
    start = source.index("class Upside"), source.index("def test_layers_are_loaded")
    (tmp_path / "upside.py").write_text(
        "from blockio.layers import Below, Reply, Request\n" + source[slice(*start)]
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ServerProcess("--memory", "1M", "--layer", "upside:Upside:by=3") as server:
        with server.connect() as nbd:
            assert bytes(nbd.read(0, 4)) == b"\3\3\3\3"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.control))
            lines = sock.makefile("rb")
            sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-upside"}')
            assert [json.loads(lines.readline()) for _ in range(3)][1:] == [
                {"return": {}},
                {"return": 3},
            ]
            lines.close()


def test_an_image_ends_up_as_qemu_nbd_leaves_it(tmp_path: Path) -> None:
    """The same qemu-io commands over both servers: equal bytes and equal allocation."""
    size = (4 << 20) + 1000
    script = [
        "write -P 1 1000 300000",
        "write -z 4096 65536",
        "write -zu 100000 70000",
        "discard 200000 50000",
        f"write -P 7 {size - 5000} 5000",
        f"write -zu {size - 3000} 3000",
        "write -P 3 3M 64k",
        "discard 3M 60k",
    ]
    found = {}
    for kind in ("ours", "qemu-nbd"):
        image = tmp_path / kind
        with image.open("wb") as file:
            file.truncate(size)
        if kind == "ours":
            with ServerProcess("--image", str(image), control=False) as server:
                run_qemu_io(f"nbd+unix:///?socket={server.socket}", script)
        else:
            run_qemu_nbd(image, script)
        forget_page_cache(image)
        mapped = subprocess.run(
            ["qemu-img", "map", "-f", "raw", "--output=json", str(image)],
            capture_output=True,
            check=True,
        )
        found[kind] = (image.read_bytes(), json.loads(mapped.stdout), image.stat().st_blocks)
    assert found["ours"][0] == found["qemu-nbd"][0]
    assert found["ours"][1:] == found["qemu-nbd"][1:]


def forget_page_cache(image: Path) -> None:
    """Write back and drop: SEEK_DATA over unwritten extents goes by what the page cache holds."""
    with image.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_qemu_io(uri: str, script: list[str]) -> None:
    commands = [argument for line in script for argument in ("-c", line)]
    options = f"driver=nbd,uri={uri},discard=unmap"
    if uri.startswith("nbd+unix"):
        options = f"driver=nbd,server.type=unix,server.path={uri.partition('=')[2]},discard=unmap"
    subprocess.run(
        ["qemu-io", "-t", "writeback", *commands, "--image-opts", options],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )


def run_qemu_nbd(image: Path, script: list[str]) -> None:
    with ServerDirectory() as directory:
        path = directory / "n"
        argv = ["--persistent", "--format=raw", "--discard=unmap", f"--socket={path}"]
        process = subprocess.Popen(
            ["qemu-nbd", *argv, f"--pid-file={directory / 'pid'}", "--fork", str(image)]
        )
        assert process.wait(20) == 0
        try:
            run_qemu_io(f"nbd+unix:///?socket={path}", script)
        finally:
            pid = int((directory / "pid").read_text())
            os.kill(pid, signal.SIGTERM)
            while Path(f"/proc/{pid}").exists() and path.exists():
                pass


class ServerDirectory:
    """A short private directory for a socket."""

    def __enter__(self) -> Path:
        import tempfile

        self.kept = tempfile.TemporaryDirectory(prefix="q")
        return Path(self.kept.name)

    def __exit__(self, *_: object) -> None:
        self.kept.cleanup()
