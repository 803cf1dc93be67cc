"""Starting the server in this process, and finding one that runs.

Why apart from cli.py: the commands that only talk to a server must not import it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dewfall.settings import DEFAULT_ACCOUNT, DEFAULT_REGION, Settings

if TYPE_CHECKING:
    from dewfall.house import House


class CannotListen(Exception):
    """The address is taken, or is none of this machine's."""

    def __init__(self, host: str, port: int, problem: OSError) -> None:
        super().__init__(problem.strerror or str(problem))
        self.host = host
        self.port = port


SWITCH_SECONDS = 0.0005  # how long a busy thread keeps the interpreter from the event loop


def serve(settings: Settings, *, ephemeral: bool = False, greet: Callable[[Settings], None] = lambda settings: None) -> None:
    """Run the server until it is told to stop. Raises CannotListen when an address is taken, DataFolderTaken when the folder is."""
    from dewfall.engine.compute import aftermath
    from dewfall.engine.disk import in_one_line
    from dewfall.house import House

    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(in_one_line)
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with contextlib.ExitStack() as open_sockets:
        listening = open_sockets.enter_context(listen(settings.host, settings.port))
        encrypted = open_sockets.enter_context(listen(settings.host, settings.tls_port)) if settings.tls_port else None
        settings = replace(settings, port=listening.getsockname()[1])
        house = House(settings, ephemeral=ephemeral)
        announcement = settings.data / "run" / "server.json"

        def ready() -> None:
            announce(announcement, settings)
            greet(settings)

        end_by_signals()
        watcher = aftermath.watch(settings.data) if ephemeral else None
        try:
            _run(house, listening, encrypted, ready)
        finally:
            announcement.unlink(missing_ok=True)
            if watcher is not None:
                shutil.rmtree(settings.data, ignore_errors=True)
                watcher.communicate()


def end_by_signals() -> None:
    """SIGTERM, which uvicorn raises again when it has closed, ends this process by way of its finally clauses; a closed terminal does so too."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def _run(house: House, listening: socket.socket, encrypted: socket.socket | None, on_ready: Callable[[], None]) -> None:
    import uvicorn

    from dewfall.invocations import InvocationProtocol
    from dewfall.server import Application

    config = uvicorn.Config(
        Application(house, on_ready=on_ready),
        http=InvocationProtocol,
        proxy_headers=False,
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        backlog=2048,
        lifespan="on",
    )
    if encrypted is None:
        uvicorn.Server(config).run(sockets=[listening])
    else:
        from dewfall.encrypted import EncryptedServer

        EncryptedServer(config, encrypted, house.settings.data / "authority").run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as problem:
        listening.close()
        raise CannotListen(host, port, problem) from None
    listening.set_inheritable(False)
    return listening


def announce(file: Path, settings: Settings) -> None:
    """Leave word where this server is, for those who know its data folder."""
    text = json.dumps({"url": settings.endpoint, "pid": os.getpid()})
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def announced(file: Path) -> dict[str, Any]:
    """What a server left word of; empty where none did."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def health(url: str, timeout: float = 2.0) -> dict[str, Any] | None:
    """A running server's word about itself; None when nobody (or somebody else) answers there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url + "/_dewfall/health", timeout=timeout) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return found if found.get("edition") == "dewfall" else None


def known(settings: Settings) -> Settings:
    """The settings as the server that runs there has them: its data folder and authentication, and its account and region where
    none are set here; unchanged where no server runs.

    A shell need not repeat the variables that the server was started with.
    """
    found = health(settings.endpoint)
    if found is None or not os.access(found["data"], os.W_OK):
        return settings
    account = settings.account if settings.account != DEFAULT_ACCOUNT else found["account"]
    region = settings.region if settings.region != DEFAULT_REGION else found["region"]
    return replace(settings, data=Path(found["data"]), account=account, region=region, auth=found["auth"])


def is_alive(process: int) -> bool:
    """Whether a process still runs; one that has ended and waits to be fetched by its parent does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return not Path("/proc/self/stat").exists() and _answers_signals(process)
    return state not in ("Z", "X")


def _answers_signals(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as problem:
        return isinstance(problem, PermissionError)
    return True


@contextlib.contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Ctrl-C ends the command without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print()
