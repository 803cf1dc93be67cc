"""`python -m benchmarks.serving`: one LightGBM model behind Dewfall and behind Python's serving frameworks, on the same core, in turns.

Environments of the frameworks are made on the first run (`.sdk/bench-…`, or DEWFALL_BENCH_ENVS). All server processes of a side are pinned to
core 0, the load to the last one. Each point is the median of some pairs: Dewfall, then the other, and again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, signed
from benchmarks.measures import client
from benchmarks.peers import LOAD_CORE, MOTO, dewfall, free_port, pinned
from benchmarks.serving_load import drive

ROOT, SCRIPTS = MOTO.parent, Path(__file__).parent / "serving_peers"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/lightgbm:1"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
FEATURES, TREES = 30, 100
PACKAGES = {
    "litserve": ["litserve", "lightgbm", "numpy", "uvloop", "httptools"],
    "bentoml": ["bentoml", "lightgbm", "numpy"],
    "mlserver": ["mlserver", "mlserver-lightgbm"],
    "ray": ["ray[serve]", "lightgbm", "numpy"],
}
POINTS = ((1, 1), (1, 16), (1, 64), (100, 16))  # rows of a request, connections
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A framework: its environment ("" = ours), the command given a port and a folder, its address, and the body it wants."""

    name: str
    environment: str
    command: Callable[[int, Path], list[str]]
    path: str
    body: Callable[[np.ndarray], bytes]
    batches: bool = False
    kind: str = "application/json"


def instances(rows: np.ndarray) -> bytes:
    """Rows as most frameworks take them."""
    return json.dumps({"instances": rows.tolist()}).encode()


def lines(rows: np.ndarray) -> bytes:
    """Rows as CSV."""
    return "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()


