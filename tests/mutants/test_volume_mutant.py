"""What bugs in volumes share."""

from __future__ import annotations

from mutants.volume_mutant import apart, fits
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume


def test_a_change_fits_if_it_is_allowed_and_short() -> None:
    volume = Volume(MemoryStore(100))
    assert fits(volume, 90, 10, 10)
    assert not fits(volume, 90, 0, 10)
    assert not fits(volume, 90, 11, 20)
    assert not fits(volume, 0, 11, 10)
    volume.read_only = True
    assert not fits(volume, 90, 10, 10)


def test_only_spans_that_do_not_overlap_are_kept() -> None:
    spans = [(0, b"ab"), (2, b"cd"), (4, b"ef")]
    assert apart(spans, 2, 2) == [(0, b"ab"), (4, b"ef")]
    assert apart(spans, 1, 1) == spans[1:]
    assert apart(spans, 6, 9) == spans
