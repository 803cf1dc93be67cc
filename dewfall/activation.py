"""`dewfall.activate()`: this Python process, a notebook say, talks to Dewfall from here on.

    import dewfall; dewfall.activate()
    import boto3, sagemaker

Sets the variables of `dewfall env`, sends clients that hard-code an AWS host to this server, and shortens the SageMaker SDKs' sleeps.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from dewfall.environment import exports
from dewfall.hook import dewfall_waits
from dewfall.settings import read_settings

AWS_HOST = re.compile(r"(^|\.)(amazonaws\.com(\.cn)?|api\.aws)$")


def activate(url: str = "") -> str:
    """Point this process at the server of `url`, or of the environment's DEWFALL_HOST and DEWFALL_PORT. Returns its URL.

    Raises ConnectionError when no server answers there, so that nothing goes to AWS by mistake.
    """
    from dewfall.launch import health, known

    settings = read_settings()
    if url:
        address = urlsplit(url)
        settings = replace(settings, host=address.hostname or settings.host, port=address.port or settings.port)
    if health(settings.endpoint) is None:
        raise ConnectionError(f"no Dewfall answers at {settings.endpoint}; start one with `dewfall up -d`")
    os.environ.update(exports(known(settings)))
    dewfall_waits.install()
    _redirect(settings.endpoint)
    return settings.endpoint


def _redirect(endpoint: str) -> None:
    """Clients made with an explicit AWS host (the SageMaker SDKs' STS clients) come here too."""
    try:
        from botocore.session import Session
    except ImportError:
        print("dewfall: boto3 is not installed here; only the variables are set", file=sys.stderr)
        return
    original = getattr(Session.create_client, "dewfall_original", Session.create_client)

    def create_client(self: Any, *arguments: Any, **options: Any) -> Any:
        if AWS_HOST.search(urlsplit(options.get("endpoint_url") or "").hostname or ""):
            options["endpoint_url"] = endpoint
        return original(self, *arguments, **options)

    create_client.dewfall_original = original  # type: ignore[attr-defined]
    Session.create_client = create_client
