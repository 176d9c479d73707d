"""A real server with one mutant in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from mutants.catalogue import catalogue, layer_words
from reference_backend.client import Client
from tests.reference_backend.cli_server import ServerProcess

Serve = Callable[..., AbstractContextManager[ServerProcess]]
MIB = 1 << 20


class Server(ServerProcess):
    """Its clients ask for block status."""

    def connect(self, export: str = "") -> Client:
        """Return a connected NBD client."""
        return Client.connect(str(self.socket), export, contexts=["base:allocation"])


@pytest.fixture
def serve() -> Serve:
    """Return what serves a volume of 4 MiB named "v" with a mutant that strikes always."""

    @contextlib.contextmanager
    def server(mutant: str, *words: str, size: int = 4 * MIB) -> Iterator[ServerProcess]:
        known = catalogue()[mutant]
        layer = layer_words(known) + (":rate=1" if "rate" in known.takes else "")
        usual = ["--memory", str(size), "--export-name", "v", "--layer", layer]
        with Server(*usual, *words) as process:
            yield process

    return server
