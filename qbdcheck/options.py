"""The options of a run, as `./check` or pytest gave them: frozen, complete, printable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CustomGuest:
    """What QEMU boots.

    :ivar image: a disk image of any format that qemu-img knows; it is not written to. The guest
        sees it as its first virtio-blk disk.
    :ivar kernel: a bzImage, ``initrd`` what belongs to it; without a kernel the image boots itself.
    :ivar append: words for the kernel, such as ``root=/dev/vda1``; only with a kernel.
    :ivar login: ``USER`` or ``USER:PASSWORD`` for the serial console; "" for a guest with an agent.
    """

    image: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    login: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        files = filter(None, (self.image, self.kernel, self.initrd))
        return sum(file.stat().st_size for file in files)


@dataclass(frozen=True)
class Options:
    """What the user asked for; the defaults are those of a bare ``./check``."""

    selection: tuple[str, ...] = ()
    """Numbers and ranges as typed: ``001-100``, ``17``, ``12-``."""
    groups: tuple[str, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    exclude_cases: tuple[str, ...] = ()
    exclude_file: Path | None = None
    start_from: str | None = None
    resume: bool = False
    target: str = "reference"
    """Name of a file in targets/ without .yaml, or a path to a YAML file."""
    formats: tuple[str, ...] = ("raw",)
    cache: str = "writeback"
    """Cache mode of qemu-io and qemu-img, as their -t option takes it."""
    aio: str | None = None
    image_options: str = ""
    """What `qemu-img create -o` gets for the image format."""
    lanes: int = 1
    random_order: bool = False
    turns: bool = False
    """The suites take turns."""
    seed: int = 0
    depth: int = 0
    """Longest sequence of cases that try all; 0: as each case has it."""
    repeat: int = 1
    until_fail: bool = False
    timeout_s: float | None = None
    """Overrides the limit of every case, in seconds."""
    suite_timeout_s: float | None = None
    debug: bool = False
    print_server: bool = False
    gdb: bool = False
    valgrind: bool = False
    keep: bool = False
    strict: bool = False
    update_golden: bool = False
    dry_run: bool = False
    list_only: bool = False
    tap: bool = False
    color: str = "auto"
    junit_file: Path | None = None
    json_file: Path | None = None
    soak_s: float = 0.0
    """Seconds for which a case of the group runtest repeats its tests; 0 runs them once."""
    kirk: bool = False
    """Let LTP's own runner run the groups of ./check runtest."""
    ltp: Path | None = None
    """An installed LTP, or a tar file of one, for the cases 540-549."""
    custom_guest: CustomGuest | None = None
    """What guests boot instead of the small Linux of ours."""
    observe: tuple[str, ...] = ()
    """What is watched while guests run: iostat blktrace blockstats backend perf."""
    knobs: str = ""
    """Of --mutants: KEY=VALUE:..., for all mutants that have them."""
    each_suite: bool = False
    """Of --mutants: each suite goes on to its own first kill."""
    html_file: Path | None = None
    """The kill matrix as a page."""
    events_file: Path | None = None
    shard: tuple[int, int] | None = None
    """(I, N): run part I of N, 1 <= I <= N."""
    suites_dir: Path = Path("suites")
    golden_dir: Path = Path("golden")
    targets_dir: Path = Path("targets")
    run_id: str = ""
    """Name of the run: the start's local time and a part of the seed."""
    scratch_root: Path = Path("/tmp")
    """The run's private directory; each case's scratch directory is in it."""
    results_dir: Path = Path("results")
    """What is kept of the run: .bad files, logs and stacks of cases that were not green."""
    cache_dir: Path = Path("cache")
    """Durations, last results and history: $XDG_CACHE_HOME/qbdcheck."""
    command: tuple[str, ...] = ()
    """What follows ``--``: a command to run with the environment of a case."""
    subcommand: str = ""
    """``doctor install probe mutants new replay rules fio``, one of these or nothing."""
    arguments: tuple[str, ...] = ()
    """Of the subcommand: the profile of ``probe``, suite and sentence of ``new``, ``fio`` file."""
