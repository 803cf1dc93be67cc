"""Built-in algorithms against the libraries they compete with, reading the data included: the same CSV file, a process each.

The job is the image's own command on a /opt/ml in a temporary folder, the peer a short script as a user would write it. Pairs alternate.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Row = tuple[str, str, str, bool]
PAIRS = 2
ROWS, COLUMNS = 1_000_000, 30
FEWER = 300_000
SAMPLE, QUERIES = 50_000, 5_000

PEERS = {
    "XGBoost": """
import pandas as pd, xgboost
table = pd.read_csv(PATH, header=None, dtype="float32")
data = xgboost.DMatrix(table.iloc[:, 1:], table.iloc[:, 0])
model = xgboost.train({"objective": "binary:logistic", "nthread": THREADS}, data, 20, evals=[(data, "train")], verbose_eval=True)
model.save_model(OUT + "/m.ubj")
""",
    "LightGBM": """
import pandas as pd, lightgbm
table = pd.read_csv(PATH, header=None, dtype="float32")
given = {"objective": "binary", "learning_rate": 0.1, "num_leaves": 64, "max_depth": 6, "min_data_in_leaf": 3, "feature_fraction": 0.9,
         "bagging_fraction": 0.9, "bagging_freq": 1, "num_threads": THREADS, "metric": "binary_logloss"}
cut = int(len(table) * 0.8)
train = lightgbm.Dataset(table.iloc[:cut, 1:], table.iloc[:cut, 0])
held = lightgbm.Dataset(table.iloc[cut:, 1:], table.iloc[cut:, 0], reference=train)
lightgbm.train(given, train, 20, valid_sets=[held], callbacks=[lightgbm.log_evaluation(1)]).save_model(OUT + "/m.txt")
""",
    "PCA": """
import pandas as pd, joblib
from sklearn.decomposition import PCA
joblib.dump(PCA(10).fit(pd.read_csv(PATH, header=None, dtype="float32")), OUT + "/m")
""",
    "K-Means": """
import pandas as pd, joblib
from sklearn.cluster import KMeans
joblib.dump(KMeans(10, n_init=1, random_state=0).fit(pd.read_csv(PATH, header=None, dtype="float32")), OUT + "/m")
""",
    "K-NN": """
import pandas as pd, joblib
from sklearn.neighbors import KNeighborsClassifier
table, test = pd.read_csv(PATH, header=None, dtype="float32"), pd.read_csv(TEST, header=None, dtype="float32")
model = KNeighborsClassifier(10, n_jobs=THREADS).fit(table.iloc[:, 1:].to_numpy(), table.iloc[:, 0].astype(int))
print(model.score(test.iloc[:, 1:].to_numpy(), test.iloc[:, 0].astype(int)))
joblib.dump(model, OUT + "/m")
""",
}
JOBS: dict[str, tuple[str, dict[str, str], str, int]] = {
    "XGBoost": ("dewfall.images.builtin.xgboost", {"objective": "binary:logistic", "num_round": "20"}, "text/csv", ROWS),
    "LightGBM": ("dewfall.images.builtin.lightgbm", {"num_boost_round": "20"}, "text/csv", ROWS),
    "PCA": ("dewfall.images.builtin.pca", {"num_components": "10", "mini_batch_size": "1000"}, "text/csv;label_size=0", FEWER),
    "K-Means": ("dewfall.images.builtin.kmeans", {"k": "10"}, "text/csv;label_size=0", FEWER),
    "K-NN": ("dewfall.images.builtin.knn", {"k": "10", "predictor_type": "classifier", "sample_size": str(SAMPLE)}, "text/csv", SAMPLE),
}


def algorithms() -> list[Row]:
    """Every job against its peer, and the forest against rrcf where that is installed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        return [*(_compare(name, folder) for name in JOBS), *_forest()]


