"""Scripts that behave badly: what AWS would do to them, nothing left of them, and the server unimpressed."""

from __future__ import annotations

import pytest

from dewfall.engine.processes import start_time
from tests.crash.world import BUCKET, World, alive, until

pytestmark = pytest.mark.slow

FORKS = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        while True: time.sleep(1)
open("/opt/ml/model/m", "w").write("x")
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear(); os.closerange(0, 100)
        while True: time.sleep(1)
    os._exit(0)
time.sleep(0.3)
open("/opt/ml/model/m", "w").write("x")
"""
DEAF = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
open("/opt/ml/model/m", "w").write("x")
print("ready", flush=True)
while True: time.sleep(0.05)
"""
CHATTY = """
line = b"x" * 999 + b"\\n"
import sys
for _ in range(50_000): sys.stdout.buffer.write(line)
open("/opt/ml/model/m", "w").write("x")
"""
GREEDY = "kept = []\nwhile True: kept.append(bytearray(64 << 20))"
GREEDY_CHILDREN = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        kept = bytearray(1 << 30); time.sleep(60); os._exit(0)
time.sleep(60)
"""
CLOSES_OUTPUT = "import os, time\nos.close(1); os.close(2)\ntime.sleep(0.5)\nopen('/opt/ml/model/m', 'w').write('x')"
BINARY = "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 100)\nopen('/opt/ml/model/m', 'w').write('x')"
HOSTILE_TREE = """
import os, socket
model = "/opt/ml/model"
os.symlink("/etc/passwd", f"{model}/out"); os.symlink("nowhere", f"{model}/dangling"); os.symlink(".", f"{model}/loop")
os.mkfifo(f"{model}/pipe")
socket.socket(socket.AF_UNIX).bind(f"{model}/socket")
os.makedirs(f"{model}/deep/" + "/".join(["d" * 100] * 20))
open(os.fsencode(model) + b"/\\xff\\xfe", "w").write("odd")
open(f"{model}/m", "w").write("x"); os.chmod(f"{model}/m", 0)
"""
PLAIN_FILES = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}


@pytest.mark.parametrize("code", [FORKS, DAEMON], ids=["forks", "leaves its session"])
def test_children_end_with_their_job(world: World, code: str) -> None:
    world.job("job", code)
    job = world.ended("job")
    assert (job["TrainingJobStatus"], world.artifact(job)) == ("Completed", ["m"])
    until(lambda: not [line for _, line in alive() if "/opt/ml/input/data/code/main.py" in line])


def test_a_script_that_ignores_sigterm_is_killed_after_its_grace(world: World) -> None:
    """The grace is AWS's 120 seconds, which this test does not wait for: the job is Stopping, and a reset ends it at once."""
    world.job("job", DEAF)
    world.prints("job", "ready")
    world.sagemaker.stop_training_job(TrainingJobName="job")
    assert world.describe("job")["TrainingJobStatus"] == "Stopping"
    (pid,) = world.agents().values()
    world.server.reset()
    until(lambda: not start_time(pid))


def test_a_flood_of_output_arrives_whole(world: World) -> None:
    world.job("job", CHATTY)
    assert world.ended("job")["TrainingJobStatus"] == "Completed"
    logs = world.server.client("logs")
    stream = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="job/")["logStreams"][0]
    assert "lastIngestionTime" in stream


@pytest.mark.parametrize("code", [GREEDY, GREEDY_CHILDREN], ids=["one process", "many"])
def test_memory_of_the_instance_is_the_limit(world: World, code: str) -> None:
    world.job("job", code, ResourceConfig={"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 5})
    assert world.ended("job")["FailureReason"].startswith("ClientError: Please use an instance type with more memory")


def test_a_script_may_close_its_output(world: World) -> None:
    world.job("job", CLOSES_OUTPUT)
    assert world.ended("job")["TrainingJobStatus"] == "Completed"


def test_bytes_that_are_no_text_are_shown_somehow(world: World) -> None:
    world.job("job", BINARY)
    assert world.ended("job")["TrainingJobStatus"] == "Completed"
    assert world.lines("job")


def test_odd_files_do_not_keep_the_model_from_its_owner(world: World) -> None:
    world.job("job", HOSTILE_TREE)
    job = world.ended("job")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    names = world.artifact(job)
    assert {"m", "loop", "dangling"} <= set(names)
    assert "pipe" not in names


def test_what_was_packed_with_odd_files_can_be_deployed(world: World) -> None:
    world.job("job", HOSTILE_TREE)
    world.model("a", data=world.ended("job")["ModelArtifacts"]["S3ModelArtifacts"])
    world.config("a", "a")
    world.sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="a")
    found = world.settled("a")
    assert found["EndpointStatus"] == "InService", found["FailureReason"]


def test_odd_files_uncompressed(world: World) -> None:
    world.job("job", HOSTILE_TREE, OutputDataConfig=PLAIN_FILES)
    job = world.ended("job")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    keys = [item["Key"] for item in world.s3.list_objects_v2(Bucket=BUCKET, Prefix="out/job/output/model/")["Contents"]]
    assert sorted(key.rpartition("/")[2] for key in keys) == ["m", "\ufffd\ufffd"]


def test_a_path_that_is_too_long_for_a_key_fails_the_upload(world: World) -> None:
    code = "import os\nos.makedirs(d := '/opt/ml/model/' + '/'.join(['d' * 100] * 11))\nopen(d + '/file', 'w').write('x')"
    world.job("job", code, OutputDataConfig=PLAIN_FILES)
    assert world.ended("job")["FailureReason"] == "ClientError: Artifact upload failed:KeyTooLongError: Your key is too long"


def test_a_job_cannot_write_where_others_live(world: World) -> None:
    code = f"import os\nprint('sees', os.listdir({str(world.data)!r}), flush=True)\nopen('/opt/ml/model/m', 'w').write('x')"
    world.job("job", code)
    world.ended("job")
    assert "dewfall.db" not in world.prints("job", "sees")
