"""Run by a user without privileges: one job in a user namespace. Prints the mode, how the job ended, and its log."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from dewfall.engine.compute.local import LocalCompute
from dewfall.engine.namespaces import probe
from dewfall.engine.ports import AgentSpec, Channel, FileLink


def main(folder: Path) -> None:
    stored = folder / "blobs"
    stored.mkdir()
    (stored / "a@1").write_text("1\n")
    compute = LocalCompute(folder / "jobs", slots=1, namespaces=True, poke=folder / "run" / "poke.sock")
    over = threading.Event()
    compute.on_change(lambda agent: over.set() if compute.status(agent).state in ("Exited", "Lost") else None)  # type: ignore[union-attr]
    channel = Channel("train", "/opt/ml/input/data/train", "File", (FileLink("a", str(stored / "a@1"), 2),))
    command = f"set -e; cd /opt/ml/input/data/train; cat a; echo 2 > a; cat a; rm a; test ! -e {stored}; grep -q algo-1 /etc/hosts; id -u"
    compute.start(AgentSpec(id="job.0.0.0.1", kind="job", command=("/bin/sh", "-c", command), environment={}, channels=(channel,)))
    over.wait(90)
    status = compute.status("job.0.0.0.1")
    print(probe().mode)
    print(status.state, status.exit_code) if status else print("nothing")
    print(status, compute.log_file("job.0.0.0.1").read_text(), (stored / "a@1").read_text())
    compute.close()


main(Path(sys.argv[1]))
