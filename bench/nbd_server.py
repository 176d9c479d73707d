"""Compare the speed of the reference backend with that of other servers, by fio's nbd engine.

Each workload runs in pairs, one run of the reference backend and one of the other server, one after
the other. The order changes with every pair, so that a busy machine affects both. A ratio is the
median of the ratios of the pairs. The CPU time of the server per request (utime + stime of
/proc/PID/stat, all threads) varies less than IOPS and is printed next to them.

If there is a C compiler, each pair of the memory store gets a third run, against a server that does
nothing (null_server.c). The column "limit" is the result of that server divided by the other
server's: the limit of fio itself on this machine. No server can have a better ratio.

    python bench/nbd_server.py                     all workloads, 5 pairs of 3 s
    python bench/nbd_server.py --pairs 3 --runtime 1 --only memory:4k

Results, written after each workload: bench/results/nbd_server.json and nbd_server.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
VOLUME_MIB = 512


@dataclass(frozen=True)
class Workload:
    """One fio job: ``rw``, block size, iodepth, and the goals for its ratios."""

    store: str
    peer: str
    rw: str
    bs: str
    iodepth: int
    goal: float
    cpu_goal: float | None = None

    @property
    def label(self) -> str:
        """Return its name in the table and for ``--only``: store:bs:rw:qdN:peer."""
        return f"{self.store}:{self.bs}:{self.rw}:qd{self.iodepth}:{self.peer}"


@dataclass
class Sample:
    """One fio run: I/O operations per second, and microseconds of server CPU per operation."""

    iops: float
    cpu_us: float


@dataclass
class Result:
    """All pairs of one workload."""

    label: str
    goal: float
    cpu_goal: float | None
    ours: list[Sample] = field(default_factory=list)
    peer: list[Sample] = field(default_factory=list)
    null: list[Sample] = field(default_factory=list)

    @property
    def limit(self) -> float | None:
        """Return the median of null server IOPS / peer IOPS; None if not measured."""
        if not self.null:
            return None
        return statistics.median(n.iops / p.iops for n, p in zip(self.null, self.peer, strict=True))

    @property
    def ratio(self) -> float:
        """Return the median over the pairs of our IOPS / peer IOPS."""
        return statistics.median(o.iops / p.iops for o, p in zip(self.ours, self.peer, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """Return the median over the pairs of our CPU time per request / the peer's."""
        pairs = zip(self.ours, self.peer, strict=True)
        return statistics.median(o.cpu_us / max(p.cpu_us, 1e-3) for o, p in pairs)

    @property
    def reached(self) -> bool:
        """Return True if every goal of the workload is met."""
        cpu_fine = self.cpu_goal is None or self.cpu_ratio <= self.cpu_goal
        return self.ratio >= self.goal and cpu_fine


def workloads() -> list[Workload]:
    """Return every workload with the goals of the project."""
    found = []
    for rw in ("randwrite", "randread"):
        found += [Workload("memory", "nbdkit", rw, "4k", 1, 0.95)]
        found += [Workload("memory", "nbdkit", rw, "4k", 16, 1.5, 0.7)]
        found += [Workload("memory", "nbdkit", rw, "4k", 64, 1.5)]
        found += [Workload("memory", "nbdkit", rw, "64k", depth, 1.2) for depth in (1, 16)]
        found += [Workload("memory", "nbdkit", rw, "1m", depth, 1.0) for depth in (1, 4)]
        found += [Workload("file", "nbdkit", rw, "4k", 16, 1.0)]
        found += [Workload("file", "qemu-nbd", rw, "4k", 16, 1.5)]
    return found


def command(store: str, program: str, socket: Path, image: Path) -> list[str]:
    """Return the command line of a server of ``store`` by ``program`` on a Unix socket."""
    if program == "ours":
        what = ["--memory", f"{VOLUME_MIB}M"] if store == "memory" else ["--image", str(image)]
        return [sys.executable, "-m", "reference_backend", "serve", *what, "--socket", str(socket)]
    if program == "null":
        return [str(image.parent / "null_server"), str(socket), str(VOLUME_MIB << 20)]
    if program == "nbdkit":
        what = ["memory", f"{VOLUME_MIB}M"] if store == "memory" else ["file", str(image)]
        return ["nbdkit", "--foreground", "--unix", str(socket), *what]
    return [
        "qemu-nbd",
        "--persistent",
        "--shared=8",
        "--format=raw",
        "--cache=writeback",
        f"--socket={socket}",
        str(image),
    ]


@contextlib.contextmanager
def serving(store: str, program: str, directory: Path) -> Iterator[tuple[int, Path]]:
    """Run a server during the block; yield its process id and its socket."""
    socket = directory / f"{program}-{store}.sock"
    image = directory / f"{program}.img"
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(VOLUME_MIB << 20)
    server = subprocess.Popen(command(store, program, socket, image), cwd=ROOT)
    try:
        deadline_s = time.monotonic() + 10
        while not socket.exists():
            if server.poll() is not None or time.monotonic() > deadline_s:
                sys.exit(f"bench: {program} did not start: exit status {server.poll()}")
            time.sleep(0.01)
        yield server.pid, socket
    finally:
        server.terminate()
        server.wait()
        socket.unlink(missing_ok=True)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads, in seconds (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def fio(socket: Path, rw: str, bs: str, iodepth: int, runtime_s: float) -> tuple[float, int]:
    """Run one job; return I/O operations per second and the count of operations.

    ``runtime_s`` of 0 writes the whole volume once, in order.
    """
    timing = [f"--runtime={runtime_s}", "--time_based"] if runtime_s else []
    argv = [
        "fio",
        "--name=bench",
        "--ioengine=nbd",
        f"--uri=nbd+unix:///?socket={socket}",
        f"--rw={rw}",
        f"--bs={bs}",
        f"--iodepth={iodepth}",
        f"--size={VOLUME_MIB}M",
        "--randrepeat=1",
        "--norandommap",
        "--output-format=json",
        *timing,
    ]
    text = subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=runtime_s + 120
    ).stdout
    job = json.loads(text[text.index("{") :])["jobs"][0]
    side = job["write" if "write" in rw else "read"]
    return float(side["iops"]), int(side["total_ios"])


