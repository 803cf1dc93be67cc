"""Watching a running command: its output, its time, its memory, a request to stop, and its end with everything it started.

One loop, one thread: it sleeps until there is output, a signal, or the next limit to look at. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from dewfall.engine.agentstatus import SPEC, STOP
from dewfall.engine.joblog import JobLog
from dewfall.engine.ports import AgentSpec
from dewfall.engine.processes import descendants, kill_tree, proportional, resident, send, send_group

CHUNK = 1 << 16
SOONEST, LATEST = 0.02, 0.5  # seconds between looks at memory
FASTEST_GROWTH = 4 << 30  # bytes per second that a process may grow by
LOOK_FOR_STOP = 0.5
KILLED = 128 + signal.SIGKILL
REASONS = {
    "MaxRuntimeExceeded": "The command ran for longer than its {max_runtime:g} seconds and was ended.",
    "OutOfMemory": "The command used more memory than its instance has ({memory_bytes} bytes) and was killed.",
    "Stopped": "The command was stopped on request.",
}


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended. `reason` is empty when it ended by itself."""

    exit_code: int
    reason: str = ""
    message: str = ""


class Signals:
    """SIGTERM and SIGCHLD as bytes on a socket that a selector can wait for."""

    def __init__(self, folder: str) -> None:
        self._stop_file = f"{folder}/{STOP}"
        self._spec_file = f"{folder}/{SPEC}"
        self._terminated = False
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)

    def stop_requested(self) -> bool:
        """Whether somebody asked for the end: by a signal, or by the file that outlives a missed one."""
        return self._terminated or os.path.exists(self._stop_file)

    def is_orphaned(self) -> bool:
        """Whether somebody removed the folder: then nobody will ever ask."""
        return not os.path.exists(self._spec_file)

    def drain(self) -> None:
        """Forget what has woken us."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, CHUNK)

    def _terminate(self, *_: object) -> None:
        self._terminated = True


class Supervision:
    """The loop around one command."""

    def __init__(self, spec: AgentSpec, child: int, output: int, log: JobLog, signals: Signals) -> None:
        self._spec, self._child, self._output, self._log, self._signals = spec, child, output, log, signals
        self._reason = ""
        self._began = time.monotonic()
        self._kill_at = 0.0
        self._killed = False
        self._exit_code: int | None = None
        self._memory_at = self._began

    def run(self, on_wake: Callable[[], None] = lambda: None) -> End:
        """Until the command has ended and nothing of it is left. `on_wake` is called after every sleep."""
        os.set_blocking(self._output, False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._signals.reader, selectors.EVENT_READ)
            while self._exit_code is None:
                for key, _ in selector.select(self._sleep()):
                    if key.fd == self._signals.reader:
                        self._signals.drain()
                    elif not self._read():
                        selector.unregister(self._output)
                on_wake()
                self._reap()
                self._enforce()
        kill_tree(os.getpid())
        while self._read():
            pass
        self._log.flush()
        message = REASONS[self._reason].format(max_runtime=self._spec.max_runtime, memory_bytes=self._spec.memory_bytes) if self._reason else ""
        return End(KILLED if self._reason == "OutOfMemory" else self._exit_code, self._reason, message)

    def _sleep(self) -> float:
        moments = [LOOK_FOR_STOP]
        now = time.monotonic()
        if self._spec.memory_bytes:
            moments.append(self._memory_at - now)
        if self._kill_at and not self._killed:
            moments.append(self._kill_at - now)
        elif self._spec.max_runtime and not self._reason:
            moments.append(self._began + self._spec.max_runtime - now)
        return max(0.0, min(moments))

    def _read(self) -> bool:
        """Take some output; False when there is none (now, or for ever)."""
        try:
            data = os.read(self._output, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            return False
        self._log.feed(data)
        return bool(data)

    def _reap(self) -> None:
        """Collect every ended child: the command, and orphans that became ours."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit_code = code if code >= 0 else 128 - code

    def _enforce(self) -> None:
        if self._exit_code is not None:
            return
        now = time.monotonic()
        if not self._reason and self._signals.stop_requested():
            self._end("Stopped", now)
        if not self._killed and self._signals.is_orphaned():
            self._reason, self._kill_at = "Stopped", now
        if not self._reason and self._spec.max_runtime and now >= self._began + self._spec.max_runtime:
            self._end("MaxRuntimeExceeded", now)
        if self._reason != "OutOfMemory" and self._exceeds_memory(now):
            self._reason, self._kill_at = "OutOfMemory", now
        if self._kill_at and now >= self._kill_at and not self._killed:
            self._killed = True
            for pid in descendants(os.getpid()):
                send(pid, signal.SIGKILL)

    def _end(self, reason: str, now: float) -> None:
        self._reason, self._kill_at = reason, now + self._spec.grace
        send_group(self._child, signal.SIGTERM)

    def _exceeds_memory(self, now: float) -> bool:
        """Resident pages are quick to read but count shared ones twice, so the exact sum is asked for only when they exceed.

        The next look is due when the limit could be reached at the earliest.
        """
        limit = self._spec.memory_bytes
        if not limit or now < self._memory_at:
            return False
        pids = descendants(os.getpid())
        used = resident(pids)
        if used > limit:
            used = proportional(pids)
        self._memory_at = now + min(LATEST, max(SOONEST, (limit - used) / FASTEST_GROWTH))
        return used > limit
