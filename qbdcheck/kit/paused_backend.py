"""A backend that stands still: its host swaps, is suspended, or is moved while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from qbdcheck.targets.lifecycle import Backend


@contextlib.contextmanager
def standing_still(backend: Backend) -> Iterator[None]:
    """Stop the server and its children by SIGSTOP; they go on at the end (signal(7)).

    Sockets stay open, and the kernel takes what fits into their buffers: to a client that is a
    server which answers nothing, not one that is gone.

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