def sample(workload: Workload, program: str, directory: Path, runtime_s: float) -> Sample:
    """Start a fresh server, fill it, and measure one run."""
    with serving(workload.store, program, directory) as (pid, socket):
        fio(socket, "write", "1m", 4, 0)
        before_s = cpu_seconds(pid)
        iops, operations = fio(socket, workload.rw, workload.bs, workload.iodepth, runtime_s)
        return Sample(iops, (cpu_seconds(pid) - before_s) / max(operations, 1) * 1e6)


def measure(workload: Workload, pairs: int, runtime_s: float, directory: Path) -> Result:
    """Run all pairs of a workload; the order changes with each pair."""
    result = Result(workload.label, workload.goal, workload.cpu_goal)
    for pair in range(pairs):
        order = ["ours", workload.peer] if pair % 2 == 0 else [workload.peer, "ours"]
        if workload.store == "memory" and (directory / "null_server").exists():
            order.append("null")
        for program in order:
            one = sample(workload, program, directory, runtime_s)
            {"ours": result.ours, "null": result.null}.get(program, result.peer).append(one)
    return result


def build_null_server(directory: Path) -> None:
    """Compile the server that does nothing, if there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is not None:
        source = ROOT / "bench" / "null_server.c"
        subprocess.run([compiler, "-O2", "-o", directory / "null_server", source], check=True)


def show(results: list[Result]) -> Table:
    """Return the table of medians and ratios."""
    table = Table(title="reference backend and other servers (medians; ratio = ours / peer)")
    columns = ["workload", "IOPS", "peer", "ratio", "goal", "limit"]
    columns += ["CPU us", "peer", "ratio", "goal", ""]
    for name in columns:
        table.add_column(name, justify="left" if name == "workload" else "right")
    for result in results:
        ours = statistics.median(s.iops for s in result.ours)
        peer = statistics.median(s.iops for s in result.peer)
        ours_us = statistics.median(s.cpu_us for s in result.ours)
        peer_us = statistics.median(s.cpu_us for s in result.peer)
        table.add_row(
            result.label,
            f"{ours:,.0f}",
            f"{peer:,.0f}",
            f"{result.ratio:.2f}",
            f"{result.goal:.2f}",
            "" if result.limit is None else f"{result.limit:.2f}",
            f"{ours_us:.1f}",
            f"{peer_us:.1f}",
            f"{result.cpu_ratio:.2f}",
            "" if result.cpu_goal is None else f"{result.cpu_goal:.2f}",
            "[green]yes[/]" if result.reached else "[red]no[/]",
        )
    return table


def chart(results: list[Result], path: Path) -> None:
    """Draw the ratios as bars with their goals, to an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.35 * len(results) + 1.2))
    labels = [result.label for result in results]
    colours = ["#2e7d32" if result.reached else "#c62828" for result in results]
    axes.barh(labels, [result.ratio for result in results], color=colours)
    for row, result in enumerate(results):
        axes.plot([result.goal, result.goal], [row - 0.4, row + 0.4], color="black")
        if result.limit is not None:
            axes.plot([result.limit], [row], marker="|", markersize=12, color="#1565c0")
    axes.axvline(1.0, color="grey", linewidth=0.5)
    axes.invert_yaxis()
    axes.set_xlabel("IOPS, ours / peer (black: goal, blue: fio's own limit)")
    figure.tight_layout()
    figure.savefig(path)


def record(results: list[Result], pairs: int, runtime_s: float) -> dict[str, object]:
    """Return the results as plain values."""
    rows = [
        asdict(r) | {"ratio": r.ratio, "cpu_ratio": r.cpu_ratio, "limit": r.limit} for r in results
    ]
    return {"pairs": pairs, "runtime_s": runtime_s, "results": rows}


def main() -> int:
    """Parse arguments, measure, print and save; exit status 1 if a goal is missed."""
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--pairs", type=int, default=5, help="pairs per workload (default 5)")
    parser.add_argument("--runtime", type=float, default=3, help="seconds per run (default 3)")
    parser.add_argument("--only", default="", help="run workloads whose label contains this")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/nbd_server.json")
    arguments = parser.parse_args()
    chosen = [w for w in workloads() if arguments.only in w.label]
    if not chosen:
        example = workloads()[0].label
        parser.error(f"--only {arguments.only}: no such workload; labels are like {example}")
    need(["fio", "nbdkit", "qemu-nbd"], {"matplotlib": "matplotlib"})
    console = Console(width=120)
    results = []
    with tempfile.TemporaryDirectory(prefix="qb") as directory:
        build_null_server(Path(directory))
        for workload in chosen:
            results.append(measure(workload, arguments.pairs, arguments.runtime, Path(directory)))
            last = results[-1]
            console.print(f"{last.label}: {last.ratio:.2f}x IOPS, {last.cpu_ratio:.2f}x CPU")
            save(arguments.output, record(results, arguments.pairs, arguments.runtime))
    console.print(show(results))
    chart(results, arguments.output.with_suffix(".svg"))
    return 0 if all(result.reached for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
