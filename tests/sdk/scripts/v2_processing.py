"""SageMaker SDK v2's processors as a user writes them: ScriptProcessor, SKLearnProcessor, FrameworkProcessor. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker import image_uris
from sagemaker.processing import FrameworkProcessor, ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.s3 import S3Downloader
from sagemaker.sklearn import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor

FOLDER = Path(sys.argv[1])
ROOT = "/opt/ml/processing"


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role = sagemaker.get_execution_role()
image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")

(FOLDER / "data.csv").write_text("1,2\n3,4\n5,6\n7,8\n")
(FOLDER / "split.py").write_text(
    f"""
import argparse, os
import pandas as pd
from sklearn.model_selection import train_test_split
parser = argparse.ArgumentParser()
parser.add_argument("--ratio", type=float)
options = parser.parse_args()
table = pd.read_csv("{ROOT}/input/data.csv", header=None)
train, test = train_test_split(table, test_size=options.ratio, random_state=0)
os.makedirs("{ROOT}/train", exist_ok=True)
train.to_csv("{ROOT}/train/train.csv", header=False, index=False)
test.to_csv("{ROOT}/test/test.csv", header=False, index=False)
print("rows=%d" % len(table))
"""
)
inputs = [ProcessingInput(source=str(FOLDER / "data.csv"), destination=f"{ROOT}/input")]
outputs = [ProcessingOutput(source=f"{ROOT}/{name}", output_name=name) for name in ("train", "test")]

sklearn = SKLearnProcessor(framework_version="1.2-1", role=role, instance_type="ml.m5.large", instance_count=1, base_job_name="split")
sklearn.run(code=str(FOLDER / "split.py"), inputs=inputs, outputs=outputs, arguments=["--ratio", "0.25"])
job = sklearn.jobs[-1].describe()
train = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
tell(sklearn=job["ProcessingJobStatus"], rows=S3Downloader.read_file(f"{train}/train.csv").count("\n"))

script = ScriptProcessor(image_uri=image, command=["python3"], role=role, instance_type="ml.m5.large", instance_count=1)
script.run(code=str(FOLDER / "split.py"), inputs=inputs, outputs=outputs, arguments=["--ratio", "0.5"], logs=False)
tell(script=script.jobs[-1].describe()["ProcessingJobStatus"])
(FOLDER / "fail.py").write_text("raise SystemExit(3)")
try:
    script.run(code=str(FOLDER / "fail.py"), logs=False)
except sagemaker.exceptions.UnexpectedStatusException as error:
    tell(failure=str(error))

source = FOLDER / "source"
source.mkdir()
(source / "helper.py").write_text("def shout(text):\n    return text.upper()\n")
(source / "requirements.txt").write_text("numpy\n")
(source / "main.py").write_text(
    f"""
import sys
from helper import shout
import os
os.makedirs("{ROOT}/output", exist_ok=True)
open("{ROOT}/output/said.txt", "w").write(shout(" ".join(sys.argv[1:])))
"""
)
framework = FrameworkProcessor(SKLearn, framework_version="1.2-1", role=role, instance_type="ml.m5.large", instance_count=1)
said = ProcessingOutput(source=f"{ROOT}/output", output_name="said")
framework.run(code="main.py", source_dir=str(source), outputs=[said], arguments=["hello"])
job = framework.jobs[-1].describe()
uri = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
tell(framework=job["ProcessingJobStatus"], said=S3Downloader.read_file(f"{uri}/said.txt"))
