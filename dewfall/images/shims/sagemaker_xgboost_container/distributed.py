"""Training on several hosts, as AWS's examples call it."""

from collections.abc import Callable
from typing import Any


def rabit_run(
    exec_fun: Callable[..., Any],
    args: dict[str, Any],
    include_in_training: bool,
    hosts: list[str],
    current_host: str,
    first_port: int | None = None,
    second_port: int | None = None,
    max_connect_attempts: int | None = None,
    connect_retry_timeout: int = 3,
    update_rabit_args: bool = False,
) -> None:
    """Run the function on every host that is to be included, in XGBoost's own communicator; ports and attempts are ours to choose."""
    if len(hosts) == 1:
        if include_in_training:
            exec_fun(**({**args, "is_master": True} if update_rabit_args else args))
        return
    from dewfall.images.builtin.xgboost.together import communicator

    with communicator(included=include_in_training) as is_master:
        if is_master is not None:
            exec_fun(**({**args, "is_master": is_master} if update_rabit_args else args))
