"""Reach a Dask scheduler, or start one with workers on this machine."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from qbdcheck.argument_types import LOCAL_WORKERS
from qbdcheck.errors import SetupError

HOW_TO_INSTALL = (
    "--cluster needs the Python packages distributed and bokeh:"
    " .venv/bin/pip install distributed bokeh, or pip install 'qbdcheck[cluster]'"
)
_CONNECT_S = 15
_SILENT = logging.CRITICAL + 1


@dataclass(frozen=True)
class Connection:
    """A client of a scheduler. ``dashboard`` is the address of its page."""

    client: Any
    dashboard: str
    local_workers: int = 0


@contextlib.contextmanager
def connect(text: str, scratch: Path) -> Iterator[Connection]:
    """Connect to the scheduler at an address, or start ``local:N``; disconnect at the end.

    The workers of ``local:N`` end with this process, whatever ends it.

    :param scratch: a directory for the files of local workers.
    :raise SetupError: the package is missing, or there is no scheduler at this address.
    """
    found = LOCAL_WORKERS.fullmatch(text)
    count = int(found[1]) if found else 0
    try:
        import dask
        import distributed
    except ImportError:
        raise SetupError(HOW_TO_INSTALL) from None
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(_SILENT)  # what matters is reported here
    with contextlib.ExitStack() as ends:
        address: Any = text
        with _no_interrupt_in_new_threads():
            if count:
                ends.enter_context(dask.config.set(_of_local_workers(scratch)))
                address = distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    security=True,  # its own certificates: other users may reach 127.0.0.1
                    dashboard_address="127.0.0.1:0",
                    local_directory=str(scratch),
                    silence_logs=_SILENT,
                )
                ends.callback(_end, address)
            try:
                client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
            except (OSError, TimeoutError, ValueError, TypeError) as error:
                why = " ".join(str(error).split()) or "no answer"
                raise SetupError(
                    f"--cluster {text}: cannot reach a scheduler: {why}; start one with: dask"
                    " scheduler"
                ) from None
        ends.callback(client.close, 5)
        yield Connection(client, str(client.dashboard_link or ""), count)


def _of_local_workers(scratch: Path) -> dict[str, Any]:
    """Return settings of Dask: all files below `scratch`, and no profiles of this project's code.

    The profiler samples 100 times a second, and its history grows for a quarter of an hour.
    """
    return {"temporary-directory": str(scratch), "distributed.worker.profile.enabled": False}


def _end(cluster: Any) -> None:
    with contextlib.suppress(Exception):  # the reaper ends what is left
        cluster.close(timeout=5)


@contextlib.contextmanager
def _no_interrupt_in_new_threads() -> Iterator[None]:
    """Block SIGINT for the threads and processes that start in the block.

    Ctrl-C reaches all processes of the terminal. Only this one ends the run; it ends the others.
    """
    resource_tracker.ensure_running()  # later it would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
