"""The model called inside a bare ASGI function, with the same answer: what no server around a model can beat by much."""

import json
import os

import lightgbm
import numpy as np

model = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])


async def app(scope, receive, send):
    """Read rows, predict, answer."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if dict(scope["headers"]).get(b"content-type") == b"text/csv":
        rows = np.array([line.split(b",") for line in body.splitlines()], dtype=np.float64)
    else:
        rows = np.asarray(json.loads(body)["instances"], dtype=np.float64)
    found = model.predict(rows, num_threads=1)
    answer = json.dumps({"probabilities": np.column_stack([1 - found, found]).tolist()}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})
