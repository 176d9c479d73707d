"""The files of procfs of a machine that a test makes: idle, or wanted by others."""

from __future__ import annotations

from pathlib import Path

RESOURCES = ("cpu", "memory", "io")


def write_proc(
    proc: Path,
    *,
    waiting_us: dict[str, int] | None = None,
    runnable: int = 1,
    jiffies: int = 0,
    stolen: int = 0,
    paged_kib: int = 0,
) -> Path:
    """Write the files that `qbdcheck.machine_speed` reads; return their directory.

    :param waiting_us: the totals of PSI by resource, in microseconds. :param runnable: the number
        of runnable tasks, the reader among them. :param jiffies: time of all CPUs without `stolen`.
    """
    for name in ("pressure", "self"):
        (proc / name).mkdir(parents=True, exist_ok=True)
    for resource in RESOURCES:
        total = (waiting_us or {}).get(resource, 0)
        some = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n"
        _replace(proc / "pressure" / resource, some + some.replace("some", "full"))
    _replace(proc / "stat", f"cpu  {jiffies} 0 0 0 0 0 0 {stolen} 0 0\nprocs_running {runnable}\n")
    _replace(proc / "vmstat", f"nr_free_pages 5\npgpgin 0\npgpgout {paged_kib}\n")
    _replace(proc / "self" / "schedstat", "0 0 0\n")
    return proc


def _replace(path: Path, text: str) -> None:
    """Write a file at once: a reader sees the old text or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.rename(path)
