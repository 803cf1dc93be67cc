"""The `distribution` of an estimator: how one script becomes many processes, on one host or on all hosts of the job.

torch_distributed, pytorchddp    torchrun on every host, which meet at the first one
mpi                              mpirun on the first host; the others start what it asks them to (remote.py)
multi_worker_mirrored_strategy   TF_CONFIG for the script of every host
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dewfall.images import remote
from dewfall.images.environment import Environment, gpu_count, training_environment

TORCHRUN = ("sagemaker_torch_distributed_enabled", "sagemaker_pytorch_ddp_enabled")
MPI = "sagemaker_mpi_enabled"
MIRRORED = "sagemaker_multi_worker_mirrored_strategy_enabled"
NOT_HERE = {
    "sagemaker_distributed_dataparallel_enabled": "SageMaker's data parallel library",
    "sagemaker_parameter_server_enabled": "A parameter server",
    "sagemaker_pytorch_xla_multi_worker_enabled": "PyTorch XLA",
}
FIRST_PORT, PORTS = 21_000, 9_000  # below those from which outgoing connections take theirs
MIRRORED_PORT = 8890
MPI_OPTIONS = (
    "--allow-run-as-root", "--oversubscribe", "--tag-output", "-mca", "plm_rsh_no_tree_spawn", "1", "-bind-to", "none", "-map-by", "slot",
    "-mca", "pml", "ob1", "-mca", "btl", "^openib", "-mca", "orte_abort_on_non_zero_status", "1", "-mca", "btl_vader_single_copy_mechanism", "none",
)  # fmt: skip


def hosts_of(env: Environment) -> list[str]:
    """The hosts that the distribution runs on, the first of which leads; none when this host is not among them."""
    hosts = list(training_environment(env)["distribution_hosts"]) or list(env.hosts)
    return hosts if env.current_host in hosts else []


def launcher(env: Environment) -> list[str]:
    """What comes before the script's name; [] when it runs by itself. ValueError for what is not here."""
    for name, title in NOT_HERE.items():
        if env.parameters.get(name):
            raise ValueError(f"{title} is not available here. Use torch_distributed or mpi, or run without a distribution.")
    hosts = hosts_of(env)
    if any(env.parameters.get(name) for name in TORCHRUN) and hosts:
        return _torchrun(env, hosts)
    if env.parameters.get(MPI) and hosts:
        return _mpirun(env, hosts)
    return []


def waits(env: Environment) -> bool:
    """Whether this host runs nothing by itself, but what the leader's mpirun asks it to."""
    return bool(env.parameters.get(MPI)) and env.current_host in hosts_of(env)[1:]


def wait(env: Environment, code: Path) -> None:
    """Start what the leader asks for, until it says that all is done."""
    remote.serve(env.current_host, code)


@contextmanager
def around(env: Environment) -> Iterator[None]:
    """What surrounds the script: variables before it, and for MPI the other hosts' release when it has ended well."""
    hosts = hosts_of(env)
    if env.parameters.get(MIRRORED) and hosts:
        cluster = {"worker": [f"{remote.reach(host)}:{MIRRORED_PORT}" for host in hosts]}
        task = {"type": "worker", "index": hosts.index(env.current_host)}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "environment": "cloud", "task": task})
    yield
    if env.parameters.get(MPI):
        for host in hosts[1:]:
            remote.release(host)


def meeting_port() -> int:
    """A port that the hosts of this job agree on and other jobs on this machine are unlikely to have, one of the same name elsewhere included."""
    name = os.environ.get("TRAINING_JOB_ARN") or os.environ.get("TRAINING_JOB_NAME") or "job"
    return FIRST_PORT + zlib.crc32(f"{name} {os.environ.get('DEWFALL_HOSTS', '')}".encode()) % PORTS


def _torchrun(env: Environment, hosts: list[str]) -> list[str]:
    if find_spec("torch") is None:
        raise ValueError("torch_distributed needs PyTorch, which is not installed. Install it where Dewfall runs: pip install 'dewfall[torch]'")
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(hosts)), "--nproc_per_node", str(gpu_count() or 1)]
    words += ["--master_addr", remote.reach(hosts[0]), "--master_port", str(meeting_port())]
    return [*words, "--node_rank", str(hosts.index(env.current_host))]


def _mpirun(env: Environment, hosts: list[str]) -> list[str]:
    program = shutil.which("mpirun")
    if program is None:
        raise ValueError("MPI is not installed here. Install one where Dewfall runs (Debian: openmpi-bin), or use torch_distributed.")
    each = int(env.parameters.get("sagemaker_mpi_num_of_processes_per_host") or gpu_count() or 1)
    interface = str(env.resources.get("network_interface_name", "lo"))
    words = [program, "--host", ",".join(f"{host}:{each}" for host in hosts), "-np", str(each * len(hosts)), *MPI_OPTIONS]
    words += ["-mca", "btl_tcp_if_include", interface, "-mca", "oob_tcp_if_include", interface]
    words += ["-mca", "plm_rsh_agent", f"{sys.executable} -m dewfall.images.remote"]
    words += shlex.split(str(env.parameters.get("sagemaker_mpi_custom_mpi_options") or ""))
    return [*words, sys.executable, *(("-m", "mpi4py") if find_spec("mpi4py") else ())]
