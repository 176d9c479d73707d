"""The header that fio writes into a block."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from qbdcheck.guest.fio_block import block_of, header_of, repaired


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_the_blocks_of_the_installed_fio_say_where_they_belong(tmp_path: Path) -> None:
    file = tmp_path / "blocks"
    job = ["--name=j", f"--filename={file}", "--size=16k", "--bs=4k", "--rw=write"]
    verify = ["--verify=crc32c", "--do_verify=0", "--ioengine=psync"]
    subprocess.run(["fio", *job, *verify], check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)
    data = file.read_bytes()
    blocks = [block_of(data[at : at + 4096]) for at in range(0, len(data), 4096)]
    assert [(one.offset, one.length, one.number) for one in blocks if one] == [
        (at, 4096, at // 4096) for at in range(0, 16384, 4096)
    ]
    assert block_of(data[512:4096]) is None
    assert header_of(data) == data[:40]
    bad = data[:21] + bytes([data[21] ^ 4]) + data[22:4096]
    assert header_of(bad) == b""
    assert repaired(bad) == data[:4096]
    assert repaired(bytes(4096)) == repaired(data[:30]) == b""
