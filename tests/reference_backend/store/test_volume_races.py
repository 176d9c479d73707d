"""Requests that race with a resize are checked against the size at their execution."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable

import pytest

from blockio.errors import BlockError
from reference_backend.store.interface import BytesLike
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SMALL, LARGE = 4096, 8192


class StrictStore(MemoryStore):
    """A store that records requests beyond its end."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.beyond: list[str] = []

    def read(self, offset: int, length: int) -> bytes:
        self._judge("read", offset, length)
        return super().read(offset, length)

    def write(self, offset: int, data: BytesLike) -> None:
        self._judge("write", offset, len(data))
        super().write(offset, data)

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        self._judge("zero", offset, length)
        super().zero(offset, length, allocate)

    def _judge(self, what: str, offset: int, length: int) -> None:
        if offset + length > self.size:
            self.beyond.append(what)


@pytest.mark.parametrize("undo_limit", [0, 1 << 20])
@pytest.mark.parametrize(
    "request_of",
    [
        lambda volume: volume.read(SMALL, SMALL),
        lambda volume: volume.write(SMALL, bytes(SMALL)),
        lambda volume: volume.write_zeroes(SMALL, SMALL),
        lambda volume: volume.discard(SMALL, SMALL),
    ],
    ids=["read", "write", "write_zeroes", "discard"],
)
def test_no_request_reaches_the_store_behind_a_new_end(
    request_of: Callable[[Volume], object], undo_limit: int
) -> None:
    store = StrictStore(LARGE)
    volume = Volume(store, undo_limit=undo_limit)
    over = threading.Event()

    def resize() -> None:
        while not over.is_set():
            volume.resize(SMALL)
            volume.resize(LARGE)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=resize)
    thread.start()
    try:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockError):
                request_of(volume)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not store.beyond
