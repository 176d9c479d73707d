"""Errors of requests of `qbdcheck.kit.nbd_io`: refused, lost, or without an answer in time."""

from __future__ import annotations

from dataclasses import replace

from oracles.damage import Damage
from oracles.damage import error as outcome
from oracles.finding import Finding, Findings
from reference_backend.nbd.errors import NbdError


class RequestFailed(NbdError):  # noqa: N818  # as IoFailed of qemu-io
    """The server answered a request with an error; ``request`` describes the request.

    :ivar findings: the error; who knows of damaged data beside it adds that.
    """

    def __init__(self, request: str, error: NbdError) -> None:
        super().__init__(error.errno or 0, error.strerror or "", error.offset)
        self.request = request
        wrong = Finding(Damage.ERROR, expected=outcome(0), seen=outcome(self.errno or 0))
        self.findings = Findings([replace(wrong, remark=str(self))])

    def __str__(self) -> str:
        return f"{self.request} failed: {self.strerror} (errno {self.errno})"


class RequestLost(ConnectionError):  # noqa: N818
    """A request has no reply: the connection ended, or the time limit passed (`RequestHangs`)."""


class RequestHangs(RequestLost, TimeoutError):  # noqa: N818  # as RequestLost
    """A request has no reply within the time limit."""


def lost(request: object, error: OSError | EOFError) -> RequestLost:
    """Return the error of a request without a reply: the connection has ended, or it hangs."""
    if isinstance(error, TimeoutError):
        return RequestHangs(f"{request}: no reply within the time limit")
    if isinstance(error, ConnectionError | EOFError):
        return RequestLost(f"{request}: the server ended the connection without a reply")
    return RequestLost(f"{request}: {error.strerror or error}")
