"""Bias, drift, profiles and explanations against the libraries they compete with: the same files, a process each, processor time.

Peers get environments of their own on the first run. The clock begins when the data is in memory and the library imported, and what is
counted is the process's own processor time, so that other work on the machine does not matter. `BENCH_ROWS` makes it shorter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Row = tuple[str, str, str, bool]
ROWS, COLUMNS = int(os.environ.get("BENCH_ROWS", 1_000_000)), 20
CSV_BYTES = int(os.environ.get("BENCH_CSV_BYTES", 2 * 1024**3))
MEMORY = 1024  # MB that a streamed profile may take, whatever the file's size
EXPLAINED = 5_000  # rows of the path-dependent comparison
ENVIRONMENTS = Path(os.environ.get("DEWFALL_BENCH_ENVS") or Path(__file__).parent.parent / ".sdk")
PEERS = {
    "smclarify": ["smclarify", "pandas<3"],
    "evidently": ["evidently==0.7.*", "pandas<3"],
    "whylogs": ["whylogs", "numpy<2", "pandas<3", "pyarrow"],
    "shap": ["shap", "lightgbm"],
}

# Each script sees the folder of the data as FOLDER, sets `timed` to what is measured, and may set `said` to what else is to be known.
SCRIPTS = {
    "bias, ours": """
import polars as pl
from dewfall.ml.bias import POST_TRAINING
from dewfall.ml.bias_report import Facet, Question, bias_report
frame = pl.read_csv(FOLDER + "/bias.csv")
question = Question("paid", [1], [Facet("sex", ["female"])], predicted="said", group="job", post_methods=list(POST_TRAINING))
timed = lambda: bias_report(frame, question)
""",
    "bias, smclarify": """
import pandas as pd
from smclarify.bias import report
frame = pd.read_csv(FOLDER + "/bias.csv")
facet, label = report.FacetColumn("sex", ["female"]), report.LabelColumn("paid", frame["paid"], [1])
guess = report.LabelColumn("said", frame["said"], [1])
after = ["AD", "CDDPL", "DAR", "DCA", "DCR", "DI", "DPPL", "DRR", "GE", "RD", "SD", "TE"]
def timed():
    report.bias_report(frame, facet, label, report.StageType.PRE_TRAINING, metrics=["all"], group_variable=frame["job"])
    report.bias_report(frame, facet, label, report.StageType.POST_TRAINING, predicted_label_column=guess, metrics=after, group_variable=frame["job"])
""",
    "drift exact, ours": """
import numpy as np
from dewfall.ml import drift
now, then = np.load(FOLDER + "/now.npy"), np.load(FOLDER + "/then.npy")
timed = lambda: [drift.exact(now[:, i], then[:, i]) for i in range(now.shape[1])]
""",
    "drift binned, ours": """
import numpy as np
from dewfall.ml import drift
now, then = np.load(FOLDER + "/now.npy"), np.load(FOLDER + "/then.npy")
held = [drift.histogram(then[:, i]) for i in range(then.shape[1])]  # kept with the baseline
timed = lambda: [drift.binned(drift.histogram(now[:, i], one.low, one.high), one) for i, one in enumerate(held)]
found, truth = timed(), [drift.exact(now[:, i], then[:, i]) for i in range(now.shape[1])]
said = [max(abs(a.ks - b.ks) for a, b in zip(found, truth)), max(a.error for a in found)]
""",
    "drift, evidently": """
import numpy as np, pandas as pd, warnings
warnings.simplefilter("ignore")
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
now, then = (pd.DataFrame(np.load(FOLDER + f"/{name}.npy")).rename(columns=lambda i: f"c{i}") for name in ("now", "then"))
definition = DataDefinition(numerical_columns=list(now.columns))
now, then = Dataset.from_pandas(now, definition), Dataset.from_pandas(then, definition)
timed = lambda: Report([DataDriftPreset(num_method="ks")]).run(now, then)
""",
    "profile, ours": """
import numpy as np, polars as pl
from dewfall.ml.profile import profile
frame = pl.DataFrame(np.load(FOLDER + "/now.npy"), schema=[f"c{i}" for i in range(COLUMNS)])
timed = lambda: profile(frame)
""",
    "profile, whylogs": """
