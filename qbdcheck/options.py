"""The options of a run, in parts: each module takes the part that it uses.

`Options` composes the parts. Only the command line, the plugin and `qbdcheck.arguments` handle it.
The defaults are those of a bare ``./check``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CustomGuest:
    """A guest that the user provides.

    :ivar image: a disk image in any format that qemu-img can read. It is not written to. The guest
        sees it as its first virtio-blk disk.
    :ivar kernel: a bzImage; without a kernel the image boots itself.
    :ivar initrd: the initial RAM disk of the kernel.
    :ivar append: kernel command line, such as ``root=/dev/vda1``; requires a kernel.
    :ivar login: ``USER`` or ``USER:PASSWORD`` for the serial console; "" if the guest has an agent.
    """

    image: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    login: str = ""

    @property
    def size(self) -> int:
        """Total size of its files in bytes."""
        files = filter(None, (self.image, self.kernel, self.initrd))
        return sum(file.stat().st_size for file in files)


@dataclass(frozen=True)
class Selection:
    """Which cases run, and in which order."""

    arguments: tuple[str, ...] = ()
    """Numbers, ranges and names as typed: ``001-100``, ``17``, ``12-``."""
    groups: tuple[str, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    exclude_cases: tuple[str, ...] = ()
    exclude_file: Path | None = None
    start_from: str | None = None
    everything: bool = False
    """All cases, the group disabled included: for --list without a selection."""
    resume: bool = False
    last_failed: bool = False
    """The cases that failed in the last run."""
    shard: tuple[int, int] | None = None
    """(I, N): run part I of N, 1 <= I <= N."""
    random_order: bool = False
    turns: bool = False
    """Interleave the suites."""
    best_first: bool = False
    """Begin with the cases of suites/best-first.txt; interleave the suites of the others."""
    suites_dir: Path = Path("suites")


@dataclass(frozen=True)
class TargetOptions:
    """Which target is verified, and how QEMU opens it."""

    name: str = "reference"
    """Name of a file in targets/ without .yaml, or a path to a YAML file."""
    formats: tuple[str, ...] = ("raw",)
    """Image formats of the run."""
    cache: str = "writeback"
    """Cache mode for the -t option of qemu-io and qemu-img."""
    aio: str | None = None
    image_options: str = ""
    """Argument of `qemu-img create -o` for the image format."""
    gdb: bool = False
    valgrind: bool = False
    print_server: bool = False
    targets_dir: Path = Path("targets")


@dataclass(frozen=True)
class Execution:
    """Options for running cases, and the places of their files."""

    lanes: int = 1
    """Number of cases that run at the same time."""
    in_order: bool = False
    """Start cases in the order of the selection, although there are several lanes."""
    seed: int = 0
    depth: int = 0
    """Longest sequence for cases that try all sequences; 0: the default of the case."""
    headers: str = ""
    """Headers that raw NBD connections agree on: simple, structured, extended; "": the default."""
    repeat: int = 1
    until_fail: bool = False
    stop_after: int = 0
    """Start no further case after this number of failures; 0: run all."""
    budget_s: float = 0.0
    """Start no further case after this time, in seconds; 0: no limit."""
    retry: int = 0
    """Run each failed case again this often with its seed, and this often with others."""
    experiments: bool = False
    """Find out by experiments when the first failure of each cause occurs."""
    baseline: Path | None = None
    """File of known failures."""
    update_baseline: bool = False
    timeout_s: float | None = None
    """Replaces the time limit of every case, in seconds."""
    suite_timeout_s: float | None = None
    soak_s: float = 0.0
    """Seconds for which a case of the group runtest repeats its tests; 0 runs them once."""
    debug: bool = False
    keep: bool = False
    strict: bool = False
    update_golden: bool = False
    golden_dir: Path = Path("golden")
    run_id: str = ""
    """Name of the run: local start time, part of the seed and process id."""
    scratch_root: Path = Path("/tmp")
    """Private directory of the run; the scratch directory of each case is inside it."""
    results_dir: Path = Path("results")
    """.bad files, logs and stacks of cases that were not green."""
    cache_dir: Path = Path("cache")
    """Durations, history, guest images and saved scripts: $XDG_CACHE_HOME/qbdcheck."""


@dataclass(frozen=True)
class Reports:
    """Which reports a run writes."""

    tap: bool = False
    color: str = "auto"
    junit_file: Path | None = None
    json_file: Path | None = None
    html_file: Path | None = None
    bundle_file: Path | None = None
    events_file: Path | None = None
    github: bool = False
    """Write annotations and the step summary of GitHub Actions."""
    durations: int | None = None
    """Number of slowest cases that the summary lists on lines of their own; None: five on one."""
    results_dir: Path | None = None
    """Where the run leaves its report and events for later commands: `Execution.results_dir`."""
    results_chosen: bool = False
    """The user named the directory (--results): it must be writable."""


@dataclass(frozen=True)
class GuestOptions:
    """Options of guests: the files that they boot, and what is recorded while they run."""

    custom: CustomGuest | None = None
    """Boots instead of the project's own small Linux."""
    observe: tuple[str, ...] = ()
    """Kinds of observation: iostat blktrace blockstats backend perf."""
    ltp: Path | None = None
    """An installed LTP, or a tar file of one, for the cases 540-549."""
    kirk: bool = False
    """Use LTP's own runner for the groups of ./check runtest."""
    tests: tuple[str, ...] = ()
    """Shell patterns: run only these tests of runtest files and LTP's groups; () for all."""
    skip_tests: Path | None = None
    """A file with patterns of tests that are not run, and the reasons."""


