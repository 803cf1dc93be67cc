"""A private /opt/ml, hosts file and, where needed, network for one instance, by Linux namespaces and without a container engine.

User code has /opt/ml written into it, and several instances run on one machine at once. What each of them sees:

    /opt/ml      an overlay: below, links to the stored inputs; above, <agent folder>/root/opt/ml, where all that is written lands
    /etc/hosts   with the job's hosts, all of them this machine
    /tmp         empty at the start, where the data folder does not lie below the machine's
    the data folder   empty but for the agent's own folder and the shared caches

Everything is entered by the agent itself before it starts the command, so both see the same. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

CONTAINER_ROOT = "/opt/ml"
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
MS_NOATIME, MS_NODIRATIME, MS_RELATIME = 1024, 2048, 1 << 21
# What a remount must keep: inside a user namespace these flags of the outer mount are locked.
KEPT_FLAGS = {
    os.ST_NOSUID: MS_NOSUID,
    os.ST_NODEV: MS_NODEV,
    os.ST_NOEXEC: MS_NOEXEC,
    os.ST_NOATIME: MS_NOATIME,
    os.ST_NODIRATIME: MS_NODIRATIME,
    os.ST_RELATIME: MS_RELATIME,
}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
MODES = ("mount", "user", "none")


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine permits. mode: `mount` (privileged), `user` (a user namespace first), `none`; `reason` says why not more."""

    mode: str
    network: bool = False
    reason: str = ""


NONE = Isolation("none", reason="switched off by DEWFALL_NAMESPACES=0")


@dataclass(frozen=True, slots=True)
class View:
    """What an agent wants to be seen of the file system. All paths are the host's."""

    upper: str  # becomes /opt/ml
    lower: str = ""  # inputs beneath it, never written
    sealed: str = ""  # the folder around `lower`, which nobody may write to
    work: str = ""  # the overlay's own folder, empty, on the file system of `upper`
    hosts: str = ""  # becomes /etc/hosts
    hidden: str = ""  # the data folder
    shown: tuple[str, ...] = field(default=())  # folders inside the hidden one that stay
    scratch: str = ""  # becomes /tmp
    kept: tuple[str, ...] = field(default=())  # of the machine's /tmp


@functools.cache
def probe() -> Isolation:
    """Try it out once, in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); import dewfall.engine.namespaces as n; n.print_probe()"
    try:
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Isolation("none", reason=f"namespaces could not be tried: {error}")
    words = done.stdout.strip().split("|", 2)
    if len(words) != 3 or words[0] not in MODES:
        return Isolation("none", reason=f"namespaces could not be tried: {done.stderr.strip()[-200:]}")
    return Isolation(words[0], words[1] == "1", words[2])


def print_probe() -> None:
    """`mode|network|reason` on stdout; the calling process is changed by it."""
    mode, reason = "none", ""
    try:
        mode = "mount" if os.geteuid() == 0 and _can(CLONE_NEWNS) else "user"
        enter_mounts(mode)
        if not os.path.isdir("/opt") and not (mode == "mount" and _make_mountpoint()):
            raise OSError("there is no /opt to mount on")
        mount("/tmp", "/tmp", flags=MS_BIND)
    except OSError as error:
        reason = f"no private /opt/ml: {error}; jobs get paths rewritten and SAGEMAKER_BASE_DIR set"
        print(f"none|0|{reason}")
        return
    network = False
    with contextlib.suppress(OSError):
        enter_network()
        network = True
    print(f"{mode}|{int(network)}|{reason}")


def enter(mode: str, view: View) -> bool:
    """Give this process the view. True when inputs are an overlay's lower layer, False when `upper` alone could be mounted.

    Raises OSError when not even that is possible.
    """
    enter_mounts(mode)
    hidden = view.hidden and os.path.isdir(view.hidden)
    target = _mountpoint(mode, view)
    layered = bool(view.lower) and _overlay(mode, view, target)
    if not layered:
        mount(view.upper, target, flags=MS_BIND | MS_REC)
    if view.hosts and os.path.isfile("/etc/hosts"):
        with contextlib.suppress(OSError):
            mount(view.hosts, os.path.realpath("/etc/hosts"), flags=MS_BIND)
    if view.sealed and os.path.isdir(view.sealed):
        read_only(view.sealed)
    if view.scratch:
        with contextlib.suppress(OSError):
            cover("/tmp", view.scratch, view.kept)
    if hidden:
        with contextlib.suppress(OSError):
            hide(view.hidden, view.shown)
    return layered


def enter_mounts(mode: str) -> None:
    """A mount namespace of its own, from which nothing spreads back."""
    if mode == "user":
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    else:
        unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def enter_network() -> None:
    """A network namespace of its own with nothing but a loopback interface, which is up."""
    unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", answer)[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def own_copy(path: str, copy: Path) -> None:
    """Cover a file of the machine with a copy that may be written to; nothing where there is no such file."""
    with contextlib.suppress(OSError):
        copy.write_bytes(Path(path).read_bytes())
        mount(str(copy), path, flags=MS_BIND)


def enter_hostname(name: str) -> None:
    """A host name of its own, where that is permitted; programs that ask for it are told the name by which the others know this host."""
    with contextlib.suppress(OSError):
        unshare(CLONE_NEWUTS)
        socket.sethostname(name)


def join_network(pid: int) -> None:
    """Move into another process's network namespace."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc().setns(descriptor, CLONE_NEWNET), "setns")
    finally:
        os.close(descriptor)


