"""A long-lived qemu-io: outputs are separated, failures and crashes are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import run
from qbdcheck.programs.qemu_io import IoFailed, QemuIo
from qbdcheck.programs.qemu_io_output import Report, looks_failed, parse_map, parse_reports

Open = Callable[..., QemuIo]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    return path


@pytest.fixture
def open_io(tmp_path: Path, image: Path) -> Iterator[Open]:
    opened: list[QemuIo] = []

    def open_one(*expected: str, timeout_s: float = 20.0) -> QemuIo:
        arguments = expected or ("-f", "raw", str(image))
        argv = Programs().argv("qemu-io", "-t", "writeback", *arguments)
        opened.append(QemuIo(argv, tmp_path, f"io{len(opened)}", timeout_s))
        return opened[-1]

    yield open_one
    for io in opened:
        io.abandon()


def _failing(image: Path, **rule: object) -> str:
    expected = [f"file.inject-error.0.{key}={value}" for key, value in rule.items()]
    chain = f"driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={image}"
    return ",".join([chain, *expected])


def test_commands_answer_one_by_one(open_io: Open) -> None:
    with open_io() as io:
        assert io("write -P 0xa5 0 4k").startswith("wrote 4096/4096 bytes at offset 0\n")
        assert io("read -P 0xa5 0 4k").startswith("read 4096/4096")
        assert io("length") == "8 MiB\n"
        assert io("flush") == ""
        assert "not found" in io("nonsense")


def test_read_gives_exact_bytes_of_any_length(open_io: Open, image: Path) -> None:
    data = bytes(range(256)) * 1024
    image.write_bytes(data + bytes(1 << 20))
    with open_io() as io:
        for offset, length in ((0, 1), (5, 16), (3, 17), (100, 4096), (0, len(data))):
            report = io.request(f"read -v {offset} {length}")
            assert report.data == data[offset : offset + length]


def test_text_that_looks_like_the_prompt_does_not_end_an_output(open_io: Open, image: Path) -> None:
    data = (b"qemu-io> " * 20000)[:131072]
    image.write_bytes(data + bytes(1 << 20))
    with open_io() as io:
        assert io.request("read -v 0 131072").data == data
        assert io("length") == "1.125 MiB\n"


def test_error_carries_the_text_of_the_errno(open_io: Open, image: Path) -> None:
    io = open_io("--image-opts", _failing(image, event="none", iotype="write", errno=28))
    with io, pytest.raises(IoFailed) as caught:
        io.request("write 0 4k")
    assert caught.value.reason == "No space left on device"


def test_close_does_not_raise_after_a_reported_failure(open_io: Open) -> None:
    with open_io() as io:
        assert io("write 9M 4k") == "write failed: Input/output error\n"


def test_failed_flush_raises_at_close(open_io: Open, image: Path) -> None:
    io = open_io("--image-opts", _failing(image, event="none", iotype="flush", errno=5, once="on"))
    io.request("write 0 4k")
    io.flush()
    with pytest.raises(ProgramError, match="exited with 1 at its end: a flush failed"):
        io.close()


def test_death_names_the_signal_and_the_command(open_io: Open) -> None:
    io = open_io()
    with pytest.raises(ProgramError, match="killed by SIGABRT at 'abort'") as caught:
        io("abort")
    assert caught.value.returncode == -6
    with pytest.raises(ProgramError, match="qemu-io is closed"):
        io("length")


def test_command_without_an_answer_raises(open_io: Open) -> None:
    io = open_io(timeout_s=0.3)
    with pytest.raises(ProgramError, match=r"did not answer within 0\.3 s: sleep 20000"):
        io("sleep 20000")


def test_image_that_cannot_be_opened_has_its_reason_in_the_error(open_io: Open) -> None:
    with pytest.raises(ProgramError, match="No such file or directory"):
        open_io("-f", "raw", "/nonexistent/image")


def test_writes_and_reads_in_flight_all_report(open_io: Open) -> None:
    with open_io() as io:
        for number in range(16):
            io.submit(f"aio_write -P {number + 1} {number * 65536} 64k")
        reports = io.drain_reports()
        assert sorted(report.offset for report in reports) == [n * 65536 for n in range(16)]
        for number in range(16):
            io.submit(f"aio_read -v {number * 65536} 8k")
        reads = {report.offset: report.data for report in io.drain_reports()}
    assert reads == {n * 65536: bytes([n + 1]) * 8192 for n in range(16)}


def test_failed_write_in_flight_is_reported(open_io: Open, image: Path) -> None:
    rule = _failing(image, event="none", iotype="write", errno=5, once="on")
    with open_io("--image-opts", rule) as io:
        io.submit("aio_write 0 4k")
        io.submit("aio_write 64k 4k")
        reports = io.drain_reports()
    assert [report.error for report in reports if report.error] == ["Input/output error"]


def test_map_lists_allocation_of_a_qcow2(open_io: Open, tmp_path: Path) -> None:
    path = tmp_path / "q"
    run([*Programs().argv("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M")])
    with open_io("-f", "qcow2", str(path)) as io:
        io.request("write 128k 64k")
        assert io.map() == [
            (0, 131072, False), (131072, 65536, True), (196608, 851968, False),
        ]  # fmt: skip


def test_valgrind_wraps_qemu_programs_and_no_others(tmp_path: Path) -> None:
    programs = Programs(valgrind=True, log_dir=tmp_path)
    expected = programs.argv("qemu-img", "--version")
    assert expected[0] == "valgrind"
    assert "--error-exitcode=99" in expected
    assert not any("valgrind" in word for word in programs.argv("true"))
    assert programs.slowdown > 1


def test_gdbserver_listens_where_gdb_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDB_OPTIONS", raising=False)
    assert Programs(gdb=True).argv("qemu-io")[:2] == ["gdbserver", "localhost:12345"]
    monkeypatch.setenv("GDB_OPTIONS", "localhost:1")
    assert Programs(gdb=True).argv("qemu-io")[:2] == ["gdbserver", "localhost:1"]


def test_environment_chooses_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEMU_IMG_PROG", "/usr/bin/true")
    assert Programs().argv("qemu-img") == ["/usr/bin/true"]
    assert Programs({"qemu-img": "/bin/false"}).argv("qemu-img") == ["/bin/false"]


# Parsing


def test_reports_of_all_kinds() -> None:
    text = (
        "00000200:  61 62  ab\nread 2/2 bytes at offset 512\n2 bytes, 1 ops; 0 sec\n"
        "write failed: No space left on device\nwrote 1/4 bytes at offset 7\n"
    )
    assert parse_reports(text) == [
        Report("read", 512, 2, b"ab"),
        Report("", 0, 0, error="No space left on device"),
        Report("wrote", 7, 4, error="only 1 of 4 bytes done"),
    ]


def test_offsets_beyond_32_bits_have_longer_dump_lines() -> None:
    text = "fffffffff000:  01  .\nread 1/1 bytes at offset 281474976706560\n"
    assert parse_reports(text) == [Report("read", 281474976706560, 1, b"\x01")]


def test_output_that_is_not_a_map() -> None:
    assert parse_map("failed to get allocation: Input/output error\n") is None


@pytest.mark.parametrize(
    ("command", "text", "failed"),
    [
        ("truncate -m full 5M", "qemu-io: Unsupported preallocation mode 'full'\n", True),
        ("read 0 4k", "read 4096/4096 bytes at offset 0\n4 KiB, 1 ops; 0.1 sec\n", False),
        ("read -P 1 0 4k", "Pattern verification failed at offset 0, 4096 bytes\n", True),
        ("write -q 0 4k", "", False),
        ("truncate 1k", "Could not resize: no\n", True),
        ("foo", 'command "foo" not found\n', True),
        ("length", "8 MiB\n", False),
    ],
)
def test_failures_are_seen_in_outputs(command: str, text: str, failed: bool) -> None:
    assert looks_failed(command, text) is failed
