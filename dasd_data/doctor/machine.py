"""Cores, memory, DuckDB's limits, devices for scoring, room for spilling."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from dasd_data.doctor.finding import OK, PROBLEM, WARNING, Finding, size
from dasd_data.doctor.installation import installed, spill_folder

_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 2e9, 10e9, 1e9
# Whose rename and fsync are not sure to be seen, or kept, by another machine.
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.gcsfuse", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "smbfs",
}  # fmt: skip
_GPU = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")


def memory() -> Iterator[Finding]:
    """Cores and memory of this process, and what DuckDB takes of them."""
    from dasd_data import config
    from dasd_data.errors import DasdError
    from dasd_data.session import Session

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = available_memory()
    told = f"{cores} cores" + (f", {size(free)} of memory available" if free else "")
    if free is not None and free < _LITTLE_MEMORY:
        yield Finding("machine", WARNING, told, "close other programs: 2 GB is the least")
    else:
        yield Finding("machine", OK, told)
    try:
        settings = config.load()
    except DasdError:  # told by the catalog's check
        settings = config.Config()
    session = Session({}, threads=settings.threads, limits=settings.sql)
    (row,) = session.rows(
        "SELECT current_setting('threads') AS threads, current_setting('memory_limit') AS memory"
    )
    session.close()
    yield Finding(
        "duckdb",
        OK,
        f"{row['threads']} threads (--threads, DASD_THREADS), at most {row['memory']} of memory "
        "(DASD_MEMORY_LIMIT)",
    )


def torch() -> Iterator[Finding]:
    """The devices that `score` can use; torch is imported only where there is a GPU."""
    gpu, version = any(Path(path).exists() for path in _GPU), installed("torch")
    if version is None:
        if gpu:
            do = "pip install 'dasd-data[score]'"
            yield Finding("devices", WARNING, "there is a GPU, but torch is not installed", do)
    elif not gpu:
        yield Finding("devices", OK, f"torch {version}, CPU: there is no GPU")
    else:
        yield _gpu(version)


def _gpu(version: str) -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("devices", OK, f"torch {version}, CUDA: {', '.join(names)}")
    return Finding(
        "devices",
        WARNING,
        f"there is a GPU that torch {version} does not use",
        "install a CUDA build of torch, and a driver that is new enough for it",
    )


def spill() -> Iterator[Finding]:
    """Room for what does not fit in memory."""
    folder = spill_folder()
    kind = file_system(folder)
    yield disk("spill folder", folder, "set TMPDIR to a folder with more room")
    if kind in {"tmpfs", "ramfs"}:
        yield Finding(
            "spill folder",
            WARNING,
            f"{folder} is in memory ({kind}): spilling there gains nothing",
            "set TMPDIR to a folder on a disk",
        )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (memory, torch, spill)


def disk(check: str, folder: Path, do: str) -> Finding:
    """How much room there is in a folder."""
    free = shutil.disk_usage(folder).free
    told = f"{folder}: {size(free)} free"
    if free < _NO_DISK:
        return Finding(check, PROBLEM, told, do)
    return Finding(check, WARNING, told, do) if free < _LITTLE_DISK else Finding(check, OK, told)


def available_memory() -> int | None:
    """Bytes that can still be taken, within the container's limit; None where it is not told."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    known = {line.split(":")[0]: int(line.split()[1]) * 1_024 for line in lines}
    free = known.get("MemAvailable")
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    if limit == "max" or free is None:
        return free
    return min(free, max(int(limit) - used, 0))


def file_system(path: Path) -> str | None:
    """Kind of the file system that holds a path; None where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    found: tuple[int, str | None] = (-1, None)
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split()[4].replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= found[0]:
            found = len(mount), after.split()[0]
    return found[1]