import numpy as np, pandas as pd, whylogs
frame = pd.DataFrame(np.load(FOLDER + "/now.npy")).rename(columns=lambda i: f"c{i}")
timed = lambda: whylogs.log(frame)
""",
    "kernel, ours": """
import lightgbm, numpy as np
from dewfall.ml.explain import kernel_shap
model, table = lightgbm.Booster(model_file=FOLDER + "/model.txt"), np.load(FOLDER + "/rows.npy")
timed = lambda: kernel_shap(lambda rows: model.predict(rows, num_threads=1), table[:100], table[100:101], num_samples=2108)
""",
    "kernel, shap": """
import lightgbm, numpy as np, shap, logging
logging.disable(logging.CRITICAL)
model, table = lightgbm.Booster(model_file=FOLDER + "/model.txt"), np.load(FOLDER + "/rows.npy")
explainer = shap.KernelExplainer(lambda rows: model.predict(rows, num_threads=1), table[100:101])
timed = lambda: explainer.shap_values(table[:100], nsamples=2108, silent=True)
""",
    "tree, ours": """
import lightgbm, numpy as np
from dewfall.ml.trees import read_trees
from dewfall.ml.treeshap import tree_shap
trees, table = read_trees(lightgbm.Booster({"num_threads": 1}, model_file=FOLDER + "/model.txt")), np.load(FOLDER + "/rows.npy")
timed = lambda: tree_shap(trees, table[:100], table[100:101])
timed()
""",
    "path, ours": """
import lightgbm, numpy as np
from dewfall.ml.treeshap import tree_shap
model, table = lightgbm.Booster(model_file=FOLDER + "/model.txt"), np.load(FOLDER + "/rows.npy")
timed = lambda: tree_shap(model, table)
found = timed().values[:20, :, 0]
truth = model.predict(table[:20], pred_contrib=True, num_threads=1)[:, :-1]
said = float(np.abs(found - truth).max() / np.abs(truth).max())
""",
    "path, LightGBM": """
import lightgbm, numpy as np
model, table = lightgbm.Booster(model_file=FOLDER + "/model.txt"), np.load(FOLDER + "/rows.npy")
timed = lambda: model.predict(table, pred_contrib=True, num_threads=1)
""",
    "streamed, ours": """
import polars as pl
from dewfall.ml.profile import profile
timed = lambda: profile(batch for batch in pl.scan_csv(FOLDER + "/large.csv").collect_batches(chunk_size=200_000, maintain_order=True))
""",
}
FRAME = """
import json, resource, sys, time
FOLDER, COLUMNS, said = sys.argv[1], int(sys.argv[2]), None
exec(sys.argv[3])
began = time.process_time()
timed()
print(json.dumps([time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, said]))
"""


def responsible() -> list[Row]:
    """Every comparison, in one run."""
    with tempfile.TemporaryDirectory(prefix="dewfall-bench-") as name:
        folder = Path(name)
        make_data(folder)
        wanted = os.environ.get("BENCH_ONLY", "").split(",")
        return [row for measure in MEASURES if wanted == [""] or measure.__name__ in wanted for row in measure(folder)]


def bias(folder: Path) -> list[Row]:
    """All metrics but the flip test, which is no matter of counts."""
    ours, theirs = run(folder, "bias, ours"), run(folder, "bias, smclarify", "smclarify")
    return [versus(f"20 bias metrics of {ROWS:,} raw rows", theirs[0] / ours[0], f"smclarify ({ours[0]:.3f} : {theirs[0]:.2f} s)", 50)]


def drift(folder: Path) -> list[Row]:
    """Kolmogorov–Smirnov of every column."""
    exact, binned, theirs = run(folder, "drift exact, ours"), run(folder, "drift binned, ours"), run(folder, "drift, evidently", "evidently")
    what = f"drift of {ROWS:,} × {COLUMNS}"
    off, bound = binned[2]
    return [
        versus(f"{what}, exact", theirs[0] / exact[0], f"Evidently ({exact[0]:.2f} : {theirs[0]:.1f} s)", 15),
        versus(f"{what}, binned (off by {off:.1e}, bound {bound:.1e})", theirs[0] / binned[0], f"Evidently ({binned[0]:.3f} s)", 200),
    ]


def profile(folder: Path) -> list[Row]:
    """Statistics with their sketches."""
    ours, theirs = run(folder, "profile, ours"), run(folder, "profile, whylogs", "whylogs")
    return [versus(f"profile of {ROWS:,} × {COLUMNS}", theirs[0] / ours[0], f"whylogs ({ours[0]:.2f} : {theirs[0]:.1f} s)", 20)]


def explanations(folder: Path) -> list[Row]:
    """A LightGBM model of 500 trees and 30 features."""
    kernel, theirs, tree = run(folder, "kernel, ours"), run(folder, "kernel, shap", "shap"), run(folder, "tree, ours")
    path, library = run(folder, "path, ours"), run(folder, "path, LightGBM")
    return [
        versus("Kernel SHAP, 100 rows, 2,108 samples", theirs[0] / kernel[0], f"shap ({kernel[0]:.2f} : {theirs[0]:.2f} s)", 2),
        versus("the same by the trees, exactly", theirs[0] / tree[0], f"shap's Kernel SHAP ({tree[0] * 1000:.0f} ms)", 300),
        versus(
            f"path-dependent TreeSHAP, {EXPLAINED:,} rows (off by {path[2]:.0e})",
            library[0] / path[0],
            f"LightGBM ({path[0]:.2f} : {library[0]:.2f} s)",
            3,
        ),
    ]


def streamed(folder: Path) -> list[Row]:
    """The memory that a large file's profile takes."""
    seconds, peak, _ = run(folder, "streamed, ours")
    size = (folder / "large.csv").stat().st_size / 1024**3
    return [(f"memory of the profile of a {size:.1f} GB CSV file", f"{peak:.0f} MB ({seconds:.0f} s)", f"≤ {MEMORY} MB", peak <= MEMORY)]


