"""`dewfall tensorboard [JOB …]`: the real TensorBoard on what training jobs wrote for it, kept up to date while they run.

S3OutputPath/<job>/tensorboard-output/… ── copied as it grows ──▶ a temporary folder, one run per job ──▶ tensorboard --logdir
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dewfall.environment import clients as make_clients
from dewfall.settings import Settings

REFRESH = 5.0  # seconds between looks for what is new
MISSING = "dewfall: TensorBoard is not installed here: pip install 'dewfall[tensorboard]'"
NO_JOB = "dewfall: no training job called {name}, and no such folder. `aws sagemaker list-training-jobs` names the jobs."
NO_BOARD = "dewfall: the training job {name} has no TensorBoardOutputConfig."
NONE = "dewfall: no training job has a TensorBoardOutputConfig."


class NoBoard(Exception):
    """There is nothing to show; the text says why."""


def show_boards(settings: Settings, names: Sequence[str], port: int) -> int:
    """Run TensorBoard until it ends. A name is a training job's, or a local folder's; none means every job that writes for TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        print(MISSING, file=sys.stderr)
        return 1
    clients = make_clients(settings, "s3", "sagemaker")
    with tempfile.TemporaryDirectory(prefix="dewfall-tensorboard-") as folder:
        try:
            sources = find_sources(clients["sagemaker"], names)
        except NoBoard as error:
            print(error, file=sys.stderr)
            return 1
        copied = {name: place for name, place in sources.items() if place.startswith("s3://")}
        for name, place in sources.items():
            if name not in copied:
                os.symlink(os.path.abspath(place), f"{folder}/{name}", target_is_directory=True)
        over = threading.Event()
        copying = threading.Thread(target=_keep_copying, args=(clients["s3"], copied, Path(folder), over), daemon=True)
        copying.start()
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that TensorBoard ends with this process
        try:
            return subprocess.run([sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", str(port)], check=False).returncode
        finally:
            over.set()
            copying.join(REFRESH)


def find_sources(sagemaker: Any, names: Sequence[str]) -> dict[str, str]:
    """Run → its s3:// prefix or folder. Raises NoBoard."""
    found: dict[str, str] = {}
    for name in names:
        if Path(name).is_dir():
            found[Path(name).resolve().name] = name
            continue
        prefix = _prefix(sagemaker, name)
        if not prefix:
            raise NoBoard(NO_BOARD.format(name=name))
        found[name] = prefix
    if names:
        return found
    for page in sagemaker.get_paginator("list_training_jobs").paginate():
        for job in page["TrainingJobSummaries"]:
            prefix = _prefix(sagemaker, job["TrainingJobName"])
            if prefix:
                found[job["TrainingJobName"]] = prefix
    if not found:
        raise NoBoard(NONE)
    return found


def copy_new(s3: Any, prefix: str, folder: Path) -> int:
    """Copy every object below the prefix that has another size here; how many that were."""
    place = urlsplit(prefix)
    start, copied = place.path.lstrip("/"), 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=place.netloc, Prefix=start):
        for entry in page.get("Contents", ()):
            target = (folder / entry["Key"].removeprefix(start)).resolve()
            if not target.is_relative_to(folder.resolve()) or (target.exists() and target.stat().st_size == entry["Size"]):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=place.netloc, Key=entry["Key"])["Body"], file)
            copied += 1
    return copied


def _keep_copying(s3: Any, sources: dict[str, str], folder: Path, over: threading.Event) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    while True:
        for name, prefix in sources.items():
            try:
                copy_new(s3, prefix, folder / name)
            except (BotoCoreError, ClientError) as problem:
                print(f"dewfall: {prefix} cannot be read now: {problem}", file=sys.stderr)
        if over.wait(REFRESH):
            return


def _prefix(sagemaker: Any, name: str) -> str:
    """Where a job's events are, "" when it writes none. Raises NoBoard when there is no such job."""
    from botocore.exceptions import ClientError

    try:
        config = sagemaker.describe_training_job(TrainingJobName=name).get("TensorBoardOutputConfig")
    except ClientError:
        raise NoBoard(NO_JOB.format(name=name)) from None
    return f"{config['S3OutputPath'].rstrip('/')}/{name}/tensorboard-output/" if config else ""
