"""Measure how many crash states per second are made and judged; print and save JSON.

    .venv/bin/python bench/crash_states.py [--save FILE] [--rounds N] [--only WORDS]

The goals: 20,000 per second on one core if no external program judges (the contents of the stores
are read and recovered in process), 140 per second with ``qemu-img check`` and 250 with ``e2fsck``
on two cores. CrashMonkey (OSDI '18, section 6) reports 100,000 states in about 10 minutes on one
machine, 167 per second, with fsck and file system mounts.

Each figure is for all different states of one log, judged; it is a median of the rounds. Other
programs on the machine lower the rate, but hardly change the CPU time per state. Therefore the
measured rate is printed together with the rate that this CPU time gives on idle cores, and with the
load of the machine. A guest writes the logs of file systems; that is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402
from blockio.write_log import Entry, entries_in, read_log  # noqa: E402
from oracles.crash_states.families import Bounds  # noqa: E402  # the path is set above
from oracles.crash_states.promises import Promises  # noqa: E402
from oracles.crash_states.states import CrashStates  # noqa: E402
from oracles.damage import Damage  # noqa: E402
from oracles.finding import Findings, reported  # noqa: E402
from oracles.stamps import Identity  # noqa: E402
from qbdcheck.catalogue.history import default_cache_dir  # noqa: E402
from qbdcheck.guest.guest import Guest  # noqa: E402
from qbdcheck.guest.image import GuestImage  # noqa: E402
from qbdcheck.guest.setup import GuestSetup, guest_setup  # noqa: E402
from qbdcheck.kit.crash import sqlite_disk, wal_store  # noqa: E402
from qbdcheck.kit.crash.explorer import Exploration, Explorer, Judge  # noqa: E402
from qbdcheck.kit.crash.ext4_judge import Ext4Judge  # noqa: E402
from qbdcheck.kit.crash.file_history import FileHistory  # noqa: E402
from qbdcheck.kit.crash.file_workload import run_file_workload  # noqa: E402
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge  # noqa: E402
from qbdcheck.kit.crash.recorder import Recorder  # noqa: E402
from qbdcheck.kit.crash.xfs_judge import XfsJudge  # noqa: E402
from qbdcheck.programs.installed import Programs  # noqa: E402

ROUNDS = 5
CRASHMONKEY_PER_S = 100_000 / 600
MIB = 1 << 20


class Numbered:
    """Judges a volume of 16 places of 4 KiB, written in turn, flushed after each sixteenth write.

    Each sector holds the number of its write: it must be that of the last flushed write of its
    place, or of a later one.
    """

    changes_the_file = False

    def check(self, image: memoryview, path: object, limit: int) -> Findings:  # noqa: ARG002
        """Compare every sector that was ever written."""
        flushed = limit // 17 * 16
        for turn in range(16):
            place = turn * 7 % 16 * 4 * MIB
            data = bytes(image[place : place + 4096])
            owed = flushed - 16 + turn if flushed else -1
            for sector in range(0, 1 if data == data[:4] * 1024 else 4096, 512):
                number = int.from_bytes(data[sector : sector + 4], "little") - 1
                if data[sector : sector + 512] != data[sector : sector + 4] * 128:
                    return reported(Damage.UNKNOWN, f"no number at {place + sector}")
                if number < owed or (number >= 0 and number % 16 != turn):
                    text = f"write {number} at {place + sector}, {owed} was flushed"
                    return reported(Damage.LOST, text)
        return Findings()


Subject = tuple[list[Entry], memoryview, list[int], Callable[[Path], Judge]]
"""A log, the contents at its end, the acknowledged entries, and what makes the judge."""


def volume() -> Subject:
    """Return 64 MiB with 5,008 writes of 4 KiB to 16 places, and a flush after each sixteenth."""
    disk = Recorder(64 * MIB)
    for number in range(5008):
        disk.write(number * 7 % 16 * 4 * MIB, (number + 1).to_bytes(4, "little") * 1024)
        if number % 16 == 15:
            disk.flush()
    return disk.log, disk.image, [], lambda _: Numbered()


def store() -> Subject:
    """Return the write-ahead-logging store after 400 commits; each state is recovered."""
    disk = Recorder(wal_store.SIZE)
    history = wal_store.WalHistory()
    wal_store.run_workload(wal_store.WalStore(disk), history, lambda: disk.position, 400)
    return disk.log, disk.image, history.acknowledged, lambda _: history


def sqlite() -> Subject:
    """Return SQLite with a write-ahead log; its recovery and integrity check judge each state."""
    disk = Recorder(sqlite_disk.SIZE)
    history = sqlite_disk.SqliteHistory()
    vfs = sqlite_disk.DiskVfs(f"bench{time.monotonic_ns()}", disk)
    database = sqlite_disk.connect(vfs, "wal", "full")
    sqlite_disk.run_transactions(database, history, lambda: disk.position, 12)
    database.close()
    vfs.unregister()
    return disk.log, disk.image, history.acknowledged, lambda _: history


def measured(
    explore: Callable[[Path], Exploration], rounds: int, cores: int | None = None
) -> dict[str, float]:
    """Return states per second, as measured and as they would be on idle cores.

    :param cores: how many cores the exploration uses; by default all.
    """
    rates, costs, explored = [], [], 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            before = sum(os.times()[:4])
            result = explore(Path(directory))
            costs.append((sum(os.times()[:4]) - before) * 1000 / result.explored)
        result.must_be_clean()
        rates.append(result.explored / result.seconds)
        explored = result.explored
    cost = statistics.median(costs)
    return {
        "states_per_s": round(statistics.median(rates)),
        "states_per_s_by_cpu_time": round((cores or os.cpu_count() or 1) * 1000 / cost),
        "cpu_ms_per_state": round(cost, 3),
        "states": explored,
        "load": round(os.getloadavg()[0], 1),
    }


def in_process(make: Callable[[], Subject], rounds: int) -> dict[str, float]:
    """Measure on one core."""

    log, end, acknowledged, judge = make()

    def explore(directory: Path) -> Exploration:
        states = CrashStates(log, memoryview(bytearray(len(end))), acknowledged)
        bounds = Bounds(subsets=8, chance=64)
        return Explorer(states, end, len(log), judge, directory, bounds, jobs=1).run()

    return measured(explore, rounds, 1)


def with_qemu_img(rounds: int) -> dict[str, float]:
    """Measure with qemu-img on all cores."""
    with tempfile.TemporaryDirectory() as name:
        promises, log, initial, end = qcow2_log(Path(name))

        def explore(directory: Path) -> Exploration:
            states = CrashStates(log, memoryview(bytearray(initial)), promises.acknowledged)
            judge = qcow2_judge(Programs(), promises)
            return Explorer(states, memoryview(end), len(log), judge, directory).run()

        return measured(explore, rounds)


def started(setup: GuestSetup, directory: Path) -> Guest:
    """Start a guest from its template."""
    assert isinstance(setup.image, GuestImage)
    assert setup.template
    guest = Guest(
        Programs(),
        directory,
        setup.image,
        template=setup.template.directory,
        accelerator=setup.accelerator,
    )
    guest.start()
    return guest


def file_system_log(
    setup: GuestSetup, directory: Path, file_system: str, rounds: int
) -> tuple[list[Entry], bytes, FileHistory]:
    """Let a guest work on a file system; return the log, the volume before it, and promises."""
    image, path = directory / "image", directory / "log"
    with image.open("wb") as file:
        file.truncate((8 if file_system == "ext4" else 32) * MIB)
    path.touch()
    node = {"driver": "file", "filename": str(image)}
    guest = started(setup, directory)
    make = "mke2fs -q -t ext4 -F -b 1024 -J size=1"
    if file_system == "xfs":
        make = "mkfs.xfs -q -f --unsupported -s size=4096 -d agcount=2"
    disk = guest.attach({"driver": "raw", "file": node})
    guest.run(f"{make} {disk.path} && sync")
    guest.quit()
    initial = image.read_bytes()
    guest = started(setup, directory)
    disk = guest.attach({"driver": "blklogwrites", "file": node, "log-sector-size": 512,
                         "log": {"driver": "file", "filename": str(path)},
                         "log-super-update-interval": 1})  # fmt: skip
    mount = f"-t {file_system} {disk.path}"
    history = run_file_workload(guest, lambda: entries_in(path), rounds, mount)
    guest.kill()
    return read_log(path), initial, history


def of_file_system(file_system: str, rounds: int) -> dict[str, float]:
    """Measure with e2fsck, or with a guest that mounts an xfs, on all cores."""
    setup = guest_setup(Programs(), default_cache_dir(os.environ))
    is_ext4 = file_system == "ext4"
    with tempfile.TemporaryDirectory() as name:
        log, initial, history = file_system_log(setup, Path(name), file_system, 6)

        def explore(directory: Path) -> Exploration:
            image = memoryview(bytearray(initial))
            states = CrashStates(log, image, history.acknowledged, 4096)

            def judge(where: Path) -> Judge:
                if is_ext4:
                    return Ext4Judge(history)
                return XfsJudge(where, lambda place: started(setup, place), history)

            bounds = Bounds(subsets=8, chance=64)
            return Explorer(states, image, len(log), judge, directory, bounds).run()

        return measured(explore, rounds if is_ext4 else 1)


def qcow2_log(directory: Path) -> tuple[Promises, list[Entry], bytes, bytearray]:
    """Log the writes of a workload on a qcow2 image of 4 KiB clusters in a file of 2 MiB."""
    image, log = directory / "image", directory / "log"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096"]
    subprocess.run([*create, str(image), "1M"], check=True)
    with image.open("r+b") as file:
        file.truncate(2 * MIB)
    initial = image.read_bytes()
    log.touch()
    volume_node = {"driver": "file", "filename": str(image)}
    logging = {"driver": "blklogwrites", "file": volume_node, "log-super-update-interval": 1,
               "log": {"driver": "file", "filename": str(log)}, "log-sector-size": 512}  # fmt: skip
    disk = "json:" + json.dumps({"driver": "qcow2", "file": logging})
    promises = Promises(MIB, Identity(1, 1))
    arguments = []
    for number in range(40):
        offset, length = number * 25_000, 5000 + number * 100
        data = promises.stamped(offset, length)
        (directory / f"{number}").write_bytes(data)
        promises.write(offset, data, 0, 1 << 40)
        arguments += ["-c", f"write -q -s {directory}/{number} {offset} {length}"]
        arguments += ["-c", "flush"] if number % 5 == 4 else []
    subprocess.run(["qemu-io", "-t", "writeback", *arguments, disk], check=True)
    assert entries_in(log)
    end = bytearray(image.read_bytes())
    return promises, read_log(log), initial, end[: len(initial)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="measure only names with these arguments")
    options = parser.parse_args()
    need(["qemu-img", "qemu-storage-daemon", "qemu-system-x86_64", "e2fsck"])
    rounds = options.rounds
    benches: dict[str, Callable[[], dict[str, float]]] = {
        "5,008 writes on 64 MiB, all sectors judged, 1 core": lambda: in_process(volume, rounds),
        "write-ahead-logging store recovered, 1 core": lambda: in_process(store, rounds),
        "SQLite recovered and checked, 1 core": lambda: in_process(sqlite, rounds),
        "qcow2 with qemu-img check, all cores": lambda: with_qemu_img(rounds),
        "ext4 with e2fsck, all cores": lambda: of_file_system("ext4", rounds),
        "xfs mounted by guests, all cores": lambda: of_file_system("xfs", rounds),
    }
    results = {}
    for name, bench in benches.items():
        if options.only not in name:
            continue
        result = results[name] = bench()
        times = result["states_per_s"] / CRASHMONKEY_PER_S
        print(
            f"{name:50} {result['states_per_s']:7,}/s of {result['states']:7,} ({times:.1f}x"
            f" CrashMonkey); by CPU time {result['states_per_s_by_cpu_time']:,}/s,"
            f" {result['cpu_ms_per_state']:.3g} ms each; load {result['load']}",
            flush=True,
        )
        save(options.save, {"crashmonkey_per_s": round(CRASHMONKEY_PER_S), "results": results})
    print(f"{'CrashMonkey, published':50} {CRASHMONKEY_PER_S:7.0f}/s of 100,000")


if __name__ == "__main__":
    main()
