"""The model behind BentoML, one worker."""

import os

import bentoml
import lightgbm
import numpy as np

BATCH = os.environ["BENCH_BATCH"] == "1"
OPTIONS = {"batchable": True, "batch_dim": 0, "max_batch_size": 3200, "max_latency_ms": 1000} if BATCH else {}


@bentoml.service(workers=1, traffic={"timeout": 60})
class Model:
    """Rows in JSON."""

    def __init__(self) -> None:
        self.model = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])

    @bentoml.api(**OPTIONS)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.model.predict(instances, num_threads=1)
