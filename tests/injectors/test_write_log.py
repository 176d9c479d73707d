from __future__ import annotations

from pathlib import Path

import pytest

from blockio.layers import CommandFlag
from blockio.write_log import LogFlag, read_log
from injectors.write_log import WriteLog
from reference_backend.client import Client
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 1 << 16


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def entries(log: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        ("|".join(flag.name or "" for flag in LogFlag if flag & entry.flags),
         entry.offset, entry.length, bytes(entry.data[:1]))
        for entry in read_log(log)
    ]  # fmt: skip


def test_each_kind_of_change_is_logged_before_it_is_answered(tmp_path: Path, log: Path) -> None:
    volume = Volume(MemoryStore(SIZE), "vol")
    layer = WriteLog(str(log))
    server = Server({"vol": volume}, tmp_path / "s", layers=[layer])
    server.start()
    try:
        with Client.connect(server.address, "vol") as client:
            client.write(512, b"a" * 1024)
            assert len(entries(log)) == 1
            client.write(4096, b"b" * 512, CommandFlag.FUA)
            client.flush()
            client.trim(8192, 4096)
            client.write_zeroes(512, 512)
            client.write(1000, b"c" * 100)
            client.read(0, 512)
    finally:
        server.stop()
        layer.close()
    assert entries(log) == [
        ("", 512, 1024, b"a"),
        ("FUA", 4096, 512, b"b"),
        ("FLUSH", 0, 0, b""),
        ("DISCARD", 8192, 4096, b""),
        ("", 512, 512, b"\0"),
        ("", 512, 1024, b"\0"),
    ]
    around = bytes(read_log(log)[-1].data)
    assert around[:488] == bytes(488)
    assert around[488:588] == b"c" * 100
    assert around[588:] == b"a" * 436