def hide(folder: str, shown: tuple[str, ...]) -> None:
    """Cover a folder with an empty one in which only the `shown` folders beneath it are left."""
    kept = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in shown if os.path.isdir(path)]
    try:
        mount("tmpfs", folder, kind="tmpfs", options="mode=755,size=1m")
        for path, descriptor in kept:
            os.makedirs(path, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
    finally:
        for _, descriptor in kept:
            os.close(descriptor)


def cover(folder: str, source: str, kept: tuple[str, ...]) -> None:
    """Cover a folder with another one, in which only the `kept` files and folders of the covered one are to be seen."""
    opened = [(path, os.path.isdir(path), os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in kept]
    try:
        mount(source, folder, flags=MS_BIND)
        for path, is_folder, descriptor in opened:
            os.makedirs(path if is_folder else os.path.dirname(path), exist_ok=True)
            if not is_folder:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
            mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
    finally:
        for _, _, descriptor in opened:
            os.close(descriptor)


def read_only(folder: str) -> None:
    """Make a folder read-only for everybody in this mount namespace."""
    mount(folder, folder, flags=MS_BIND)
    present = os.statvfs(folder).f_flag
    kept = functools.reduce(lambda flags, pair: flags | (pair[1] if present & pair[0] else 0), KEPT_FLAGS.items(), 0)
    mount("none", folder, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _check(_libc().mount(*arguments), f"mount on {target}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc().unshare(flags), "unshare")


def _overlay(mode: str, view: View, target: str) -> bool:
    os.makedirs(view.work, exist_ok=True)
    layers = f"lowerdir={_escaped(view.lower)},upperdir={_escaped(view.upper)},workdir={_escaped(view.work)}"
    for options in (",userxattr" if mode == "user" else ",metacopy=off,redirect_dir=off,index=off", ""):
        with contextlib.suppress(OSError):
            mount("overlay", target, kind="overlay", options=layers + options)
            return True
    return False


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _mountpoint(mode: str, view: View) -> str:
    """A folder /opt/ml to mount on: the host's if it has one or we may make it, else /opt is rebuilt with one more entry."""
    if os.path.isdir(CONTAINER_ROOT) or (mode == "mount" and _make_mountpoint()):
        return CONTAINER_ROOT
    stage = f"{view.upper}.opt"
    os.makedirs(stage, exist_ok=True)
    mount("tmpfs", stage, kind="tmpfs", options="mode=755,size=1m")
    for entry in os.scandir("/opt"):
        place = f"{stage}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
            continue
        if entry.is_dir():
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
        mount(entry.path, place, flags=MS_BIND | MS_REC)
    os.mkdir(f"{stage}/ml")
    mount(stage, "/opt", flags=MS_BIND | MS_REC)
    return CONTAINER_ROOT


def _make_mountpoint() -> bool:
    try:
        os.makedirs(CONTAINER_ROOT, exist_ok=True)
    except OSError:
        return False
    return True


def _can(flags: int) -> bool:
    """Whether unshare(2) would be permitted, tried in a child."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc().unshare(flags) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