@dataclass(frozen=True)
class MutationOptions:
    """Options of --mutants."""

    knobs: str = ""
    """KEY=VALUE:..., for all mutants that have them."""
    each_suite: bool = False
    """Run each suite until its own first kill."""
    controls: bool = False
    """Run legal oddities, each alone and combined, instead of seeded bugs."""
    combinations: int = 0
    """With controls: run this number of random combinations instead of all."""
    fingerprints_file: Path | None = None
    """Measure fingerprints into this file instead of a kill matrix."""
    first_seed: int = 1
    """Seed of the first fingerprint of each mutant; the next has the next seed."""


@dataclass(frozen=True)
class CertificateOptions:
    """Options of ``certify``."""

    key: Path | None = None
    """PEM file of an ed25519 key; None: the user's key, which is made at the first use."""
    compare: tuple[Path, ...] = ()
    """Two certificates to compare instead of a run."""


PERF_SUBJECTS = ("matrix", "faults", "growth")
PERF_PROFILES = ("quick", "full")


@dataclass(frozen=True)
class PerfOptions:
    """Options of ``perf``."""

    what: str = PERF_SUBJECTS[0]
    """A member of `PERF_SUBJECTS`."""
    versus: str = ""
    """Another target to compare with."""
    profile: str = PERF_PROFILES[0]
    in_guest: bool = False
    max_regression: float | None = None
    """The share by which the target may be slower; None: 5 % with a baseline, else no limit."""
    accepted_noise: float = 0.10
    rounds: int = 0
    """Samples of each shape and target; 0: those of the profile."""
    only: str = ""
    """A part of the names of the shapes."""


@dataclass(frozen=True)
class Options:
    """Everything on the command line."""

    selection: Selection = field(default_factory=Selection)
    target: TargetOptions = field(default_factory=TargetOptions)
    execution: Execution = field(default_factory=Execution)
    reports: Reports = field(default_factory=Reports)
    guest: GuestOptions = field(default_factory=GuestOptions)
    mutation: MutationOptions = field(default_factory=MutationOptions)
    certificate: CertificateOptions = field(default_factory=CertificateOptions)
    cluster: str = ""
    """Address of a Dask scheduler, or ``local:N``: run on its workers; empty: on this machine."""
    perf: PerfOptions = field(default_factory=PerfOptions)
    dry_run: bool = False
    list_only: bool = False
    command: tuple[str, ...] = ()
    """The command after ``--``, to run with the environment of a case."""
    subcommand: str = ""
    """``doctor install probe mutants new replay rules fio runtest certify perf version``."""
    arguments: tuple[str, ...] = ()
    """Arguments of the subcommand, such as the profile of ``probe``."""
    stress: bool = False
    """--probe also tries many connections, deep queues and the limits of sizes."""
