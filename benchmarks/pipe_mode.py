"""Pipe mode, against `cat file > fifo` on the same file and with the same reader."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dewfall.engine.ports import Channel, FileLink

SIZE, PAIRS = 1 << 30, 5
GOAL = 0.7
READER = "import sys\nwith open(sys.argv[1], 'rb', buffering=0) as pipe:\n    while pipe.read(1 << 20): pass"
FEEDER = "import sys; from dewfall.engine.pipes import feed; from benchmarks.pipe_mode import channel; feed(channel(sys.argv[1]), sys.argv[2])"


def pipe_mode() -> list[tuple[str, str, str, bool]]:
    """1 GiB through a FIFO of a channel's feeder, and through one of `cat`; the reader is the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "big"
        with file.open("wb") as out:
            for _ in range(SIZE >> 20):
                out.write(os.urandom(1 << 20))
        ours, theirs = [], []
        for _ in range(PAIRS):
            ours.append(_rate(folder, [sys.executable, "-c", FEEDER, str(file), str(folder / "train")]))
            theirs.append(_rate(folder, ["sh", "-c", f"cat {file} > {folder}/train_0"]))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    what = f"{ratio:.2f} × cat ({statistics.median(ours):.0f} MiB/s)"
    return [("Pipe mode, 1 GiB raw", what, f"≥ {GOAL} ×", ratio >= GOAL)]


def channel(file: str) -> Channel:
    """A channel of one file."""
    return Channel("train", "", "Pipe", (FileLink("big", file, SIZE),))


def _rate(folder: Path, feeder: list[str]) -> float:
    """MiB a second, from the reader's opening to the end of the file."""
    fifo = folder / "train_0"
    os.mkfifo(fifo)
    with subprocess.Popen(feeder) as process:
        time.sleep(0.5)  # both writers are there, waiting for the reader
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", READER, str(fifo)], check=True)
        taken = time.perf_counter() - began
        process.kill()
    for left in folder.glob("train_*"):
        left.unlink()
    return (SIZE >> 20) / taken
