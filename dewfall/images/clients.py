"""The clients of a container that calls the platform: its own credentials, region and endpoint, read from the environment."""

from __future__ import annotations

import os
from typing import Any

ATTEMPTS = 10  # about a minute: a server that was restarted is there again


def make_session() -> Any:
    """A botocore session whose clients try again while the server is away."""
    import botocore.session

    session = botocore.session.get_session()
    session.set_config_variable("region", os.environ.get("AWS_REGION"))
    session.set_config_variable("retry_mode", os.environ.get("AWS_RETRY_MODE", "standard"))
    session.set_config_variable("max_attempts", int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS)))
    return session
