"""Pipe mode and shared folders: what a command reads, epoch by epoch, and what happens to files that cannot be delivered."""

from __future__ import annotations

import dataclasses
import gzip
import struct
from pathlib import Path

from dewfall.engine.pipes import order
from dewfall.engine.ports import Channel, FileLink
from tests.engine.agents.jobs import Jobs

FILES = {"a.csv": "1,2\n", "b/c.csv": "3,4\n"}
HOME = "import os; home = os.environ.get('SAGEMAKER_BASE_DIR') or '/opt/ml'\n"
READ = HOME + "for epoch in range(2): print(epoch, ascii(open(f'{home}/input/data/train_{epoch}', 'rb').read()), flush=True)"
ENDLESS = HOME + "import time\nwith open(f'{home}/input/data/train_0', 'rb') as pipe: pipe.read()\nwhile True: time.sleep(0.05)"


def test_each_epoch_reads_every_file(jobs: Jobs) -> None:
    agent = jobs.script(READ, channels=(jobs.channel(FILES, mode="Pipe"),))
    assert jobs.wait(agent).exit_code == 0
    assert jobs.log(agent).splitlines()[-2:] == [r"0 b'1,2\n3,4\n'", r"1 b'1,2\n3,4\n'"]


def test_records_are_wrapped_and_padded(plain_jobs: Jobs) -> None:
    channel = dataclasses.replace(plain_jobs.channel({"a": "12345"}, mode="Pipe"), wrapper="RecordIO")
    agent = plain_jobs.script(READ, channels=(channel,))
    assert plain_jobs.wait(agent).exit_code == 0
    assert plain_jobs.log(agent).splitlines()[-1] == f"1 {struct.pack('<II', 0xCED7230A, 5) + b'12345' + bytes(3)!r}"


def test_compressed_files_arrive_plain(plain_jobs: Jobs, tmp_path: Path) -> None:
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b"hello"))
    channel = Channel("train", "/opt/ml/input/data/train", "Pipe", (FileLink("a.gz", str(packed), 25),), "Gzip")
    agent = plain_jobs.script(READ, channels=(channel,))
    assert plain_jobs.wait(agent).exit_code == 0
    assert plain_jobs.log(agent).splitlines()[-1] == "1 b'hello'"


def test_texts_of_a_manifest_follow_their_files(plain_jobs: Jobs) -> None:
    (image,) = plain_jobs.channel({"a.png": "PNG"}, mode="Pipe").files
    channel = Channel("train", "/opt/ml/input/data/train", "Pipe", (image, FileLink("", "", 3, "cat"), image, FileLink("", "", 3, "dog")), width=2)
    agent = plain_jobs.script(READ, channels=(channel,))
    assert plain_jobs.wait(agent).exit_code == 0
    assert plain_jobs.log(agent).splitlines()[-1] == "1 b'PNGcatPNGdog'"


def test_a_file_that_cannot_be_unpacked_ends_the_job(plain_jobs: Jobs) -> None:
    channel = dataclasses.replace(plain_jobs.channel({"a.gz": "no gzip"}, mode="Pipe"), compression="Gzip")
    status = plain_jobs.run_script(ENDLESS, channels=(channel,), grace=5.0)
    assert (status.reason, status.message.partition(": ")[0]) == ("InputError", "Channel train")
    assert "a.gz cannot be read: Not a gzipped file" in status.message


def test_a_reader_that_has_enough_gets_the_next_epoch_whole(plain_jobs: Jobs) -> None:
    code = HOME + "open(f'{home}/input/data/train_0', 'rb').read(1)\nprint(len(open(f'{home}/input/data/train_1', 'rb').read()))"
    agent = plain_jobs.script(code, channels=(plain_jobs.channel({"a": "x" * 3_000_000}, mode="Pipe"),))
    assert plain_jobs.wait(agent).exit_code == 0
    assert plain_jobs.log(agent).splitlines()[-1] == "3000000"


def test_a_seed_shuffles_each_epoch_anew_and_hosts_share_what_it_gives() -> None:
    files = tuple(FileLink(str(n), "", 0) for n in range(20))
    hosts = [Channel("train", "", "Pipe", files, seed=7, shard=(rank, 2)) for rank in range(2)]
    epochs = [[list(order(host, epoch)) for host in hosts] for epoch in range(2)]
    assert epochs[0] != epochs[1]
    assert [sorted(first + second) for first, second in epochs] == [list(range(20))] * 2
    assert list(order(hosts[0], 0)) == epochs[0][0]


def test_a_shared_folder_is_read_and_written_in_place(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "in").write_text("data")
    channel = Channel("fs", "/opt/ml/input/data/fs", "Folder", (), folder=str(tmp_path / "shared"), writable=True)
    code = HOME + "at = f'{home}/input/data/fs'\nopen(f'{at}/out', 'w').write(open(f'{at}/in').read() + '!')"
    assert jobs.run_script(code, channels=(channel,)).exit_code == 0
    assert (tmp_path / "shared" / "out").read_text() == "data!"


def test_a_folder_may_be_read_only(isolated_jobs: Jobs, tmp_path: Path) -> None:
    channel = Channel("fs", "/opt/ml/input/data/fs", "Folder", (), folder=str(tmp_path))
    agent = isolated_jobs.script("open('/opt/ml/input/data/fs/out', 'w')", channels=(channel,))
    assert isolated_jobs.wait(agent).exit_code == 1
    assert "Read-only file system" in isolated_jobs.log(agent)


def test_streamed_files_are_read_only_and_others_the_job_s_own(isolated_jobs: Jobs) -> None:
    code = (
        "open('/opt/ml/input/data/own/a', 'a').write('x')\n"
        "print(open('/opt/ml/input/data/fast/a').read(), flush=True)\n"
        "open('/opt/ml/input/data/fast/b', 'w')"
    )
    channels = (isolated_jobs.channel({"a": "1"}, name="own"), isolated_jobs.channel({"a": "2"}, name="fast", mode="FastFile"))
    agent = isolated_jobs.script(code, channels=channels)
    assert isolated_jobs.wait(agent).exit_code == 1
    assert "2" in isolated_jobs.log(agent).splitlines()
    assert "Read-only file system: '/opt/ml/input/data/fast/b'" in isolated_jobs.log(agent)
