"""Each mutant of the group virtio fails the case that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants import virtio
from tests.mutants.virtio_case import fate_of, parameters


@pytest.mark.parametrize("mutant", parameters(virtio, fast=("virtio-first-range-only",)))
def test_its_case_fails_and_names_it(mutant: str, tmp_path: Path) -> None:
    fate = fate_of(mutant, tmp_path)
    assert fate["killed"], fate
    assert fate["named"], fate
