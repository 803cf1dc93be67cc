"""`python -m dewfall.images.spark …`: the Spark image's `smspark-submit`, with Spark in local mode on this machine.

AWS's image makes a YARN cluster of the job's instances. Here the first host runs Spark on all processors that it may use, and the others are
done at once, for there is one machine beneath. Reading s3:// paths needs hadoop-aws among Spark's jars; inputs and outputs of the job do not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dewfall.images.contract import folders
from dewfall.images.environment import cpu_count
from dewfall.images.requirements import enter_private

CONFIGURATION = "processing/input/conf/configuration.json"
HADOOP = ("core-site", "hdfs-site", "hive-site", "spark-hive-site")
PROPERTIES = {"spark-defaults": "", **dict.fromkeys(HADOOP, "spark.hadoop.")}  # classification → what its properties' names begin with
ENVIRONMENTS = ("spark-env", "hadoop-env")
FAILED = "Algorithm Error: (caused by CalledProcessError): spark-submit returned non-zero exit status {}. See job logs for more information"
MEMORY_SHARE = 0.5  # of this machine's memory, for the driver, in which local mode runs everything


def main(words: list[str]) -> int:
    """Submit the application; its exit code."""
    options, application = parse(words)
    home = folders().home
    hosts = _read(home / "config/resourceconfig.json")
    if hosts and hosts["current_host"] != hosts["hosts"][0]:
        print(f"Spark runs on {hosts['hosts'][0]}, with all processors of this machine.", flush=True)
        return 0
    problem = missing(home)
    if problem:
        return _fail(problem, 1)
    enter_private(home)
    with tempfile.TemporaryDirectory() as scratch:
        command, environment = submission(options, application, _configuration(home), Path(scratch))
        print("Running spark-submit: " + " ".join(command), flush=True)
        code = subprocess.run(command, env=environment, check=False).returncode
    return _fail(FAILED.format(code), code if code > 0 else 1) if code else 0


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """smspark-submit's options, and the application with its arguments."""
    parser = argparse.ArgumentParser("smspark-submit", allow_abbrev=False)
    for name in ("--class", "--jars", "--py-files", "--files", "--local-spark-event-logs-dir", "--spark-event-logs-s3-uri"):
        parser.add_argument(name, default="")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("application", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    if not options.application:
        parser.error("the following arguments are required: app")
    return options, options.application


def missing(home: Path) -> str:
    """Why this job cannot run here; empty when it can."""
    if find_spec("pyspark") is None:
        return "ClientError: Spark is not installed. Install it where Dewfall runs: pip install 'dewfall[spark]'"
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        return "ClientError: Spark needs Java, which is not installed here. Install a Java runtime of version 17 where Dewfall runs."
    hosts = _read(home / "config/resourceconfig.json").get("hosts", ())
    inputs = _read(home / "config/processingjobconfig.json").get("ProcessingInputs", ())
    sharded = [one["InputName"] for one in inputs if one.get("S3Input", {}).get("S3DataDistributionType") == "ShardedByS3Key"]
    if len(hosts) > 1 and sharded:
        return f"ClientError: Input {sharded[0]} is sharded over {len(hosts)} hosts, but Spark runs on the first one here. Use FullyReplicated."
    return ""


def submission(options: argparse.Namespace, application: list[str], configuration: Any, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """spark-submit's command and environment."""
    import pyspark

    home = str(Path(pyspark.__file__).parent)
    settings, environment = defaults(scratch), dict(os.environ)
    if options.local_spark_event_logs_dir:
        Path(options.local_spark_event_logs_dir).mkdir(parents=True, exist_ok=True)
        settings |= {"spark.eventLog.enabled": "true", "spark.eventLog.dir": Path(options.local_spark_event_logs_dir).absolute().as_uri()}
    for one in configuration if isinstance(configuration, list) else [configuration]:
        apply(one, settings, environment)
    words = ["bash", f"{home}/bin/spark-submit", "--master", f"local[{cpu_count()}]"]
    for name, value in settings.items():
        words += ["--conf", f"{name}={value}"]
    for name in ("jars", "py_files", "files"):
        files = ",".join(expand(getattr(options, name), scratch / name))
        words += [f"--{name.replace('_', '-')}", files] if files else []
    words += ["--class", getattr(options, "class")] if getattr(options, "class") else []
    words += ["--verbose"] if options.verbose else []
    environment |= {"SPARK_HOME": home, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    return [*words, *expand(application[0], scratch / "application"), *application[1:]], environment


def defaults(scratch: Path) -> dict[str, str]:
    """What is set before the job's own configuration: this machine, and Dewfall's S3 for those who have hadoop-aws."""
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE) >> 20
    settings = {
        "spark.driver.memory": f"{min(memory, 8192)}m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint:
        plain = str(not endpoint.startswith("http://")).lower()
        settings |= {"spark.hadoop.fs.s3a.endpoint": endpoint, "spark.hadoop.fs.s3a.connection.ssl.enabled": plain}
    return settings


def apply(one: dict[str, Any], settings: dict[str, str], environment: dict[str, str]) -> None:
    """An EMR-style classification: properties of Spark and Hadoop, variables of their env files; others have nothing to set here."""
    kind = one.get("Classification", "")
    if kind in PROPERTIES:
        settings |= {f"{PROPERTIES[kind]}{name}": str(value) for name, value in one.get("Properties", {}).items()}
    elif kind in ENVIRONMENTS:
        for inner in one.get("Configurations", ()):
            environment |= {name: str(value) for name, value in inner.get("Properties", {}).items()}
    elif kind:
        print(f"The configuration {kind} has no effect here.", flush=True)


def expand(listed: str, target: Path) -> list[str]:
    """The files of a comma-separated list: folders by their files, objects of S3 fetched."""
    found: list[str] = []
    for item in filter(None, listed.split(",")):
        if item.startswith(("s3://", "s3a://")):
            target.mkdir(parents=True, exist_ok=True)
            found += _fetch(item, target)
        elif Path(item).is_dir():
            found += sorted(str(path) for path in Path(item).iterdir() if path.is_file())
        else:
            found.append(item)
    return found


def _fetch(uri: str, target: Path) -> list[str]:
    """An object, or all objects of a prefix, as files of the target."""
    import botocore.session

    parts = urlsplit(uri)
    s3, prefix = botocore.session.get_session().create_client("s3"), parts.path.lstrip("/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix)
    files = []
    for found in (found for page in pages for found in page.get("Contents", ()) if not found["Key"].endswith("/")):
        path = target / Path(found["Key"]).name
        path.write_bytes(s3.get_object(Bucket=parts.netloc, Key=found["Key"])["Body"].read())
        files.append(str(path))
    return files


def _configuration(home: Path) -> Any:
    return _read(home / CONFIGURATION) or []


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    output = folders().output
    output.mkdir(parents=True, exist_ok=True)
    (output / "message").write_text(message)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
