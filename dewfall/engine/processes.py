"""Process trees: who a process is, who descends from it, what memory they hold, and how to end them all.

An agent answers for everything that its command starts, also for children that left their session, so it is their subreaper and walks /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
_KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def start_time(pid: int) -> int:
    """The clock tick at which a process began, 0 when it is gone (or a zombie). With the pid it names a process for good."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process still runs."""
    return pid > 0 and started > 0 and start_time(pid) == started


def become_subreaper(title: str = "") -> None:
    """Orphans of this process's tree become its children instead of init's."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if title:
        _libc().prctl(PR_SET_NAME, title.encode()[:15], 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    if _libc().prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def descendants(root: int) -> list[int]:
    """Every process beneath `root`, parents first."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        for child in _children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory held by the processes, pages that they share counted once for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
            total += int(file.read().split()[1]) * PAGE
    return total


def proportional(pids: list[int]) -> int:
    """Bytes of memory held by the processes, shared pages divided among those who share them. Exact, and slow to read."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) * 1024
                    break
    return total


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that the processes have taken, with that of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            ticks += sum(int(field) for field in file.read().rpartition(b") ")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def disk_bytes(pids: list[int]) -> tuple[int, int]:
    """Bytes that the processes have had read from and written to disks."""
    found = {b"read_bytes": 0, b"write_bytes": 0}
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/io", "rb") as file:
            for line in file:
                name, _, count = line.partition(b":")
                if name in found:
                    found[name] += int(count)
    return found[b"read_bytes"], found[b"write_bytes"]


def network_bytes(pid: int) -> tuple[int, int]:
    """Bytes that a process's network has received and sent, loopback left out."""
    received = sent = 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/dev", "rb") as file:
        for line in file.readlines()[2:]:
            name, _, counts = line.partition(b":")
            if name.strip() != b"lo":
                fields = counts.split()
                received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def age(pid: int) -> float:
    """Seconds since a process began; 0 when it is gone."""
    began = start_time(pid)
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")) if began else 0.0


def kill_tree(root: int, *, seconds: float = 5.0) -> bool:
    """SIGKILL all descendants until none is left; the caller's own children are reaped. True when they are all gone."""
    deadline = time.monotonic() + seconds
    while pids := descendants(root):
        for pid in pids:
            send(pid, signal.SIGKILL)
        if root == os.getpid():
            reap(pids)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def wait_for_end(pids: list[int], *, seconds: float) -> None:
    """Until none of the processes runs any more, for so long at most."""
    deadline = time.monotonic() + seconds
    while any(start_time(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.001)


def reap(pids: list[int]) -> None:
    """Collect those of the processes that are ended children of ours."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def send(pid: int, number: int) -> None:
    """A signal; no error when the process is gone or not ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(group: int, number: int) -> None:
    """A signal to a process group; no error when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def marked(marker: str, place: str) -> list[int]:
    """Processes that were started with `marker` ("NAME=value") in their environment, or have a folder of `place` mounted, unlike ourselves.

    It finds what an agent left that was itself killed: its children are nobody's then. The number of their mount namespace would not do, for
    the kernel gives it to the next one at once.
    """
    wanted, mounted = marker.encode(), f"{place}/".encode()
    found = []
    ours = os.readlink("/proc/self/ns/mnt")
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/environ", "rb") as file:
                is_marked = wanted in file.read().split(b"\0")
            if not is_marked and os.readlink(f"/proc/{name}/ns/mnt") != ours:
                with open(f"/proc/{name}/mountinfo", "rb") as file:
                    is_marked = mounted in file.read()
            if is_marked:
                found.append(int(name))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    if not _KERNEL_LISTS_CHILDREN:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(int(name)) == pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children.extend(int(number) for number in file.read().split())
    return children


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[1])
    except OSError:
        return 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