def _compare(name: str, folder: Path) -> Row:
    module, given, kind, rows = JOBS[name]
    path = _write(folder / f"{rows}-{kind[-1]}.csv", rows, is_labelled=kind == "text/csv")
    test = _write(folder / "test.csv", QUERIES, is_labelled=True, seed=1) if name == "K-NN" else None
    dimension = {} if name in ("XGBoost", "LightGBM") else {"feature_dim": str(COLUMNS)}
    home = _lay_out(folder / name, given | dimension, {"train": path, **({"test": test} if test else {})}, kind)
    pairs = [(_run_peer(name, path, test, home), _run_job(module, home)) for _ in range(PAIRS)]
    ratio, work = (statistics.median(peer[part] / job[part] for peer, job in pairs) for part in (0, 1))
    seconds = statistics.median(job[0] for _, job in pairs)
    what = f"{ratio:.2f} × the library in Python ({seconds:.1f} s), {work:.2f} × in processor time"
    return f"built-in {name}, {rows:,} × {COLUMNS}, with reading", what, "≥ 0.95 ×", ratio >= 0.95


def _write(path: Path, rows: int, *, is_labelled: bool, seed: int = 0) -> Path:
    """Ten clusters; the label says on which side of a bent surface a row lies."""
    if path.exists():
        return path
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(10, COLUMNS)) * 2
    data = (centers[rng.integers(0, 10, rows)] + rng.normal(size=(rows, COLUMNS))).astype(np.float32).round(4)
    columns = [pa.array(column) for column in data.T]
    if is_labelled:
        columns.insert(0, pa.array((data[:, 0] * data[:, 1] + data[:, 2] > 0).astype(np.int8)))
    table = pa.table({str(place): column for place, column in enumerate(columns)})
    csv.write_csv(table, path, csv.WriteOptions(include_header=False))
    return path


def _lay_out(home: Path, given: dict[str, str], channels: dict[str, Path], kind: str) -> Path:
    config = home / "input" / "config"
    config.mkdir(parents=True)
    (home / "model").mkdir()
    (config / "hyperparameters.json").write_text(json.dumps(given))
    (config / "inputdataconfig.json").write_text(json.dumps({name: {"ContentType": kind, "TrainingInputMode": "File"} for name in channels}))
    for name, path in channels.items():
        folder = home / "input" / "data" / name
        folder.mkdir(parents=True)
        os.link(path, folder / "data.csv")
    return home


def _run_job(module: str, home: Path) -> tuple[float, float]:
    return _timed([sys.executable, "-m", module, "train"], {"SAGEMAKER_BASE_DIR": str(home)})


def _run_peer(name: str, path: Path, test: Path | None, home: Path) -> tuple[float, float]:
    values = {"PATH": str(path), "TEST": str(test), "OUT": str(home), "THREADS": _threads()}
    head = "".join(f"{key} = {value!r}\n" for key, value in values.items())
    return _timed([sys.executable, "-c", head + PEERS[name]], {})


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(seconds, processor seconds): the second says who works more even where the machine is busy."""
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begin, os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def _forest() -> list[Row]:
    """Growing 100 trees of 256 rows and scoring by displacement."""
    from dewfall.ml import forest

    try:
        import rrcf
    except ImportError:
        return [("random cut forest", "rrcf is not installed (pip install rrcf)", "≥ 20 ×", False)]
    data = np.random.default_rng(0).normal(size=(2_000, 10))
    few = data[:20]

    def ours() -> None:
        forest.score(forest.grow(data, trees=100, samples=256), few)

    def theirs() -> None:
        rng = np.random.default_rng(0)
        for _ in range(100):
            tree = rrcf.RCTree(data[rng.choice(len(data), 256, replace=False)])
            for place, row in enumerate(few):
                tree.insert_point(row, index=f"asked {place}")
                tree.codisp(f"asked {place}")
                tree.forget_point(f"asked {place}")

    ratio = _seconds(theirs) / _seconds(ours)
    return [("random cut forest: 100 trees, 20 rows scored", f"{ratio:.0f} × rrcf", "≥ 20 ×", ratio >= 20)]


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
