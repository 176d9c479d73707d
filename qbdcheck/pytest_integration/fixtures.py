"""The fixtures of docs/case-writer.md that reach the target and the QEMU programs.

They have no logic: `TargetSession` creates and ends everything.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qbdcheck.catalogue.case import spec_of
from qbdcheck.errors import NotRun
from qbdcheck.kit import nbd_io as nbd_ios
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.logged_volume import can_log
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine
from qbdcheck.programs.nbd_opener import NbdOpener
from qbdcheck.programs.process import Completed
from qbdcheck.programs.process import run as run_program
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_version import Version, qemu_version
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.report.events import TestEnded
from qbdcheck.runner.case_state import (
    ENDED_EARLY,
    EXECUTION,
    FINDINGS,
    FULL_LOG,
    GUEST_OPTIONS,
    IMAGE_FORMAT,
    OBSERVED,
    OUTPUT,
    PARTLY_NOT_RUN,
    SCRATCH,
    SEED,
    SELECTION,
    TARGET_OPTIONS,
    TEST_ENDED,
    TESTS,
    WAIVED,
)
from qbdcheck.runner.golden import Output
from qbdcheck.runner.policy_demand import resting_on
from qbdcheck.seed import Seed
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import DiskIo
from qbdcheck.targets.mutant_target import profile
from qbdcheck.targets.run_server import ENDS_SERVER
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.status_check import check_status
from reference_backend.client import Client

if TYPE_CHECKING:
    # A run of few cases needs few of these; `import_guests` and `import_all` get them for the rest.
    from qbdcheck.guest.fio_run import Fio
    from qbdcheck.guest.guest import Guest
    from qbdcheck.guest.ltp_tree import LtpTree
    from qbdcheck.guest.runtest import Runtest
    from qbdcheck.kit.crash.logged_image import LoggedImage
    from qbdcheck.kit.dual_write import DualWriter
    from qbdcheck.kit.fault_schedule import Schedule
    from qbdcheck.kit.guests import Guests
    from qbdcheck.kit.hostile_server import HostileServer
    from qbdcheck.kit.libvirt.daemon import LibvirtDaemon
    from qbdcheck.kit.model.checks import ModelChecks
    from qbdcheck.kit.nbd_link import Link

DESCRIPTION = pytest.StashKey[descriptions.Description]()
"""``config.stash[DESCRIPTION]``: the profile of the run's target, once it has been read."""


def description_of(config: pytest.Config) -> descriptions.Description:
    """Return the profile of the run's target, which is read once.

    :raise UsageError: the target is unknown, or its profile is wrong.
    """
    if DESCRIPTION not in config.stash:
        options = config.stash[TARGET_OPTIONS]
        config.stash[DESCRIPTION] = profile(
            options.name, options.targets_dir, config.stash[SELECTION].suites_dir
        )
    return config.stash[DESCRIPTION]


def qemu_version_of(config: pytest.Config) -> Version:
    """Return the version of the QEMU of the run's target.

    :raise QbdcheckError: the profile is wrong, or qemu-img is missing or fails.
    """
    return qemu_version(Programs(description_of(config).program_paths))


def import_all() -> None:
    """Import what the fixtures of many cases use: once before the cases fork."""
    for name in ("crash.logged_image", "dual_write", "fault_schedule", "hostile_server",
                 "model.checks", "nbd_link"):  # fmt: skip
        import_module(f"qbdcheck.kit.{name}")


def import_guests() -> None:
    """Import what the fixtures of guests use: once before the cases fork, not in each of them."""
    for name in ("choice", "fio_run", "ltp_tree", "runtest"):
        import_module(f"qbdcheck.guest.{name}")
    import_module("qbdcheck.kit.guests")


@pytest.fixture
def scratch(request: pytest.FixtureRequest) -> Path:
    """The private directory of the case."""
    path: Path = request.node.stash[SCRATCH]
    return path


_NOT_SIMPLE = {"structured", "block_status"}
"""What a connection with simple replies does not have."""


def capabilities_of(config: pytest.Config) -> frozenset[str]:
    """Return the capabilities of the run's target, which are probed once.

    None are known of a target that cannot run on this machine (`Description.not_here`). With
    ``--headers simple`` there are no structured replies.

    :raise UsageError: the target is unknown, or does not start.
    """
    if description_of(config).not_here():
        return frozenset()
    execution = config.stash[EXECUTION]
    found = capabilities(
        description_of(config), config.stash[TARGET_OPTIONS], execution.scratch_root
    )
    return found - _NOT_SIMPLE if execution.headers == "simple" else found


