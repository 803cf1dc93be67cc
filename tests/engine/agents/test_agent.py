"""An agent's life: inputs, command, outputs, last word; with namespaces where they are permitted, and always without."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from dewfall.engine.ports import Archive, Output
from tests.engine.agents.jobs import Jobs

MODEL = Output("model.tar.gz", "/opt/ml/model")
READ_AND_WRITE = """
import os
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
folder = base + "/input/data/train"
print(sorted(os.listdir(folder)), open(folder + "/a/b.csv").read())
open(folder + "/a/b.csv", "w").write("changed")
os.remove(folder + "/c.csv")
open(folder + "/new", "w").write("beside")
print(sorted(os.listdir(folder)), open(folder + "/a/b.csv").read())
"""


def test_exit_code_phases_and_outputs(jobs: Jobs) -> None:
    status = jobs.run("/bin/sh", "-c", "echo weights > ${SAGEMAKER_BASE_DIR:-/opt/ml}/model/m.txt; exit 3", outputs=(MODEL,))
    assert (status.state, status.exit_code, status.reason) == ("Exited", 3, "")
    assert [name for name, _ in status.phases] == ["Downloading", "Training", "Uploading", "Exited"]
    with tarfile.open(status.outputs[0].path) as archive:
        assert archive.extractfile("m.txt").read() == b"weights\n"  # type: ignore[union-attr]


def test_failure_file_is_the_message(jobs: Jobs) -> None:
    status = jobs.run("/bin/sh", "-c", "echo last words; printf broken > ${SAGEMAKER_BASE_DIR:-/opt/ml}/output/failure; exit 1")
    assert (status.message, status.log_tail) == ("broken", "last words")


def test_missing_command(jobs: Jobs) -> None:
    status = jobs.run("no-such-program", "x")
    assert (status.exit_code, status.message) == (127, "The command no-such-program cannot be started: no-such-program: no such program")


def test_log_has_a_time_on_every_line(jobs: Jobs) -> None:
    status = jobs.run("/bin/sh", "-c", "echo one; echo two >&2; printf three")
    lines = jobs.compute.log_file(status.id).read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines][-3:] == ["one", "two", "three"]
    assert all(abs(int(line.partition(" ")[0]) / 1000 - status.phases[-1][1]) < 60 for line in lines)


def test_inputs_can_be_changed_without_changing_what_is_stored(jobs: Jobs) -> None:
    channel = jobs.channel({"a/b.csv": "1,2", "c.csv": "3"})
    status = jobs.run_script(READ_AND_WRITE, channels=(channel,))
    assert jobs.log(status.id).splitlines()[-2:] == ["['a', 'c.csv'] 1,2", "['a', 'new'] changed"]
    assert [Path(file.source).read_text() for file in channel.files] == ["1,2", "3"]
    assert all(Path(file.source).stat().st_nlink <= 2 for file in channel.files)


def test_pipe_mode_streams_every_epoch(jobs: Jobs) -> None:
    channel = jobs.channel({"a": "1\n", "b": "2\n"}, mode="Pipe")
    read = "import os; t = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml') + '/input/data/train'; print([open(f'{t}_{n}').read() for n in range(3)])"
    status = jobs.run_script(read, channels=(channel,))
    assert jobs.log(status.id).splitlines()[-1] == str(["1\n2\n"] * 3)


def test_archives_are_unpacked(jobs: Jobs, tmp_path: Path) -> None:
    source = tmp_path / "model.tar.gz"
    _tar(source, {"code/inference.py": b"x = 1"})
    status = jobs.run(
        "/bin/sh", "-c", "cat ${SAGEMAKER_BASE_DIR:-/opt/ml}/model/code/inference.py", archives=(Archive(str(source), "/opt/ml/model"),)
    )
    assert jobs.log(status.id).splitlines()[-1] == "x = 1"


def test_archive_that_escapes_is_an_input_error(jobs: Jobs, tmp_path: Path) -> None:
    source = tmp_path / "model.tar.gz"
    _tar(source, {"../../evil": b"x"})
    status = jobs.run("true", archives=(Archive(str(source), "/opt/ml/model"),))
    assert (status.state, status.reason, status.exit_code) == ("Exited", "InputError", None)
    assert "'../../evil' leads out of the archive" in status.message


def test_missing_stored_file_is_an_input_error(jobs: Jobs) -> None:
    channel = jobs.channel({"a": "1"})
    Path(channel.files[0].source).unlink()
    status = jobs.run("true", channels=(channel,))
    assert (status.reason, status.message) == ("InputError", "Channel train: a cannot be read: No such file or directory")


def test_files_output_keeps_the_tree_and_leaves_links_out(jobs: Jobs) -> None:
    output = Output("out", "/opt/ml/processing/output", "files")
    make = "cd ${SAGEMAKER_BASE_DIR:-/opt/ml}/processing/output; mkdir d; echo 1 > d/a; ln -s d/a link; mkfifo p"
    status = jobs.run("/bin/sh", "-c", make, outputs=(output,))
    place = Path(status.outputs[0].path)
    assert {str(path.relative_to(place)) for path in place.rglob("*")} == {"d", "d/a"}
    assert status.outputs[0].size == 2


def test_output_that_is_an_input_folder_holds_both(jobs: Jobs) -> None:
    channel = jobs.channel({"given": "1"})
    output = Output("out", channel.target, "files")
    status = jobs.run("/bin/sh", "-c", f"echo 2 > ${{SAGEMAKER_BASE_DIR:-/opt/ml}}{channel.target[7:]}/made", channels=(channel,), outputs=(output,))
    assert {path.name for path in Path(status.outputs[0].path).iterdir()} == {"given", "made"}


def test_empty_output_only_when_asked(jobs: Jobs) -> None:
    outputs = (MODEL, Output("output.tar.gz", "/opt/ml/output/data", always=True))
    assert [output.name for output in jobs.run("true", outputs=outputs).outputs] == ["output.tar.gz"]


def test_environment_is_the_jobs_own(jobs: Jobs) -> None:
    status = jobs.run("/bin/sh", "-c", "env; pwd", environment={"SM_HP_X": "1", "WHERE": "/opt/ml/model:/x"}, files={"/opt/ml/code/a": ""})
    log = jobs.log(status.id)
    assert "SM_HP_X=1" in log
    assert "PYTEST_CURRENT_TEST" not in log
    assert "/code\n" in log


def test_processors_are_those_of_the_instance_type(jobs: Jobs) -> None:
    status = jobs.run_script("import os; print(len(os.sched_getaffinity(0)))", cpus=1.0)
    assert jobs.log(status.id).splitlines()[-1] == "1"


def test_without_namespaces_paths_are_rewritten_and_said_so(plain_jobs: Jobs) -> None:
    spec = {"environment": {"M": "/opt/ml/model"}, "files": {"/opt/ml/input/config/c.json": '{"p": "/opt/ml/x", "q": "/opt/mlx"}'}}
    status = plain_jobs.run("/bin/sh", "-c", "echo $M; cat /opt/ml/input/config/c.json", **spec)
    root = f"{plain_jobs.folder}/jobs/{status.id}/root"
    first, *rest = plain_jobs.log(status.id).splitlines()
    assert first == f"Dewfall: switched off by DEWFALL_NAMESPACES=0. /opt/ml is {root}/opt/ml here."
    assert rest == [f"{root}/opt/ml/model", f'{{"p": "{root}/opt/ml/x", "q": "/opt/mlx"}}']


def _tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
