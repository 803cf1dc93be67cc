"""Scripts of the user's that run with the server: `boot.d/*` before it is ready, `ready.d/*` as soon as it is.

    DEWFALL_HOOKS=./hooks      hooks/boot.d/10-prepare.sh      hooks/ready.d/20-buckets.py

The stages and the answer's form are those of the init hooks that this ecosystem knows, so that existing folders work as they are.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dewfall.environment import exports
from dewfall.settings import Settings

log = logging.getLogger(__name__)

STAGES = ("boot", "ready")
SUFFIXES = (".sh", ".py")
WAITING, RUNNING, SUCCESSFUL, ERROR = "UNKNOWN", "RUNNING", "SUCCESSFUL", "ERROR"


@dataclass(slots=True)
class Stage:
    """The scripts of one folder, in their order, and how each went."""

    name: str
    scripts: list[Path]
    states: dict[Path, str] = field(default_factory=dict)
    completed: bool = False

    def told(self) -> list[dict[str, str]]:
        """A line per script."""
        return [{"stage": self.name.upper(), "name": script.name, "state": self.states.get(script, WAITING)} for script in self.scripts]


class Hooks:
    """Runs each stage once; what failed is logged and told, and stops nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        folder = Path(settings.hooks).expanduser() if settings.hooks else None
        self._stages = {name: Stage(name, find_scripts(folder / f"{name}.d") if folder else []) for name in STAGES}
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self, name: str) -> None:
        """Run a stage to its end."""
        stage = self._stages[name]
        for script in stage.scripts:
            if self._stopped:
                return
            stage.states[script] = RUNNING
            stage.states[script] = SUCCESSFUL if self._run(script) == 0 else ERROR
        stage.completed = True

    def start(self, name: str) -> None:
        """Run a stage behind; where it has no scripts it is completed at once."""
        if self._stages[name].scripts:
            threading.Thread(target=self.run, args=(name,), name=f"hooks-{name}", daemon=True).start()
        else:
            self._stages[name].completed = True

    def stop(self) -> None:
        """The server ends: so does the script that is running."""
        self._stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def told(self, stage: str = "") -> dict[str, Any] | None:
        """The page `/_dewfall/init`, or `/_dewfall/init/<stage>`; None for a stage that does not exist."""
        if not stage:
            completed = {name.upper(): found.completed for name, found in self._stages.items()}
            return {"completed": completed, "scripts": [line for found in self._stages.values() for line in found.told()]}
        found = self._stages.get(stage.lower())
        return None if found is None else {"completed": found.completed, "scripts": found.told()}

    def _run(self, script: Path) -> int:
        environment = os.environ | exports(self._settings, os.environ) | {"PYTHONUNBUFFERED": "1"}
        log.info("hook starts script=%s", script)
        try:
            self._child = subprocess.Popen(
                command(script),
                env=environment,
                cwd=script.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as problem:
            log.error("hook cannot run script=%s problem=%s", script, problem.strerror)
            return 126
        with self._child as child:
            for line in child.stdout or ():
                log.info("hook says script=%s %s", script.name, line.rstrip())
        code: int = self._child.returncode
        (log.info if code == 0 else log.error)("hook ended script=%s code=%d", script, code)
        return code


def find_scripts(folder: Path) -> list[Path]:
    """Every *.sh and *.py beneath a folder, in the order of their paths."""
    return sorted(file.absolute() for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def command(script: Path) -> list[str]:
    """How a script is run: Python by the server's own interpreter, an executable file by its first line, any other by the shell."""
    if script.suffix == ".py":
        return [sys.executable, str(script)]
    if os.access(script, os.X_OK) and script.read_bytes()[:2] == b"#!":
        return [str(script)]
    return [shutil.which("bash") or "sh", str(script)]
