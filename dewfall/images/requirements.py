"""requirements.txt as a cached layer on top of the image's packages: built once per content, found by its hash, safe for many jobs at once.

A layer is a virtual environment that sees the image's packages: pip leaves alone what they satisfy and puts the rest into the layer.
The interpreter stays the image's; the layer's folder comes first on the module search path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from dewfall.images.packages import SHIMS

COMPLETE = ".complete"
PRIVATE = ".packages"
RESTARTED = "DEWFALL_RESTARTED"
LOCAL = ("-r", "-c", "-e", "--requirement", "--constraint", "--editable", ".", "/", "file:")
OUTPUT_KEPT = 2000


class InstallError(Exception):
    """pip could not install. `code`, `output` (its last words) and `command` say how."""

    def __init__(self, code: int, output: str, command: str) -> None:
        super().__init__(output)
        self.code = code
        self.output = output
        self.command = command


def install(folder: Path, *, package: bool = False) -> Path | None:
    """The layer for a folder's requirements.txt (and with `package` its setup.py); None when the image has everything.

    InstallError when pip fails.
    """
    file = folder / "requirements.txt"
    text = file.read_text() if file.is_file() else ""
    if not package and is_satisfied(text):
        return None
    return _layer(folder, text, package)


def is_satisfied(text: str) -> bool:
    """Whether plain requirement lines are all met by what is installed; lines that need pip's judgement count as not met."""
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        return True
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return False
    for line in lines:
        try:
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate():
                continue
            if wanted.url or wanted.extras or not wanted.specifier.contains(version(wanted.name), prereleases=True):
                return False
        except (InvalidRequirement, PackageNotFoundError):
            return False
    return True


def activate(layer: Path) -> None:
    """Put a layer first on the module search path, of this process and of its children; its scripts first on PATH."""
    packages = str(site_packages(layer))
    if os.environ.pop(RESTARTED, "") != layer.name and shadows(packages):
        _restart(layer.name)
    if packages not in sys.path:
        sys.path.insert(0, packages)
    os.environ["PYTHONPATH"] = os.pathsep.join([packages, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    os.environ["PATH"] = os.pathsep.join([str(layer / "bin"), os.environ.get("PATH", "")])


def shadows(packages: str) -> bool:
    """Whether a warm process has imported something of which the layer holds another version."""
    if not os.path.isdir(packages):
        return False
    theirs = {name.partition(".")[0] for name in os.listdir(packages)}
    ours = [module for name, module in list(sys.modules.items()) if name in theirs]
    return any(not (getattr(module, "__file__", None) or packages).startswith(packages) for module in ours)


def _restart(layer: str) -> NoReturn:
    """The same command in a new interpreter of the same process, which imports what the layer has."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ[RESTARTED] = layer
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def enter_private(home: Path) -> Path:
    """A layer of this job's own, for what its code installs by itself: `python -m pip install` and `pip install` never touch the image.

    From here on sys.executable and PATH are the layer's, and what it gets can be imported.
    """
    layer = home / PRIVATE
    if not (layer / "bin").is_dir():
        make(layer, [path for path in sys.path if str(cache_folder()) in path])
        (site_packages(layer) / "_packages.pth").write_text(f"{SHIMS}\n")  # read after _image.pth: what AWS's images have beside the framework
    sys.executable = str(layer / "bin" / "python")
    sys.path.insert(0, str(site_packages(layer)))
    os.environ["PATH"] = os.pathsep.join([str(layer / "bin"), os.environ.get("PATH", "")])
    return layer


def site_packages(layer: Path) -> Path:
    """Where a layer's packages lie."""
    return layer / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/dewfall/layers, else ~/.cache/dewfall/layers."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "dewfall" / "layers"


def _layer(folder: Path, text: str, package: bool) -> Path:
    layer = cache_folder() / _digest(folder, text, package)
    if (layer / COMPLETE).exists():
        return layer
    with _locked(layer.with_suffix(".lock")):
        if not (layer / COMPLETE).exists():
            shutil.rmtree(layer, ignore_errors=True)
            make(layer)
            _pip(layer, folder, bool(text.strip()), package)
            (layer / COMPLETE).touch()
    return layer


def _digest(folder: Path, text: str, package: bool) -> str:
    """Interpreter, image and requirements; where local files are named, every file of the folder."""
    digest = hashlib.sha256(f"{sys.version}\0{sys.prefix}\0{text}".encode())
    if package or any(line.strip().startswith(LOCAL) for line in text.splitlines()):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(layer: Path, below: Sequence[str] = ()) -> None:
    """An empty virtual environment above other layers' and this interpreter's packages; a few small files, no copies."""
    packages = site_packages(layer)
    packages.mkdir(parents=True)
    (layer / "bin").mkdir()
    base = os.path.realpath(sys.executable)
    (layer / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
    for name in ("python", "python3"):
        (layer / "bin" / name).symlink_to(base)
    for name in ("pip", "pip3"):
        script = layer / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{layer}/bin/python" -m pip "$@"\n')
        script.chmod(0o755)
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in [*below, *site.getsitepackages()])
    (packages / "_image.pth").write_text(lines)


def _pip(layer: Path, folder: Path, has_requirements: bool, package: bool) -> None:
    words = [str(layer / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    words += (["."] if package else []) + (["-r", "requirements.txt"] if has_requirements else [])
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    print(" ".join(words), flush=True)
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        kept = ""
        for line in process.stdout or ():
            print(line, end="", flush=True)
            kept = (kept + line)[-OUTPUT_KEPT:]
    if process.returncode:
        command = f"{sys.executable} -m pip install " + ("." if package else "-r requirements.txt")
        errors = [line for line in kept.splitlines() if line.startswith("ERROR")]
        raise InstallError(process.returncode, "\n".join(errors) or kept, command)