MEASURES: tuple[Callable[[Path], list[Row]], ...] = (bias, drift, profile, explanations, streamed)


def versus(what: str, ratio: float, against: str, goal: float) -> Row:
    """A row of the table."""
    return what, f"{ratio:.1f} × {against}", f"≥ {goal:g} ×", ratio >= goal


def run(folder: Path, script: str, peer: str = "") -> tuple[float, float, Any]:
    """(processor seconds, MB at most, what the script said) of one script in a process of its own."""
    python = environment(peer) if peer else Path(sys.executable)
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    command = [str(python), "-c", FRAME, str(folder), str(COLUMNS), SCRIPTS[script]]
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: tuple[float, float, Any] = tuple(json.loads(done.stdout.splitlines()[-1]))
    return found


def environment(peer: str) -> Path:
    """The interpreter of a peer's environment, made on the first run."""
    place = ENVIRONMENTS / peer
    if not (place / ".done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", *PEERS[peer]], check=True)
        (place / ".done").touch()
    return place / "bin" / "python"


def make_data(folder: Path) -> None:
    """Files that both sides read."""
    import lightgbm
    import polars as pl

    rng = np.random.default_rng(0)
    sex, job = rng.choice(["female", "male"], ROWS), rng.choice([f"job {i}" for i in range(10)], ROWS)
    paid, said = (rng.random(ROWS) < 0.3).astype(int), (rng.random(ROWS) < 0.35).astype(int)
    pl.DataFrame({"sex": sex, "paid": paid, "said": said, "job": job}).write_csv(folder / "bias.csv")
    now = rng.normal(size=(ROWS, COLUMNS))
    np.save(folder / "now.npy", np.asfortranarray(now))
    np.save(folder / "then.npy", np.asfortranarray(rng.normal(0.1, 1.1, size=(ROWS, COLUMNS))))
    table = rng.normal(size=(20_000, 30))
    target = table[:, 0] * table[:, 1] + np.sin(table[:, 2]) + table[:, 3:8].sum(axis=1) + rng.normal(size=len(table)) * 0.3
    lightgbm.train({"num_leaves": 31, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(table, target), 500).save_model(folder / "model.txt")
    np.save(folder / "rows.npy", table[:EXPLAINED])
    part = pl.DataFrame(now[:100_000], schema=[f"c{i}" for i in range(COLUMNS)]).write_csv().encode()
    head, _, body = part.partition(b"\n")
    with (folder / "large.csv").open("wb") as file:
        file.write(head + b"\n")
        while file.tell() < CSV_BYTES:
            file.write(body)
