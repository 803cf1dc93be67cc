"""`python -m dewfall.engine.merging target source …`: several tar.gz archives as one, as if their hosts had written into one folder.

A process of its own, because compressing takes longer than the server may think. Where two have a file of one name, the first one's is taken.
Standard library only.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from dewfall.engine.archives import CHUNK, FAST_FROM

ROOT = Path(__file__).parents[2]


def merge(target: str, sources: Sequence[str]) -> None:
    """Write the archive that holds what all of them hold, whole or not at all."""
    draft = f"{target}.part"
    level = 1 if sum(map(os.path.getsize, sources)) > FAST_FROM else 6
    known: set[str] = set()
    with (
        open(draft, "wb") as raw,
        gzip.GzipFile("", "wb", level, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive,
    ):
        for source in sources:
            _append(archive, source, known)
    os.replace(draft, target)


def merged(sources: Sequence[Path]) -> Path:
    """The sources as one file: the only one, or a new one beside the first. Made in another process. Raises OSError."""
    if len(sources) == 1:
        return sources[0]
    target = sources[0].with_name(f"merged-{sources[0].name}")
    if not target.exists():
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from dewfall.engine.merging import main; main(sys.argv[1:])"
        command = [sys.executable, "-I", "-S", "-c", code, str(target), *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"the outputs of several hosts could not be merged: {done.stderr.strip()[-500:]}")
    return target


def _append(archive: tarfile.TarFile, source: str, known: set[str]) -> None:
    with tarfile.open(source, "r|gz", bufsize=CHUNK) as part:
        for member in part:
            if member.name not in known:
                known.add(member.name)
                archive.addfile(member, part.extractfile(member) if member.isreg() else None)


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    merge(arguments[0], arguments[1:])
