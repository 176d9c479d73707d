"""A volume that differs from its write log: the sector, the kind and the write are named."""

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from blockio.layers import Below, Command, Layer, Reply, Request
from blockio.write_log import SECTOR, Entry, LogFlag, LogFollower, LogWriter
from injectors.write_log import WriteLog
from mutants.mutant import changed
from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.kit.logged_volume import LoggedVolume
from reference_backend.client import Client
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 4 << 20
PLACE = 1 << 20
Harm = Callable[[Request], Request | None]


class Harmed:
    """A layer that changes or drops each write that begins with the letter H."""

    waits = False

    def __init__(self, harm: Harm) -> None:
        self._harm = harm

    def handle(self, request: Request, below: Below) -> Reply:
        if request.command is Command.WRITE and bytes(request.payload[:1]) == b"H":
            changed = self._harm(request)
            return below(changed) if changed is not None else Reply()
        return below(request)


def data(letter: bytes, sectors: int) -> bytes:
    return b"".join(
        letter + random.Random(letter[0] << 8 | one).randbytes(SECTOR - 1) for one in range(sectors)
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Harm, Callable[[Client], None]], list[Finding]]:
    def findings(harm: Harm, writes: Callable[[Client], None]) -> list[Finding]:
        log = WriteLog(str(tmp_path / "log"))
        layers: list[Layer] = [log, Harmed(harm)]
        server = Server({"v": Volume(MemoryStore(SIZE), "v")}, tmp_path / "s", layers=layers)
        server.start()
        try:
            disk = SimpleNamespace(uri=f"nbd+unix:///v?socket={tmp_path / 's'}")
            followed = LoggedVolume(disk, SIZE, tmp_path / "log", tmp_path / "shadow")  # type: ignore[arg-type]
            with Client.connect(server.address, "v") as client:
                client.write(PLACE, data(b"o", 8))
                client.write(0, data(b"n", 4))
                writes(client)
            return followed.findings()
        finally:
            server.stop()
            log.close()

    return findings


def harmed(client: Client) -> None:
    client.write(PLACE, data(b"H", 2))


def moved(request: Request) -> Request:
    return changed(request, offset=request.offset + 8 * SECTOR)


def test_a_sound_volume_has_no_finding(run: Callable[..., list[Finding]]) -> None:
    def all_kinds(client: Client) -> None:
        harmed(client)
        client.write_zeroes(0, SECTOR)
        client.trim(PLACE + SECTOR, 4 * SECTOR)
        client.write(SIZE - SECTOR, data(b"e", 1))

    assert run(lambda request: request, all_kinds) == []


def test_a_lost_write_is_stale_and_named(run: Callable[..., list[Finding]]) -> None:
    (found,) = run(lambda _: None, harmed)
    assert (found.damage, found.offset, found.length) == (Damage.STALE, PLACE, 2 * SECTOR)
    assert found.last_write == f"#3 write {PLACE}+1024"


def test_a_misdirected_write_is_found_at_both_places(run: Callable[..., list[Finding]]) -> None:
    found = {one.damage: one for one in run(moved, harmed)}
    assert set(found) == {Damage.STALE, Damage.MISDIRECTED}
    wrong = found[Damage.MISDIRECTED]
    assert (wrong.offset, wrong.length, wrong.moved) == (PLACE + 8 * SECTOR, 1024, 8 * SECTOR)
    assert f"sector {PLACE // SECTOR}, of write #3" in wrong.remark


def test_zeroes_and_a_flipped_bit_are_told_apart(run: Callable[..., list[Finding]]) -> None:
    def zeroed(request: Request) -> Request:
        return changed(request, payload=bytes(request.length))

    def flipped(request: Request) -> Request:
        payload = bytearray(request.payload)
        payload[700] ^= 4
        return changed(request, payload=bytes(payload))

    (zeroes,) = run(zeroed, harmed)
    assert (zeroes.damage, zeroes.length) == (Damage.ZEROED, 2 * SECTOR)
    (flip,) = run(flipped, harmed)
    assert (flip.damage, flip.offset) == (Damage.BIT_FLIP, PLACE + SECTOR)


def test_the_flipped_bit_is_named_also_where_a_copy_of_the_sector_exists(
    run: Callable[..., list[Finding]],
) -> None:
    def flipped(request: Request) -> Request:
        payload = bytearray(request.payload)
        payload[700] ^= 4
        return changed(request, payload=bytes(payload))

    def copied(client: Client) -> None:
        harmed(client)
        client.write(2 * PLACE, b"c" * SECTOR + client.read(PLACE + SECTOR, SECTOR))

    (flip,) = run(flipped, copied)
    assert (flip.damage, flip.offset, flip.count) == (Damage.BIT_FLIP, PLACE + SECTOR, 1)
    assert flip.text == (
        f"bit flip at byte 188 of the sector (bit 2), in the data of write #3 to {PLACE}+1024, by"
        " the write log"
    )
    assert flip.sector_bytes is not None
    assert flip.sector_bytes.expected == data(b"H", 2)[SECTOR:]


def test_data_that_is_at_many_places_went_as_far_as_explains_most(
    run: Callable[..., list[Finding]],
) -> None:
    def same(client: Client) -> None:
        client.write(PLACE - 64 * SECTOR, b"o" * 80 * SECTOR)
        client.write(PLACE + 16 * SECTOR, b"p" * 8 * SECTOR)
        client.write(PLACE, b"H" * 16 * SECTOR)

    wrong, stale = run(moved, same)
    assert (wrong.damage, stale.damage) == (Damage.MISDIRECTED, Damage.STALE)
    assert (wrong.offset, wrong.length, wrong.moved) == (PLACE + 16 * SECTOR, 4096, 8 * SECTOR)
    assert (
        wrong.text == f"misdirected: it has the data of sector {PLACE // SECTOR + 8}, of write #5"
    )
    assert (stale.offset, stale.length) == (PLACE, 4096)


def test_zeroes_beside_a_later_discard_name_it(run: Callable[..., list[Finding]]) -> None:
    def zeroed(request: Request) -> Request:
        return changed(request, payload=bytes(request.length))

    def discards(client: Client) -> None:
        client.trim(SIZE - 4096, 4096)
        harmed(client)
        client.trim(PLACE - 4096, 4096)
        client.trim(2 * PLACE, 4096)

    (found,) = run(zeroed, discards)
    assert found.length == 2 * SECTOR
    which = f"discard #5 of 4096 bytes at offset {PLACE - 4096}"
    assert found.evidence == (f"it lies directly behind {which}, which came after write #4",)

    def before(client: Client) -> None:
        client.trim(PLACE - 4096, 4096)
        harmed(client)
        client.trim(PLACE + 4 * SECTOR, 4096)

    (found,) = run(zeroed, before)
    assert found.evidence == ()


def test_a_follower_reads_entries_once_and_frees_their_space(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer, follower = LogWriter(path), LogFollower(path)
    assert list(follower.new_entries()) == []
    for letter in b"abc":
        entry = Entry(LogFlag.FUA, 4096, 16 << 20, bytes([letter]) * (16 << 20))
        writer.append(entry)
        writer.append(Entry(LogFlag.DISCARD, 512, 512))
        assert list(follower.new_entries()) == [entry, Entry(LogFlag.DISCARD, 512, 512)]
    assert path.stat().st_size > 48 << 20
    assert path.stat().st_blocks * 512 < 20 << 20
    follower.close()
    writer.close()
