"""The model behind LitServe, one worker."""

import os

import lightgbm
import litserve
import numpy as np

BATCH = os.environ["BENCH_BATCH"] == "1"


class Api(litserve.LitAPI):
    """Rows in JSON."""

    def setup(self, device):
        self.model = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])

    def decode_request(self, request):
        return np.asarray(request["instances"], dtype=np.float64)

    def batch(self, inputs):
        return inputs

    def unbatch(self, output):
        return output

    def predict(self, rows):
        if not BATCH:
            return self.model.predict(rows, num_threads=1)
        found = self.model.predict(np.concatenate(rows), num_threads=1)
        return np.split(found, np.cumsum([len(part) for part in rows])[:-1])

    def encode_response(self, output):
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    api = Api(max_batch_size=32, batch_timeout=0.002) if BATCH else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
