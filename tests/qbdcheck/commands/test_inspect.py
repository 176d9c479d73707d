"""./check inspect: the page of an image, of an image with its write log, and of a saved run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blockio.write_log import Entry, LogFlag, LogWriter
from oracles.stamps import SECTOR, Identity, stamp
from qbdcheck.commands import inspect
from qbdcheck.errors import SetupError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.report.bundle import Bundle

WHO = Identity(1, 2)
SIZE = 64 * SECTOR


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "volume.img"
    path.write_bytes(stamp(0, SIZE, WHO).tobytes())
    return path


def put(image: Path, sector: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(sector * SECTOR)
        file.write(data)


def written(number: int, sector: int, sectors: int = 1) -> bytes:
    return stamp(sector * SECTOR, sectors * SECTOR, WHO, number, number).tobytes()


def logged(path: Path, *entries: Entry) -> Path:
    log = LogWriter(path)
    for entry in entries:
        log.append(entry)
    log.close()
    return path


def test_a_sound_image_is_green_and_its_page_lies_beside_it(image: Path) -> None:
    assert inspect.main([str(image)]) == 0
    page = image.with_name("volume.img.html").read_text()
    assert "1 case passed" in page
    assert "data:image/svg+xml;base64," in page  # the map of the whole volume
    assert "./check inspect" in page


def test_a_misdirected_sector_has_its_home(image: Path, tmp_path: Path) -> None:
    put(image, 9, written(3, 20))
    page = tmp_path / "x.html"
    assert inspect.main([str(image), "--html", str(page)]) == 1
    text = page.read_text()
    assert "MISDIRECTED by -11 sectors" in text
    assert "The data belongs in sector 20." in text


def test_a_log_shows_the_life_of_a_lost_write(image: Path, tmp_path: Path) -> None:
    log = logged(
        tmp_path / "w.log",
        Entry(LogFlag(0), 5 * SECTOR, SECTOR, written(1, 5)),
        Entry(LogFlag.FLUSH),
        Entry(LogFlag(0), 5 * SECTOR, 2 * SECTOR, written(2, 5, 2)),
    )
    put(image, 5, written(1, 5) + written(2, 6))  # of the second write, the first half is lost
    page = tmp_path / "x.html"
    assert inspect.main([str(image), "--log", str(log), "--html", str(page)]) == 1
    text = page.read_text()
    assert "stale (generation 1 by write #1, expected 2 by write #2)" in text
    assert "The life of sector 5" in text
    assert "Write #2 was acknowledged, and is gone." in text
    put(image, 5, written(2, 5))
    assert inspect.main([str(image), "--log", str(log), "--html", str(page)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: FILE"),
        (["missing.img"], "missing.img: no such file"),
        (["{image}", "--log", "{image}"], "no write log"),
        (["{image}", "--html", "{image}"], "would overwrite"),
        (["{image}", "--odd"], "--odd"),
        (["{json}"], "is not a report of --json"),
        (["{old}"], "has schema 0; this version reads 1"),
        (["{json}", "--log", "x"], "--log is for images"),
    ],
)
def test_bad_input_is_one_line(
    image: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "bad.json").write_text('{\n "schema": 1,\n "run": null}')
    (tmp_path / "old.json").write_text('{\n "schema": 0, "cases": []}')
    names = {"image": image, "json": tmp_path / "bad.json", "old": tmp_path / "old.json"}
    with pytest.raises(UsageError) as caught:
        inspect.main([one.format(**names) for one in arguments])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_its_bundle_and_its_kept_volume_have_pages(tmp_path: Path) -> None:
    bundle, report = tmp_path / "run.zip", tmp_path / "run.json"
    bundle.write_text("of an older run")
    words = ["-t", "mutant:phantom-write", "2", "--seed", "7", "--keep"]
    done = subprocess.run(
        [sys.executable, ROOT / "check", *words, "--bundle", bundle, "--json", report],
        env={
            **os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    kept = [line for line in done.stdout.splitlines() if line.endswith(".img")]
    *_, volume = kept[-1].split()
    assert "Kept: " in done.stdout
    assert Path(volume).stat().st_size == 8 << 20

    with zipfile.ZipFile(bundle) as found:
        names = set(found.namelist())
        place = "cases/002_sub_sector.raw/"
        assert {"report.html", "report.json", "events.jsonl", f"{place}script.yaml"} <= names
        assert f'href="{place}qemu-io.0.log"' in found.read("report.html").decode()
        assert f"{place}qemu-io.0.log" in names
        assert not any(name.endswith(".img") for name in names)
        lines = [json.loads(line) for line in found.read("events.jsonl").splitlines()]
        ends = ["case_ended", "case_experiment", "run_ended"]
        assert [one["event"] for one in lines][-3:] == ends
        for name in names:
            assert str(Path.home()) not in found.read(name).decode() or Path.home() == Path("/")
    assert not list(tmp_path.glob(".run.zip*"))

    for file in (bundle, report):
        page = tmp_path / "again.html"
        assert inspect.main([str(file), "--html", str(page)]) == 1
        assert "The life of sector 41" in page.read_text()
    assert inspect.main([volume]) == 1


def test_a_bundle_that_cannot_be_written_is_known_at_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "check", "1", "--bundle", tmp_path / "no/run.zip"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot write the bundle" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bundle_does_not_replace_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SetupError, match="pipe: it exists and is not a file"):
        Bundle(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
