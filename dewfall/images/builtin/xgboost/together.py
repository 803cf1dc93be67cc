"""XGBoost's own distributed mode over the hosts of a job: one tracker on the first host, a communicator on each.

Algorithm mode trains in it, and scripts do through rabit_run, so both meet in the same way.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from dewfall.images import contract
from dewfall.images.builtin import hosts

WAIT_SECONDS = 60
IN, OUT = b"1", b"0"


@contextmanager
def communicator(*, included: bool = True) -> Iterator[bool | None]:
    """Within it XGBoost sums over all hosts that are included. Gives whether this host leads; None when it is not included."""
    from xgboost import collective
    from xgboost.tracker import RabitTracker

    cluster = contract.cluster()
    tracker = None
    if cluster.is_leader:
        others = hosts.receive()
        wishes = [connection.recv(1) == IN for connection in others]
        count = sum(wishes) + int(included)
        if count:
            tracker = RabitTracker(n_workers=count, host_ip=hosts.address(cluster.hosts[0]), sortby="task")
            tracker.start()
        arguments = tracker.worker_args() if tracker else {}
        for connection in others:
            with connection:
                connection.sendall(json.dumps(arguments).encode())
    else:
        with hosts.join() as connection, connection.makefile("rb") as stream:
            connection.sendall(IN if included else OUT)
            arguments = json.loads(stream.read())
    if not included:
        yield None
    else:
        with collective.CommunicatorContext(**arguments, dmlc_task_id=f"{cluster.rank:05d}"):
            yield collective.get_rank() == 0
    if tracker is not None:
        tracker.wait_for(WAIT_SECONDS)
