"""A backend that is paused: its host swaps, is suspended, or is migrated while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from qbdcheck.targets.lifecycle import Backend


@contextlib.contextmanager
def paused(backend: Backend) -> Iterator[None]:
    """Stop the server and its children by SIGSTOP; resume them at the end (signal(7)).

    Sockets stay open, and the kernel accepts what fits into their buffers: a client sees a server
    that does not answer, not a closed connection.

    :raise NotRun: the target has no server.
    """
    server = psutil.Process(backend.pid)
    processes = [server, *server.children(recursive=True)]
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
