"""LightGBM on several hosts: its own data-parallel sockets between them, each host with its part of the rows.

All hosts judge by the same rows, so that early stopping stops all of them at the same round.
"""

import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import hosts
from dewfall.images.builtin.tabular import Data

SHARDED = "ShardedByS3Key"
MINUTES = 5  # that hosts wait for each other


def is_alone() -> bool:
    """Whether the job has one host."""
    return len(contract.cluster().hosts) == 1


def share(training: Data, validation: Data) -> tuple[Data, Data, NDArray[np.float64]]:
    """This host's rows to train on, everybody's rows to judge by, and the labels that occur on any host."""
    us, channels = contract.cluster(), contract.channels()
    home = channels.get("training") or channels["train"]
    if home.distribution != SHARDED:
        training = Data(training.rows[us.rank :: len(us.hosts)], training.labels[us.rank :: len(us.hosts)])
    if channels.get("validation", home).distribution == SHARDED:
        parts = hosts.everywhere({"rows": validation.rows, "labels": validation.labels})
        validation = Data(np.concatenate([part["rows"] for part in parts]), np.concatenate([part["labels"] for part in parts]))
    known = hosts.everywhere({"labels": np.unique(np.concatenate([training.labels, validation.labels]))})
    return training, validation, np.unique(np.concatenate([part["labels"] for part in known]))


def parameters() -> dict[str, Any]:
    """Where LightGBM's hosts listen. All are this machine, each with a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ports = [int(part["port"]) for part in hosts.everywhere({"port": np.array(port)})]
    machines = ",".join(f"127.0.0.1:{one}" for one in ports)
    return {"machines": machines, "local_listen_port": port, "num_machines": len(ports), "time_out": MINUTES, "tree_learner": "data"}
