"""Run a block job that meets errors to its end, and record its stops and errors.

Reference: qapi/block-core.json, BLOCK_JOB_ERROR and BlockdevOnError; qapi/job.json, JobStatus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qbdcheck.errors import ProgramError
from qbdcheck.programs.monitored import Monitored


@dataclass
class JobEnd:
    """The end of a job."""

    error: str = ""
    """Error text; empty on success."""
    stops: list[str] = field(default_factory=list)
    """The io-status (``failed``, ``nospace``) at each stop."""
    errors: list[tuple[str, str]] = field(default_factory=list)
    """(operation, action) of each BLOCK_JOB_ERROR, such as ``("write", "stop")``."""


def finish_job(program: Monitored, job_id: str = "job", *, most_stops: int = 50) -> JobEnd:
    """Resume a job after each stop, complete it when it is ready, dismiss it; return its end.

    The job must have been started with ``auto-dismiss`` off.

    :raise ProgramError: the job makes no progress for 10 s, or stops more than ``most_stops``
        times.
    """
    end = JobEnd()
    status = ""
    while status != "concluded":
        status = program.wait_event("JOB_STATUS_CHANGE", id=job_id)["data"]["status"]
        if status == "paused":
            _resume(program, job_id, end)
            if len(end.stops) > most_stops:
                raise ProgramError(
                    f"job {job_id} stops more than {most_stops} times", program.process.argv, None
                )
        elif status == "ready":
            program.qmp("block-job-complete", device=job_id)
    for job in program.qmp("query-jobs"):
        if job["id"] == job_id:
            end.error = str(job.get("error", ""))
    program.qmp("job-dismiss", id=job_id)
    for event in program.events:
        data = event.get("data", {})
        if event["event"] == "BLOCK_JOB_ERROR" and data["device"] == job_id:
            end.errors.append((data["operation"], data["action"]))
    return end


def _resume(program: Monitored, job_id: str, end: JobEnd) -> None:
    """Resume a job that an error has stopped; a drained job continues without it."""
    for job in program.qmp("query-block-jobs"):
        if job["device"] == job_id and job["io-status"] != "ok":
            end.stops.append(job["io-status"])
            program.qmp("block-job-resume", device=job_id)
