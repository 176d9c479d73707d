"""The promises of werror and rerror, and checks of a guest's disk against them.

Reference: qapi/block-core.json, BlockdevOnError and BLOCK_IO_ERROR; blk_get_error_action().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qbdcheck import clock
from qbdcheck.guest.guest import Guest, GuestDisk
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.machine_speed import Limit
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import judge

POLICIES = ("report", "ignore", "stop", "enospc")
ERRORS = ("EIO", "ENOSPC", "EPERM", "ENOMEM")
_BLOCK = 4096
_HELD_BACK_S = 1.5
"""QEMU sends an event that it holds back after one second."""
_EVENT_WITHIN_S = 10.0
_COMMANDS = {
    "write": "dd if=/tmp/data of={0} bs=4k seek={1} count=1 oflag=direct conv=notrunc",
    "read": "rm -f /tmp/data; dd if={0} of=/tmp/data bs=4k skip={1} count=1 iflag=direct",
}


def action_of(policy: str, error: str) -> str:
    """Return what QEMU must do under a policy of werror or rerror: report, ignore or stop."""
    if policy == "enospc":
        return "stop" if error == "ENOSPC" else "report"
    return policy


class PolicyTrial:
    """Fails requests of a guest's disk, one by one, and checks everything that reports them.

    :param disk: disk of the target; its shadow follows what the guest was promised.
    """

    def __init__(
        self, guest: Guest, disk: Disk, rules: ArmedRules, log: Callable[..., None]
    ) -> None:
        self._guest = guest
        self._disk = disk
        self._rules = rules
        self._log = log
        self._has_stopped: set[str] = set()

    def strike(self, seen: GuestDisk, policy: str, operation: str, error: str, at: int) -> None:
        """Fail all requests of a block until the failure is reported; then heal it.

        :param seen: the disk as the guest sees it, with werror and rerror of ``policy``.
        :param at: offset in bytes, a multiple of 4096.
        :raise AssertionError: the guest, the event, io-status or a counter contradicts the policy,
            or the block has wrong data.
        """
        vm, what = self._guest.machine, f"{seen.device.kind} {policy}, {error}, {operation}"
        action = action_of(policy, error)
        rule = {"event": f"{operation}_aio", "iotype": operation, "action": "error"}
        data = self._disk.shadow.stamped(at, _BLOCK)
        if operation == "write":
            self._guest.write_file("/tmp/data", bytes(data))
        known, before = len(vm.events), self._guest.stats(seen)
        fault = self._rules.add({**rule, "errno": error, "offset": f"{at}+{_BLOCK}"})
        command = _COMMANDS[operation].format(seen.path, at // _BLOCK)
        running = self._guest.begin(command)
        if action == "stop":
            vm.wait_event("STOP", 30)
            status = vm.qmp("query-status")["status"]
            assert status == "io-error", f"{what}: the machine is {status}, expected io-error"
            self._must_have_io_status(seen, error, what)
            self._rules.remove(fault)
            vm.qmp("cont")
        ran = running.wait()
        if action != "stop":
            self._rules.remove(fault)
        self._log(what, ran)
        wanted = "a failure" if action == "report" else "success"
        assert (ran.status != 0) == (action == "report"), (
            f"{what}: the guest's {command!r} ended with {ran.status}, expected {wanted}"
        )
        events = self._block_io_errors(known)
        assert events, f"{what}: no BLOCK_IO_ERROR"
        for event in events:
            reported = event["operation"], event["action"], event["node-name"]
            expected = operation, action, seen.node
            assert reported == expected, f"{what}: BLOCK_IO_ERROR {reported}, expected {expected}"
            # only a device that can stop gives a reason
            nospace = error == "ENOSPC" if policy in {"stop", "enospc"} else None
            reason = event.get("nospace")
            assert reason == nospace, f"{what}: nospace is {reason}, expected {nospace}"
        key = "failed_wr_operations" if operation == "write" else "failed_rd_operations"
        failed = self._guest.stats(seen)[key] - before[key]
        # virtio-blk counts what the guest sees, scsi-hd each attempt (scsi_handle_rw_error)
        counts = action == "report" or seen.device.kind == "virtio-scsi"
        assert (failed > 0) == counts, f"{what}: {key} is {failed}, expected some: {counts}"
        if operation == "write" and action == "stop":
            self._disk.shadow.write(at, data)  # ignored or reported, it never reached the target
        if operation == "read" and action == "stop":
            judge(self._disk.shadow, at, self._guest.read_file("/tmp/data"), what)

    def _block_io_errors(self, known: int) -> list[dict[str, Any]]:
        """Return the data of each BLOCK_IO_ERROR after the first ``known`` events.

        QEMU 10.0 sends at most one a second for each device, and holds back the last one. The same
        version added ``qom-path`` to the event. There this waits until no event is held back, so
        that none is taken for that of the next failure.
        """
        limit = Limit(_EVENT_WITHIN_S)
        while True:
            events = self._guest.machine.events[known:]
            errors: list[dict[str, Any]] = [
                one["data"] for one in events if one["event"] == "BLOCK_IO_ERROR"
            ]
            held_back_s = _HELD_BACK_S if errors and "qom-path" in errors[-1] else 0.0
            if errors and not held_back_s:
                return errors
            if limit.is_over:
                return errors
            if errors:
                clock.pause(held_back_s)
                if len(self._guest.machine.events) == known + len(events):
                    return errors
            else:
                clock.pause(0.02)

    def _must_have_io_status(self, seen: GuestDisk, error: str, what: str) -> None:
        known: list[dict[str, Any]] = self._guest.machine.qmp("query-block")
        (status,) = [
            one.get("io-status")
            for one in known
            if one.get("inserted", {}).get("node-name") == seen.node
        ]
        # it keeps the state of the first stop (docs/findings.md)
        if seen.identity not in self._has_stopped:
            self._has_stopped.add(seen.identity)
            wanted = "nospace" if error == "ENOSPC" else "failed"
            assert status == wanted, f"{what}: io-status is {status}, expected {wanted}"
        assert status != "ok", f"{what}: io-status is ok after a stop"