def tensors(rows: np.ndarray) -> bytes:
    """Rows in the V2 protocol."""
    return json.dumps({"inputs": [{"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}]}).encode()


def every_peer() -> list[Peer]:
    """The bare ASGI function, and each framework without and with batching."""

    def script(name: str) -> Callable[[int, Path], list[str]]:
        return lambda port, folder: ["python", str(SCRIPTS / name)]

    def asgi(port: int, folder: Path) -> list[str]:
        return [
            "python",
            "-m",
            "uvicorn",
            "--app-dir",
            str(SCRIPTS),
            "asgi_app:app",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "--no-access-log",
        ]

    def bento(port: int, folder: Path) -> list[str]:
        return ["bentoml", "serve", "bento_app:Model", "--working-dir", str(SCRIPTS), "--port", str(port)]

    def mlserver(port: int, folder: Path) -> list[str]:
        return ["mlserver", "start", str(folder)]

    found = [Peer("in-process ASGI", "", asgi, "/", instances), Peer("in-process ASGI, CSV", "", asgi, "/", lines, kind="text/csv")]
    for batches in (False, True):
        ending = ", batching" if batches else ""
        found += [
            Peer(f"LitServe{ending}", "litserve", script("litserve_app.py"), "/predict", instances, batches),
            Peer(f"BentoML{ending}", "bentoml", bento, "/predict", instances, batches),
            Peer(f"MLServer{ending}", "mlserver", mlserver, "/v2/models/bench/infer", tensors, batches),
            Peer(f"Ray Serve{ending}", "ray", script("ray_app.py"), "/", instances, batches),
        ]
    return found


# ---------------------------------------------------------------- servers


def environment(name: str) -> Path:
    """The bin folder of a framework's environment; made when it is not there."""
    if not name:
        return Path(sys.executable).parent
    folder, done = ROOT / f"bench-{name}", ROOT / f"bench-{name}" / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        done.touch()
    return folder / "bin"


@contextmanager
def running(peer: Peer, model: Path) -> Iterator[tuple[int, Path]]:
    """(port, log) of a framework's server, alone on its core and killed with everything that it started."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="dewfall-bench-"))
    bins = environment(peer.environment)
    if peer.environment == "mlserver":
        _mlserver_files(folder, port, model, batches=peer.batches)
    program, *rest = peer.command(port, folder)
    variables = {**os.environ, "PATH": f"{bins}:{os.environ['PATH']}", "BENCH_MODEL": str(model), "BENCH_PORT": str(port)}
    variables |= {"BENCH_BATCH": str(int(peer.batches)), "BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(pinned([str(bins / program), *rest]), env=variables, stdout=out, stderr=out, start_new_session=True, cwd=folder)
    try:
        yield port, log
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Everything beneath our own child."""
    from dewfall.engine.processes import descendants, send

    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below:
        send(pid, signal.SIGKILL)


def _mlserver_files(folder: Path, port: int, model: Path, *, batches: bool) -> None:
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    batching = {"max_batch_size": 32, "max_batch_time": 0.002} if batches else {}
    about = {"name": "bench", "implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": str(model)}, **batching}
    (folder / "model-settings.json").write_text(json.dumps(about))


def deploy(url: str, model: Path) -> None:
    """The model on an endpoint `bench` of Dewfall's."""
    s3, sagemaker = client(url, "s3"), client(url, "sagemaker")
    s3.create_bucket(Bucket="bench")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(model, "model.txt")
    s3.put_object(Bucket="bench", Key="model.tar.gz", Body=packed.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz", "Environment": {"OMP_NUM_THREADS": "1"}}
    sagemaker.create_model(ModelName="bench", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "bench", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench")


def train(folder: Path) -> Path:
    """A binary classifier of TREES trees over FEATURES numbers."""
    import lightgbm

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, FEATURES))
    parameters = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, (rows[:, 0] + rows[:, 1] > 0).astype(float)), TREES)
    path = folder / "model.txt"
    booster.save_model(path)
    return path


# ---------------------------------------------------------------- the run


def plain(port: int, path: str, body: bytes, kind: str) -> bytes:
    """A request without a signature."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def wait_until_it_answers(port: int, request: bytes, log: Path) -> None:
    """A server is ready when it has answered a request."""
    end = time.perf_counter() + START_SECONDS
    while True:
        try:
            if drive(port, request, 0.2, 1).rate > 0:
                return
        except (OSError, ValueError):
            pass
        if time.perf_counter() > end:
            raise RuntimeError(f"it did not answer; the end of its log: {log.read_text()[-1500:]}")
        time.sleep(0.5)


def compare(ours: Callable[[], Load], theirs: Callable[[], Load], pairs: int) -> tuple[Load, Load, float]:
    """Medians of either side's runs, taken in turns, and of the ratios of their rates."""
    both = [(ours(), theirs()) for _ in range(pairs)]
    return _median([a for a, _ in both]), _median([b for _, b in both]), statistics.median(a.rate / max(b.rate, 0.1) for a, b in both)


def _median(loads: list[Load]) -> Load:
    return Load(*(statistics.median(getattr(load, member) for load in loads) for member in ("rate", "p50", "p99")))


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--pairs", type=int, default=5)
    options.add_argument("--only", default="", help="names that a peer's begins with, separated by commas")
    asked = options.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    table = Table("against", "rows", "connections", "Dewfall: a second, p50, p99 (ms)", "the other", "ratio", title="one LightGBM model, one core")
    rows = np.random.default_rng(1).normal(size=(100, FEATURES)).round(4)
    model = train(Path(tempfile.mkdtemp(prefix="dewfall-bench-")))
    with dewfall() as (url, _, _):
        deploy(url, model)
        port = int(url.rsplit(":", 1)[1])
        for peer in every_peer():
            if not peer.name.startswith(tuple(asked.only.split(","))):
                continue
            try:
                _measure(peer, model, (url, port), rows, asked, table)
            except (RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as problem:
                table.add_row(peer.name, "", "", "", f"not measured: {str(problem)[-300:]}", "")
            print(f"{peer.name} is done", file=sys.stderr)
    Console(width=150).print(table)


def _measure(peer: Peer, model: Path, ours: tuple[str, int], rows: np.ndarray, asked: argparse.Namespace, table: Table) -> None:
    with running(peer, model) as (port, log):
        wait_until_it_answers(port, plain(port, peer.path, peer.body(rows[:1]), peer.kind), log)
        url, own = ours
        for count, connections in POINTS:
            headers, body = {"Content-Type": peer.kind, "Accept": "application/json"}, (lines if peer.kind == "text/csv" else instances)(rows[:count])
            mine = signed(f"{url}/endpoints/bench/invocations", "sagemaker", "POST", headers, body)
            other = plain(port, peer.path, peer.body(rows[:count]), peer.kind)
            ours_run = partial(drive, own, mine, asked.seconds, connections)
            us, them, ratio = compare(ours_run, partial(drive, port, other, asked.seconds, connections), asked.pairs)
            said = [f"{load.rate:,.0f}, {load.p50:.2f}, {load.p99:.2f}" for load in (us, them)]
            table.add_row(peer.name, str(count), str(connections), *said, f"{ratio:.2f}")


if __name__ == "__main__":
    main()