def _ends_server(request: pytest.FixtureRequest) -> bool:
    """Return whether the case declares that it kills or crashes its server, or is known to fail.

    A case with a deviation may be the end of the server.
    """
    spec = spec_of(getattr(request.node, "function", None))
    if spec is not None and not ENDS_SERVER.isdisjoint(spec.requires):
        return True
    description = description_of(request.config)
    image_format = request.node.stash.get(IMAGE_FORMAT, "raw")
    return any(one.is_of(request.node.path.stem, image_format) for one in description.deviations)


@pytest.fixture
def target(request: pytest.FixtureRequest, scratch: Path) -> Iterator[TargetSession]:
    """The target of this case; all its programs end with the case."""
    # The runner has probed them already; only a case without the runner probes here.
    available = capabilities_of(request.config)
    session = TargetSession(
        description_of(request.config),
        request.config.stash[TARGET_OPTIONS],
        scratch,
        execution=request.config.stash[EXECUTION],
        guest_options=request.config.stash[GUEST_OPTIONS],
        image_format=request.node.stash.get(IMAGE_FORMAT, "raw"),
        case_id=Path(str(request.node.path)).stem,
        capabilities=available,
        ends_server=_ends_server(request),
    )
    try:
        yield session
        check_status(session, request.node.stash.get(FINDINGS, ()))
    finally:
        session.close()


@pytest.fixture
def new_disk(target: TargetSession) -> Callable[..., Disk]:
    """Make further disks."""
    return target.new_disk


@pytest.fixture
def disk(target: TargetSession) -> Disk:
    """A fresh volume of 8 MiB, prefilled with stamps."""
    return target.new_disk()


@pytest.fixture
def qemu_io(target: TargetSession) -> Callable[..., DiskIo]:
    """Open a long-lived qemu-io."""
    return target.qemu_io


@pytest.fixture
def qemu_img(target: TargetSession) -> QemuImg:
    """Run qemu-img."""
    return target.qemu_img


@pytest.fixture
def storage_daemon(target: TargetSession) -> Callable[..., StorageDaemon]:
    """Start qemu-storage-daemons."""
    return target.storage_daemon


@pytest.fixture
def machine(target: TargetSession) -> Callable[..., Machine]:
    """Start QEMUs without a running guest: ``with machine(kind="none") as vm``."""
    return target.machine


@pytest.fixture
def vm(target: TargetSession) -> Machine:
    """A QEMU (machine pc) without a running guest."""
    return target.machine()


@pytest.fixture
def nbd(target: TargetSession) -> Callable[..., Client]:
    """Connect the raw NBD client to a disk or a URI."""
    return target.nbd


@pytest.fixture
def nbd_io(target: TargetSession) -> Callable[..., NbdIo]:
    """Connect an NBD client that stamps its writes, judges its reads and follows the shadow."""
    return functools.partial(nbd_ios.connect, target)


@pytest.fixture
def hostile(target: TargetSession, scratch: Path) -> Iterator[HostileServer]:
    """An NBD server that lies, and QEMU's client to lie to."""
    from qbdcheck.kit.hostile_server import HostileServer

    server = HostileServer(scratch, NbdOpener(target.programs, scratch))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def link(disk: Disk) -> Iterator[Link]:
    """A connection between `disk` and its clients that can be cut, frozen and slowed down."""
    from qbdcheck.kit.nbd_link import Link

    wire = Link(disk.backend)
    yield wire
    wire.close()


@pytest.fixture
def logged_image(target: TargetSession, scratch: Path) -> Callable[..., LoggedImage]:
    """Log the writes to a disk's volume, and explore the crash states."""

    from qbdcheck.kit.crash.logged_image import LoggedImage

    def make(disk: Disk, **options: Any) -> LoggedImage:
        return LoggedImage(disk, target.qemu_io, target.qemu_img, scratch, **options)

    return make


@pytest.fixture
def guest(request: pytest.FixtureRequest, target: TargetSession, scratch: Path) -> Iterator[Guests]:
    """Start small Linux guests with disks: ``guest(disk)``."""
    from qbdcheck.kit.guests import Guests

    guests = Guests(target, scratch)
    try:
        yield guests
        guests.settle()
    finally:
        guests.close()
        request.node.stash.get(OBSERVED, []).extend(guests.observed)


@pytest.fixture
def fio(scratch: Path) -> Callable[[Guest], Fio]:
    """Run fio in a guest: ``fio(guest)("--name=...", ...)``; its output stays in scratch."""
    from qbdcheck.guest.fio_run import Fio

    return lambda guest: Fio(guest, scratch)


