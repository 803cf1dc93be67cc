"""The model behind Ray Serve, one replica."""

import os
import time

import lightgbm
import numpy as np
import ray
from ray import serve
from starlette.requests import Request

BATCH = os.environ["BENCH_BATCH"] == "1"


@serve.deployment(num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 0})
class Model:
    """Rows in JSON."""

    def __init__(self, path: str) -> None:
        self.model = lightgbm.Booster(model_file=path)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def together(self, rows: list) -> list:
        found = self.model.predict(np.concatenate(rows), num_threads=1)
        return np.split(found, np.cumsum([len(part) for part in rows])[:-1])

    async def __call__(self, request: Request) -> dict:
        rows = np.asarray((await request.json())["instances"], dtype=np.float64)
        found = await self.together(rows) if BATCH else self.model.predict(rows, num_threads=1)
        return {"probabilities": found.tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100_000_000)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    serve.run(Model.bind(os.environ["BENCH_MODEL"]), route_prefix="/")
    while True:
        time.sleep(60)
