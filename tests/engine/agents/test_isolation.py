"""What an isolated instance sees: its own /opt/ml and hosts, and nobody else's data."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dewfall.engine.namespaces import probe
from tests.engine.agents.jobs import Jobs

SERVER = """
import http.server, os, socketserver, sys, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/outside":
            body = urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"]).read()
        else:
            body = b"pong"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_two_instances_have_their_own_opt_ml(isolated_jobs: Jobs) -> None:
    write = "echo {0} > /opt/ml/model/m; cat /opt/ml/model/m; ls /opt/ml/model"
    agents = [isolated_jobs.start("/bin/sh", "-c", write.format(n)) for n in range(2)]
    assert [isolated_jobs.wait(agent).exit_code for agent in agents] == [0, 0]
    assert [isolated_jobs.log(agent) for agent in agents] == ["0\nm\n", "1\nm\n"]
    assert not Path("/opt/ml/model").exists()


def test_hosts_are_this_machine(isolated_jobs: Jobs) -> None:
    resolve = "import socket; print(socket.gethostbyname('algo-1'), socket.gethostbyname('algo-2'))"
    status = isolated_jobs.run_script(resolve, hosts=("algo-1", "algo-2"))
    assert isolated_jobs.log(status.id) == "127.0.0.1 127.0.0.1\n"


def test_the_data_folder_is_hidden_but_for_the_own_folder(isolated_jobs: Jobs) -> None:
    channel = isolated_jobs.channel({"a": "1"})
    other = isolated_jobs.run("true")
    agent = isolated_jobs.start("/bin/sh", "-c", f"ls {isolated_jobs.folder} {isolated_jobs.folder}/jobs", channels=(channel,))
    assert isolated_jobs.wait(agent).exit_code == 0
    listing = isolated_jobs.log(agent).split()
    assert agent in listing
    assert other.id not in listing
    assert "blobs" not in listing


def test_nothing_that_leads_to_a_stored_file_can_be_written(isolated_jobs: Jobs) -> None:
    channel = isolated_jobs.channel({"a": "1"})
    agent = "training-job.0.us-east-1.w.1"
    linked = isolated_jobs.folder / "jobs" / agent / "inputs" / channel.target[1:] / "a"
    status = isolated_jobs.wait(isolated_jobs.start("/bin/sh", "-c", f"cat {linked}; echo 2 > {linked}", channels=(channel,), id=agent))
    assert status.exit_code != 0
    assert "Read-only file system" in isolated_jobs.log(agent)
    assert Path(channel.files[0].source).read_text() == "1"


@pytest.fixture
def elsewhere() -> Iterator[Jobs]:
    """Jobs of a data folder that does not lie below /tmp."""
    if probe().mode == "none":
        pytest.skip(probe().reason)
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    opened = Jobs(folder / "data")
    yield opened
    opened.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_two_instances_have_their_own_tmp(elsewhere: Jobs) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as machines:
        write = f"ls -A /tmp | grep {Path(machines.name).name}; echo {{0}} > /tmp/dewfall-scratch; cat /tmp/dewfall-scratch; stat -c %a /tmp"
        agents = [elsewhere.start("/bin/sh", "-c", write.format(n)) for n in range(2)]
        assert [elsewhere.wait(agent).exit_code for agent in agents] == [0, 0]
    assert [elsewhere.log(agent) for agent in agents] == ["0\n1777\n", "1\n1777\n"]
    assert not Path("/tmp/dewfall-scratch").exists()


def test_of_the_machines_tmp_an_instance_sees_what_it_is_told_of(elsewhere: Jobs, tmp_path: Path) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("temporary folders lie elsewhere here")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "helper.py").write_text("word = 'helped'")
    (tmp_path / "mine" / "main.py").write_text(f"import helper, os; print(helper.word, os.listdir({str(tmp_path)!r}))")
    (tmp_path / "other").write_text("")
    status = elsewhere.run(sys.executable, str(tmp_path / "mine" / "main.py"))
    assert elsewhere.log(status.id) == "helped ['mine']\n"


def test_below_tmp_the_machines_is_shared(isolated_jobs: Jobs, tmp_path: Path) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("temporary folders lie elsewhere here")
    assert isolated_jobs.run("/bin/sh", "-c", f"echo 1 > {tmp_path}/seen").exit_code == 0
    assert (tmp_path / "seen").read_text() == "1\n"


@pytest.fixture
def outside() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the server")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_two_replicas_insist_on_the_same_port_and_reach_the_server(isolated_jobs: Jobs, outside: str) -> None:
    if not probe().network:
        pytest.skip("no network namespaces here")
    replicas = [
        isolated_jobs.start("python", "-c", SERVER, "8080", kind="replica", port=8080, environment={"AWS_ENDPOINT_URL": outside}) for _ in range(2)
    ]
    for agent in replicas:
        status = isolated_jobs.wait(agent, "Running")
        assert status.state == "Running", isolated_jobs.log(agent)
        assert get(status.address, "/outside") == b"the server"
        isolated_jobs.compute.stop(agent)
        assert isolated_jobs.wait(agent).reason == "Stopped"


def get(address: str, path: str) -> bytes:
    """The body of one answer, over the unix socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(address.removeprefix("unix:"))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with sock.makefile("rb") as answer:
            return answer.read().partition(b"\r\n\r\n")[2]


@pytest.mark.slow
def test_a_normal_user_has_it_too(tmp_path: Path) -> None:
    setpriv, python = shutil.which("setpriv"), "/usr/bin/python3"
    if os.geteuid() != 0 or setpriv is None or not Path(python).exists():
        pytest.skip("needs root to become somebody else, and a Python that everybody may run")
    script = Path(__file__).with_name("unprivileged.py")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent != Path("/") and parent.stat().st_uid == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    become = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*become, python, "-B", str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split("\n")[:2] == ["user", "Exited 0"], done.stdout + done.stderr
    assert sys.version_info >= (3, 11)
