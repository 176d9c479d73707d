"""Fixtures for every kind of store; each example of a property test gets a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from reference_backend.store.directory import DirectoryStore, make
from reference_backend.store.image import ImageStore
from reference_backend.store.interface import Store
from reference_backend.store.memory import MemoryStore

MakeStore = Callable[[int], AbstractContextManager[Store]]


@contextmanager
def memory(size: int) -> Iterator[Store]:
    yield MemoryStore(size)


@contextmanager
def directory(size: int) -> Iterator[Store]:
    with TemporaryDirectory() as home:
        make(Path(home), "v", size)
        store = DirectoryStore(Path(home))
        try:
            yield store
        finally:
            store.close()


@contextmanager
def small_segments(size: int) -> Iterator[Store]:
    """A directory store whose requests cross segments, and that runs out of open files."""
    with TemporaryDirectory() as home:
        make(Path(home), "v", size)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reference_backend.store.segments.OPEN_FILES_MAX", 2)
            store = DirectoryStore(Path(home))
            store._bytes = 16384
            try:
                yield store
            finally:
                store.close()


@contextmanager
def image(size: int) -> Iterator[Store]:
    with TemporaryDirectory() as home:
        path = Path(home) / "image"
        with path.open("wb") as file:
            file.truncate(size)
        store = ImageStore(path)
        try:
            yield store
        finally:
            store.close()


KINDS: dict[str, MakeStore] = {
    "memory": memory,
    "directory": directory,
    "segments": small_segments,
    "image": image,
}


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """Context manager that makes a store of a size in bytes."""
    return KINDS[request.param]
