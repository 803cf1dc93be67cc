"""SageMaker SDK v2's Clarify on pictures: heat maps of what a classifier of digits looks at, and of objects that another model finds.

The folder holds `pictures/*.png` and `weights.npz`, a softmax regression over the pictures' pixels, and `scene/*.png` with light things.
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path

import sagemaker
from sagemaker import clarify
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.sklearn import SKLearnModel

FOLDER = Path(sys.argv[1])
INFERENCE = """
import io, json, pathlib
import numpy as np
from PIL import Image

def model_fn(folder):
    held = np.load(pathlib.Path(folder) / "weights.npz")
    return held["weights"], held["bias"], int(len(held["weights"]) ** 0.5)

def input_fn(body, kind):
    assert kind == "image/jpeg", kind
    return Image.open(io.BytesIO(body)).convert("L")

def predict_fn(picture, held):
    weights, bias, side = held
    raw = np.asarray(picture.resize((side, side), Image.BOX), float).ravel() / 255 @ weights + bias
    shares = np.exp(raw - raw.max())
    return (shares / shares.sum()).tolist()

def output_fn(found, accept):
    return json.dumps(found), "application/json"
"""


DETECTOR = """
import io, json
import numpy as np
from PIL import Image
from scipy import ndimage

def model_fn(folder):
    return None

def input_fn(body, kind):
    assert kind == "image/jpeg", kind
    return np.asarray(Image.open(io.BytesIO(body)).convert("L"), float)

def predict_fn(picture, model):
    height, width = picture.shape
    found = []
    for rows, columns in ndimage.find_objects(ndimage.label(picture > 150)[0]):
        if columns.stop - columns.start > 6 and rows.stop - rows.start > 6:
            share = (picture[rows, columns] > 150).mean()
            wide = float(columns.stop - columns.start > 1.4 * (rows.stop - rows.start))
            found.append([wide, share, columns.start / width, rows.start / height, columns.stop / width, rows.stop / height])
    return found

def output_fn(found, accept):
    return json.dumps({"prediction": found}), "application/json"
"""


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
(FOLDER / "inference.py").write_text(INFERENCE)
(FOLDER / "detector.py").write_text(DETECTOR)
with tarfile.open(FOLDER / "model.tar.gz", "w:gz") as tar:
    tar.add(FOLDER / "weights.npz", "weights.npz")
artifact = session.upload_data(str(FOLDER / "model.tar.gz"), key_prefix="digits")
model = SKLearnModel(artifact, role, str(FOLDER / "inference.py"), framework_version="1.2-1", sagemaker_session=session, name="digits")
model.create(instance_type="ml.m5.large")

pictures = S3Uploader.upload(str(FOLDER / "pictures"), f"s3://{bucket}/digits/pictures")
output = f"s3://{bucket}/digits/out"
processor = clarify.SageMakerClarifyProcessor(role=role, instance_count=1, instance_type="ml.m5.xlarge", sagemaker_session=session)
processor.run_explainability(
    data_config=clarify.DataConfig(s3_data_input_path=pictures, s3_output_path=output, dataset_type="application/x-image"),
    model_config=clarify.ModelConfig(model_name="digits", instance_type="ml.m5.xlarge", instance_count=1, content_type="image/jpeg"),
    explainability_config=clarify.SHAPConfig(
        baseline=S3Uploader.upload(str(FOLDER / "black.png"), f"s3://{bucket}/digits/baseline"),
        num_samples=100,
        seed=0,
        image_config=clarify.ImageConfig(model_type="IMAGE_CLASSIFICATION", num_segments=20, segment_compactness=5),
    ),
    model_scores=clarify.ModelPredictedLabelConfig(label_headers=[f"digit {i}" for i in range(10)]),
    logs=False,
)
files = sorted(uri.removeprefix(output + "/") for uri in S3Downloader.list(output))
S3Downloader.download(output, str(FOLDER / "out"))
tell(files=files, images=json.loads((FOLDER / "out" / "analysis.json").read_text())["explanations"]["images"])

SKLearnModel(artifact, role, str(FOLDER / "detector.py"), framework_version="1.2-1", sagemaker_session=session, name="things").create(
    instance_type="ml.m5.large"
)
scene = S3Uploader.upload(str(FOLDER / "scene"), f"s3://{bucket}/things/scene")
output = f"s3://{bucket}/things/out"
processor.run_explainability(
    data_config=clarify.DataConfig(s3_data_input_path=scene, s3_output_path=output, dataset_type="application/x-image"),
    model_config=clarify.ModelConfig(model_name="things", instance_type="ml.m5.xlarge", instance_count=1, content_type="image/jpeg"),
    explainability_config=clarify.SHAPConfig(
        num_samples=60,
        seed=0,
        image_config=clarify.ImageConfig(
            model_type="OBJECT_DETECTION", num_segments=12, segment_compactness=5, max_objects=2, iou_threshold=0.5, context=1.0
        ),
    ),
    model_scores=clarify.ModelPredictedLabelConfig(probability="prediction", label_headers=["tall", "wide"]),
    logs=False,
)
files = sorted(uri.removeprefix(output + "/") for uri in S3Downloader.list(output))
S3Downloader.download(output, str(FOLDER / "found"))
lines = [json.loads(line) for line in (FOLDER / "found" / "explanations_shap" / "out.jsonl").read_text().splitlines()]
tell(scene=files, things=json.loads((FOLDER / "found" / "analysis.json").read_text())["explanations"]["images"], local=lines)

end = time.monotonic() + 120  # the job asked for its endpoint's deletion, which takes its time
while (left := session.sagemaker_client.list_endpoints(NameContains="clarify")["Endpoints"]) and time.monotonic() < end:
    time.sleep(0.2)
tell(left=len(left))
