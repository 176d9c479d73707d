import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oracles.damage_map import KINDS
from oracles.inspection import main, stretches
from oracles.stamps import SECTOR, Identity, stamp

ME = Identity(1, 2)


def image(tmp_path: Path) -> Path:
    data = stamp(0, 16 * SECTOR, ME)
    data[2 * SECTOR : 4 * SECTOR] = stamp(2 * SECTOR, 2 * SECTOR, ME, 3, 57)
    data[5 * SECTOR : 6 * SECTOR] = stamp(9 * SECTOR, SECTOR, ME, 4, 58)
    data[7 * SECTOR : 8 * SECTOR] = 0
    data[8 * SECTOR + 200 : 9 * SECTOR] = 0
    data[10 * SECTOR + 20] ^= 1
    data[12 * SECTOR : 13 * SECTOR] = 0xA5
    data[14 * SECTOR : 15 * SECTOR] = np.random.default_rng(1).integers(0, 256, SECTOR)
    path = tmp_path / "disk.img"
    path.write_bytes(data.tobytes() + b"tail")
    return path


def test_a_map_names_each_run_of_sectors(tmp_path: Path) -> None:
    rows = [(row.first, row.count, row.text.split(",")[0]) for row in stretches(image(tmp_path))]
    prefill = "prefill"
    assert rows == [
        (0, 2, prefill), (2, 2, "write #57"), (4, 1, prefill), (5, 1, "write #58"),
        (6, 1, prefill), (7, 1, "zeroes"), (8, 1, "damaged: torn at byte 200: first prefill"),
        (9, 1, prefill), (10, 1, "damaged: bit flip at byte 20 of the sector (bit 0)"),
        (11, 1, prefill), (12, 1, "pattern 0xa5"),
        (13, 1, prefill), (14, 1, "other data"), (15, 1, prefill), (16, 1, "other data"),
    ]  # fmt: skip


def test_a_misdirected_sector_is_marked(tmp_path: Path) -> None:
    rows = {row.first: row.text for row in stretches(image(tmp_path))}
    assert rows[5].endswith("MISDIRECTED by -4 sectors")


def damaged(tmp_path: Path, sector: np.ndarray) -> str:
    path = tmp_path / "disk.img"
    path.write_bytes(stamp(0, 4 * SECTOR, ME).tobytes() + sector.tobytes())
    return list(stretches(path))[-1].text


def test_a_damaged_sector_explains_itself(tmp_path: Path) -> None:
    right = stamp(4 * SECTOR, SECTOR, ME, 3, 57)
    for places, text in (
        (slice(400, 401), "bit flip at byte 400 of the sector (bit 0)"),
        (slice(8, 9), "bit flip at byte 8 of the sector (bit 0)"),
        (slice(0, 1), "bit flip at byte 0 of the sector (bit 0)"),
        (slice(100, 104), "bytes 100 to 103 of the sector altered"),
    ):
        wrong = right.copy()
        wrong[places] ^= 1
        assert damaged(tmp_path, wrong) == f"damaged: {text}"
    shifted = np.concatenate((np.zeros(24, np.uint8), right[:-24]))
    assert damaged(tmp_path, shifted) == "damaged: a stamp, shifted by +24 bytes"
    torn = np.concatenate((right[:256], stamp(4 * SECTOR + 256, 256, ME, 2, 31)))
    assert damaged(tmp_path, torn).startswith("damaged: torn at byte 256: first generation 3")
    torn = np.concatenate((np.zeros(256, np.uint8), right[256:]))
    assert damaged(tmp_path, torn) == "damaged: the end of a stamp after zeroes"
    torn = np.concatenate((right[:40], stamp(4 * SECTOR + 40, 472, ME, 2, 31)))
    assert damaged(tmp_path, torn) == "damaged: a stamp whose header does not fit its data"
    moved = stamp(9 * SECTOR, SECTOR, ME, 3, 57)
    moved[300] ^= 8
    told = damaged(tmp_path, moved)
    assert told == "damaged: bit flip at byte 300 of the sector (bit 3), MISDIRECTED by -5 sectors"


def test_another_volumes_data_are_foreign_and_all_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "disk.img"
    other = stamp(4 * SECTOR, SECTOR, Identity(1, 3), 2, 5)
    path.write_bytes(stamp(0, 4 * SECTOR, ME).tobytes() + other.tobytes() + bytes(SECTOR))
    assert main([str(path)]) == 0
    told = capsys.readouterr().out
    assert "run 0x1, volume 0x3, FOREIGN\n" in told
    counts = [line.split(maxsplit=1) for line in told.partition("\nsectors\n")[2].splitlines()]
    assert [(count, words.split()[0]) for count, words in counts] == [
        ("1", "another"), ("4", "prefill,"), ("1", "zeroes")
    ]  # fmt: skip


def test_offset_and_length_choose_a_part(tmp_path: Path) -> None:
    rows = list(stretches(image(tmp_path), 2 * SECTOR, 2 * SECTOR))
    assert [(row.first, row.count) for row in rows] == [(2, 2)]


def test_the_picture_shows_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, other = Identity(1, 2), Identity(1, 3)
    sectors = [
        stamp(0, 512, mine), stamp(512, 512, mine, 3, 9), stamp(0, 512, mine, 4, 10),
        stamp(1536, 512, other), np.zeros(512, np.uint8), np.full(512, 0xAA, np.uint8),
        stamp(3072, 512, mine), stamp(3584, 512, mine),
    ]  # fmt: skip
    sectors[6] = np.concatenate((sectors[6][:256], np.zeros(256, np.uint8)))
    image, picture = tmp_path / "image", tmp_path / "map.svg"
    image.write_bytes(b"".join(part.tobytes() for part in sectors))
    assert main([str(image), "--svg", str(picture)]) == 0
    text = picture.read_text()
    cells = re.findall(r'fill="(#\w+)"><title>sector (\d+)', text)
    kinds = {colour: kind for kind, colour, _ in KINDS}
    assert [kinds[colour].name.lower() for colour, _ in cells] == [
        "prefill", "written", "misdirected", "mixed", "zeroes", "other", "damaged", "prefill"
    ]  # fmt: skip
    assert all(words in text for _, _, words in KINDS)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "oracles.inspection", str(image(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = " ".join(done.stdout.splitlines()[2].split())
    assert row == "2 2 1024 write #57, generation 3, writer 0, run 0x1, volume 0x2"


@pytest.mark.parametrize("arguments", [["/nowhere"], ["x", "--offset", "5"]])
def test_bad_arguments_exit_with_2_and_one_clear_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err
