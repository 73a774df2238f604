"""What a process gives up before it runs SQL of others; it cannot be taken back.

Limits of the kernel (setrlimit) hold everywhere. On Linux, Landlock then leaves only the listed
files, and seccomp takes away sockets and the start of programs. Where a kernel lacks one of the
two the others, and DuckDB's own lock, remain.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every machine
_READ_FILE, _ALL_OF_ABI_1 = 1 << 2, (1 << 13) - 1
_WRITE_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = (
    1 << bit for bit in (1, 3, 4, 5, 7, 8)
)
_TRUNCATE = 1 << 14
# socket, connect, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup
_REFUSED_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 270, 271, 425)),
}


def die_with(parent: int) -> None:
    """End when the parent process ends, leave no core file, and gain no rights by any program."""
    _cap(resource.RLIMIT_CORE, 0)
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def cap(cpu_seconds: int, file_bytes: int) -> None:
    """Limit the CPU seconds of all threads together, and the size of every file written."""
    _cap(resource.RLIMIT_CPU, cpu_seconds, 5)  # Linux: SIGXCPU, which says why; at last SIGKILL
    _cap(resource.RLIMIT_FSIZE, file_bytes)


def cap_memory(size: int) -> None:
    """Limit the address space, in bytes."""
    _cap(resource.RLIMIT_AS, size)


def only_files(readable: Iterable[Path], folder: Path) -> bool:
    """Leave this thread, and those it starts, `readable` (files or folders) to read and `folder`
    to write. Returns whether the kernel could.
    """
    abi = _syscall(_LANDLOCK_CREATE, None, 0, 1) if sys.platform == "linux" else -1
    if abi < 1:
        return False
    extra = sum(1 << bit for bit, since in ((13, 2), (14, 3), (15, 5)) if abi >= since)
    attributes = struct.pack("=QQQ", _ALL_OF_ABI_1 | extra, 3 if abi >= 4 else 0, 3 * (abi >= 6))
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = _syscall(_LANDLOCK_CREATE, attributes, size, 0)
    if rules < 0:
        return False
    try:
        for path in readable:
            _allow(rules, path, _READ_FILE | (_READ_DIR if path.is_dir() else 0))
        writing = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
        _allow(rules, folder, _READ_FILE | _READ_DIR | writing | (extra & _TRUNCATE))
        return _syscall(_LANDLOCK_RESTRICT, rules, 0) == 0
    finally:
        os.close(rules)


def no_network() -> bool:
    """Refuse sockets, other programs and other processes' memory. Returns whether it could."""
    known = _REFUSED_CALLS.get(platform.machine()) if sys.platform == "linux" else None
    if not known:
        return False
    machine, calls = known
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050000 | 1, 0x7FFF0000  # 1 is EPERM
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, machine),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),
        (at_least, len(calls) + 1, 0, 0x40000000),  # the x32 numbers of the same calls
        *((equal, len(calls) - i, 0, call) for i, call in enumerate(calls)),
        (answer, 0, 0, allow),
        (answer, 0, 0, refuse),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code, len(code))
    return _prctl(_PR_SET_SECCOMP, 2, struct.pack("@HP", len(program), ctypes.addressof(held))) == 0


def _allow(rules: int, path: Path, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if _syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", access, handle), 0):
            raise OSError(ctypes.get_errno(), "Landlock takes no rule for it", str(path))
    finally:
        os.close(handle)


def _cap(which: int, value: int, spare: int = 0) -> None:
    """Set a limit: the soft one to `value`, the hard one to `spare` more."""
    _, hard = resource.getrlimit(which)
    most = value + spare
    if hard != resource.RLIM_INFINITY:
        value, most = min(value, hard), min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # some systems know a limit but do not set it
        resource.setrlimit(which, (value, most))


def _prctl(option: int, *arguments: int | bytes) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]
    wide = [a if isinstance(a, bytes) else ctypes.c_ulong(a) for a in padded]
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *wide))


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *wide))