@pytest.fixture
def ltp(request: pytest.FixtureRequest, scratch: Path) -> LtpTree:
    """The installed LTP that --ltp or QBDCHECK_LTP names."""
    from qbdcheck.guest.ltp_tree import LtpTree

    path = request.config.stash[GUEST_OPTIONS].ltp
    if path is None:
        raise NotRun(
            "LTP is not installed: give the path of an installed tree with --ltp (docs/user.md)"
        )
    return LtpTree(path, scratch)


@pytest.fixture
def libvirt(target: TargetSession, scratch: Path) -> Iterator[LibvirtDaemon]:
    """A private libvirtd, which ends with the case, and with it its domains."""
    from qbdcheck.kit.libvirt.daemon import LibvirtDaemon

    with LibvirtDaemon(target.programs, scratch, target.execution.cache_dir) as daemon:
        yield daemon


@pytest.fixture
def runtest(
    request: pytest.FixtureRequest,
    log: Callable[..., None],
    target: TargetSession,
    scratch: Path,
) -> Runtest:
    """Run tests in LTP's format on a file system of a guest; --soak repeats them."""
    from qbdcheck.guest.choice import TestChoice
    from qbdcheck.guest.runtest import FILE_SYSTEMS, Runtest

    # The time of --soak is for the whole case; each file system gets a part.
    soak_s = request.config.stash[EXECUTION].soak_s / len(FILE_SYSTEMS)
    options = request.config.stash[GUEST_OPTIONS]
    choice = TestChoice.of(options.tests, options.skip_tests)
    tests: list[TestEnded] = request.node.stash.get(TESTS, [])
    tell = request.node.stash.get(TEST_ENDED, lambda _: None)

    def ended(one: TestEnded) -> None:
        tests.append(one)
        tell(one)

    return Runtest(log, soak_s, ended, choice.apply, scratch if can_log(target) else None)


@pytest.fixture
def programs(target: TargetSession) -> Programs:
    """The QEMU programs of the target."""
    return target.programs


@pytest.fixture
def model(target: TargetSession, seed: Seed, log: Callable[..., None]) -> Iterator[ModelChecks]:
    """Compare scripts with a model, and record the history of concurrent clients."""
    from qbdcheck.kit.model.checks import ModelChecks

    checks = ModelChecks(target, seed, log)
    yield checks
    checks.close()


@pytest.fixture
def dual_write(target: TargetSession, seed: int) -> Iterator[DualWriter]:
    """Send all requests to a disk and to a raw reference, and compare the replies."""
    from qbdcheck.kit.dual_write import DualWriter

    writer = DualWriter(target, seed)
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture
def rules(
    request: pytest.FixtureRequest, disk: Disk, log: Callable[..., None], seed: int
) -> Iterator[ArmedRules]:
    """Arm faults on the backend of `disk`; a fault that never fires makes the case BROKEN."""
    armed = ArmedRules(disk, log, int(seed))
    yield armed
    armed.settle(must_fire=not request.node.stash.get(ENDED_EARLY, False))


@pytest.fixture
def schedule(
    request: pytest.FixtureRequest, rules: ArmedRules, log: Callable[..., None]
) -> Iterator[Schedule]:
    """Start and stop faults; a phase that never starts makes the case BROKEN."""
    from qbdcheck.kit.fault_schedule import Schedule

    plan = Schedule(rules, log)
    yield plan
    if not request.node.stash.get(ENDED_EARLY, False):
        plan.settle()


@pytest.fixture
def run() -> Callable[..., Completed]:
    """Run any program until it exits; the program dies with the case."""
    return run_program


# Section: fixtures of the runner: golden, seed, log, not_run


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Output:
    """Print to the output of the case, through filters; it is compared after the call."""
    output: Output = request.node.stash[OUTPUT]
    return output


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> Seed:
    """The seed of this run of the case; ``seed.stream("workload")`` is a ``random.Random``."""
    value: Seed = request.node.stash[SEED]
    return value


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Write a line to full.log."""
    path = request.node.stash[FULL_LOG]

    def write(*values: object) -> None:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(" ".join(map(str, values)) + "\n")

    return write


@pytest.fixture
def policy(
    request: pytest.FixtureRequest, target: TargetSession
) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Mark demands that rest on a policy alone: ``with policy("failed-write-old-or-new"):``."""
    return functools.partial(resting_on, target.description.waived_policies,
                             request.node.stash[WAIVED].append)  # fmt: skip


@pytest.fixture
def not_run(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Record why a part of the case cannot run here; the rest still counts."""
    reasons: list[str] = request.node.stash[PARTLY_NOT_RUN]
    return reasons.append
