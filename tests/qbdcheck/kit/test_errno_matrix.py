"""The errno matrix: names of results, and the page that is generated from them."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable

import pytest

from qbdcheck.files import ROOT
from qbdcheck.kit.errno_matrix import CARRIED, ERRNOS, answer, named, named_text
from qbdcheck.programs.qemu_io import IoFailed
from reference_backend.nbd.constants import WireError
from reference_backend.nbd.errors import NbdError


def fails(error: Exception) -> Callable[[], object]:
    def request() -> object:
        raise error

    return request


def no_space() -> IoFailed:
    failed = IoFailed("write 0 512", ["qemu-io"], None)
    failed.reason = "No space left on device"
    return failed


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (NbdError(errno.ENOSPC), "ENOSPC"),
        (NbdError(errno.ENOTSUP), "ENOTSUP"),
        (ConnectionResetError("gone"), "dropped"),
        (BrokenPipeError(), "dropped"),
        (no_space(), "ENOSPC"),
    ],
)
def test_a_failure_is_reported_by_its_name(error: Exception, word: str) -> None:
    assert answer(fails(error)) == word


def test_other_exceptions_are_not_hidden() -> None:
    with pytest.raises(ValueError, match="a bug"):
        answer(fails(ValueError("a bug")))
    assert answer(lambda: None) == "ok"


def test_errnos_have_their_names_whatever_python_calls_them_first() -> None:
    assert [named(number) for number in ERRNOS.values()] == list(ERRNOS)
    assert named_text("Operation not supported") == "ENOTSUP"
    assert named_text("Success, or so") == "Success, or so"


def test_the_errnos_that_are_carried_are_those_of_the_protocol() -> None:
    assert {ERRNOS[name] for name in CARRIED} == {int(one) for one in WireError if one}


def test_the_page_agrees_with_the_goldens() -> None:
    spec = importlib.util.spec_from_file_location("errno_page", ROOT / "tools/docs/errno_matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0
