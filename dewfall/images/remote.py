"""Starting a command on another host of the same job, as rsh does for mpirun, by the toolkit that waits there.

    python -m dewfall.images.remote algo-2 orted …      on the leader: mpirun's plm_rsh_agent
    serve("algo-2", folder)                             on the other host, until release("algo-2")

Each host listens on its own address, and whoever comes says the job's name. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

PORT = 7778
PATIENCE = 300.0  # seconds until the other host's toolkit must listen: it may install requirements first
BETWEEN = 0.1
LONGEST = 1 << 20
END, LOST = b"\0", 255  # what begins the last line, and the exit code when none came


def address(host: str) -> str:
    """Where a host is: as the platform says, else by its name, else this machine."""
    known = dict(pair.split("=", 1) for pair in os.environ.get("DEWFALL_HOSTS", "").split(",") if "=" in pair)
    if host in known:
        return known[host]
    with contextlib.suppress(OSError):
        return socket.gethostbyname(host)
    return "127.0.0.1"


def reach(host: str) -> str:
    """What to call a host by: its name where it resolves, else its address."""
    try:
        socket.gethostbyname(host)
    except OSError:
        return address(host)
    return host


def serve(host: str, folder: Path) -> None:
    """Run each command that is asked for, in the folder, until the leader says that there will be none."""
    with socket.create_server((address(host), PORT)) as server:
        while True:
            connection, _ = server.accept()
            asked = _read(connection)
            if asked.get("job") != _job():
                connection.close()
            elif asked.get("command"):
                threading.Thread(target=_run, args=(connection, asked["command"], folder), daemon=True).start()
            else:
                connection.close()
                return


def release(host: str) -> None:
    """Tell a host that all is done."""
    with contextlib.suppress(OSError), _ask(host, "") as connection:
        connection.recv(1)


def run(host: str, command: str) -> int:
    """Run a shell command there, its output here; its exit code."""
    with _ask(host, command) as connection, connection.makefile("rb") as stream:
        for line in stream:
            if line.startswith(END):
                return int(line[len(END) :])
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return LOST


def _ask(host: str, command: str) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = socket.create_connection((address(host), PORT))
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BETWEEN)
    connection.sendall(json.dumps({"job": _job(), "command": command}).encode() + b"\n")
    return connection


def _read(connection: socket.socket) -> dict[str, str]:
    try:
        with connection.makefile("rb") as stream:
            asked = json.loads(stream.readline(LONGEST))
    except (OSError, ValueError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _run(connection: socket.socket, command: str, folder: Path) -> None:
    process = subprocess.Popen(["/bin/sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with contextlib.suppress(OSError), connection:
        for line in process.stdout or ():
            connection.sendall(line)
        connection.sendall(END + b"%d\n" % process.wait())


def _job() -> str:
    return os.environ.get("TRAINING_JOB_ARN") or os.environ.get("TRAINING_JOB_NAME") or "job"


def main(arguments: list[str]) -> int:
    """`host command …`, as mpirun calls a remote shell."""
    if len(arguments) < 2:
        print("usage: python -m dewfall.images.remote host command", file=sys.stderr)
        return 2
    return run(arguments[0], " ".join(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
