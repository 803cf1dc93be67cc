"""`python -m dewfall.images.explainer command …`: starts the model's server on an address of its own, and the explainer before it.

Why a parent that does nothing else: when one of the two ends, so does the other, and the agent sees the model's exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import traceback

SOCKET, PORT = "SAGEMAKER_BIND_TO_SOCKET", "SAGEMAKER_BIND_TO_PORT"
MODEL_PORT = "DEWFALL_MODEL_PORT"  # of a server that insists on one
WORKERS = 2  # an explanation takes long: another request need not wait for it


def main(command: list[str]) -> int:
    """Run both until one of them ends; the exit code of the one that did."""
    if not command:
        sys.exit("usage: python -m dewfall.images.explainer command [argument …]")
    place, addresses = model_place(os.environ)
    model = subprocess.Popen(command, env={**os.environ, **place})
    explainer = os.fork()
    if not explainer:
        _explain(addresses)
    _forward_signals([model.pid, explainer])
    try:
        return _wait({model.pid, explainer})
    finally:
        with contextlib.suppress(OSError):
            os.unlink(place.get(SOCKET, ""))


def model_place(environment: os._Environ[str] | dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Where the model's server is told to listen, and the addresses to ask it at."""
    fixed = environment.get(MODEL_PORT, "")
    if fixed:
        return {PORT: fixed}, [f"tcp:127.0.0.1:{fixed}"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = environment.get(SOCKET, "") + "m"
    return {SOCKET: path, PORT: str(port)}, [f"unix:{path}", f"tcp:127.0.0.1:{port}"]


def _explain(addresses: list[str]) -> None:
    code = 1
    try:
        from dewfall.images.explainer.handler import make_handler
        from dewfall.images.http import serve

        serve(make_handler(addresses), workers=WORKERS)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0) if not isinstance(end.code, str) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _forward_signals(children: list[int]) -> None:
    def forward(number: int, _: object) -> None:
        _send(children, number)

    signal.signal(signal.SIGTERM, forward)


def _wait(children: set[int]) -> int:
    """Until one of them ends; then the rest is asked to end, too."""
    ended, status = os.wait()
    while ended not in children:
        ended, status = os.wait()
    left = children - {ended}
    _send(list(left), signal.SIGTERM)
    while left:
        left.discard(os.wait()[0])
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _send(children: list[int], number: int) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
