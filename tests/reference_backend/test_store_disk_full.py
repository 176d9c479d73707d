"""No space left: the client gets ENOSPC, old data is kept, and the server continues.

The limit is RLIMIT_FSIZE: the kernel refuses to let a file grow (EFBIG), which needs no privileges
and takes the same way through the store as a full disk.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from reference_backend.nbd.errors import NbdError

from .cli_server import ServerProcess, command
from .test_store_survives_sigkill import Qmp

LIMIT = 1 << 20
PREFIX = ("prlimit", f"--fsize={LIMIT}")


def test_a_write_beyond_the_space_fails_alone(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"o" * LIMIT)
    with image.open("r+b") as file:
        file.truncate(4 * LIMIT)
    with ServerProcess("--image", str(image), prefix=PREFIX) as server:
        with server.connect() as nbd:
            nbd.write(0, b"before" * 1000)
            with pytest.raises(NbdError) as caught:
                nbd.write(2 * LIMIT, b"x" * 65536)
            assert caught.value.errno == errno.ENOSPC
            nbd.write(100_000, b"after")
            nbd.flush()
            assert bytes(nbd.read(2 * LIMIT, 65536)) == bytes(65536)
        assert server.stop() == 0
    data = image.read_bytes()
    assert data[:6000] == b"before" * 1000
    assert data[100_000:100_005] == b"after"
    assert data[6000:100_000] == b"o" * 94_000


def test_a_growth_without_space_leaves_the_volume_as_it_was(tmp_path: Path) -> None:
    command("create", "--pool", str(tmp_path), "v", str(LIMIT))
    with ServerProcess("--pool", str(tmp_path), prefix=PREFIX) as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"d" * 8192)
            nbd.flush()
        qmp = Qmp(server.control)
        with pytest.raises(KeyError):  # an error, so no "return"
            qmp("volume-resize", name="v", size=8 * LIMIT)
        (volume,) = qmp("query-volumes")
        qmp.close()
        with server.connect("v") as nbd:
            assert nbd.size == volume["size"]
            assert bytes(nbd.read(0, 8192)) == b"d" * 8192
    size = volume["size"]
    assert size == LIMIT
    assert f"size: {size} bytes" in command("info", "--pool", str(tmp_path), "v").stdout
