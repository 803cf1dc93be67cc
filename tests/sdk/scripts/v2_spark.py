"""SageMaker SDK v2's PySparkProcessor as a user writes it: a script with a module, a configuration and event logs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.spark.processing import PySparkProcessor

FOLDER = Path(sys.argv[1])
APP = """
import argparse
from pyspark.sql import SparkSession, functions as F
from names import COLUMN

parser = argparse.ArgumentParser()
parser.add_argument("--least", type=int)
least = parser.parse_args().least
spark = SparkSession.builder.appName("sums").getOrCreate()
print("partitions", spark.conf.get("spark.sql.shuffle.partitions"))
rows = spark.read.csv("file:///opt/ml/processing/input/data", header=True, inferSchema=True)
sums = rows.where(F.col("n") >= least).groupBy(COLUMN).agg(F.sum("n").alias("total")).orderBy(COLUMN)
sums.coalesce(1).write.mode("overwrite").json("file:///opt/ml/processing/output/sums")
spark.stop()
"""
(FOLDER / "app.py").write_text(APP)
(FOLDER / "names.py").write_text("COLUMN = 'kind'\n")
(FOLDER / "data.csv").write_text("kind,n\na,1\nb,2\na,3\nb,40\n")
session = sagemaker.Session()
bucket = session.default_bucket()
processor = PySparkProcessor(
    base_job_name="sums", framework_version="3.3", role=sagemaker.get_execution_role(), instance_count=2, instance_type="ml.m5.xlarge"
)
processor.run(
    submit_app=str(FOLDER / "app.py"),
    submit_py_files=[str(FOLDER / "names.py")],
    arguments=["--least", "2"],
    inputs=[ProcessingInput(source=str(FOLDER / "data.csv"), destination="/opt/ml/processing/input/data")],
    outputs=[ProcessingOutput(source="/opt/ml/processing/output/sums", destination=f"s3://{bucket}/totals")],
    configuration=[{"Classification": "spark-defaults", "Properties": {"spark.sql.shuffle.partitions": "3"}}],
    spark_event_logs_s3_uri=f"s3://{bucket}/events",
    logs=False,
)
status = processor.latest_job.describe()["ProcessingJobStatus"]
found = session.list_s3_files(bucket, "totals/")
(part,) = (key for key in found if key.endswith(".json"))
rows = [json.loads(line) for line in session.read_s3_file(bucket, part).splitlines()]
print("FOUND " + json.dumps({"status": status, "rows": rows, "events": len(session.list_s3_files(bucket, "events/"))}), flush=True)
