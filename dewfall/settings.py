"""Every setting, read once from the environment (DEWFALL_*) into one frozen value.

No other module of the server reads the environment, so this table is the whole list of what can be set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
DEFAULT_ROLE = "DewfallExecutionRole"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set. Defaults work on a laptop with nothing configured."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 4566
    tls_port: int = 0
    account: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION
    auth: str = "off"
    fsync: bool = False
    database: str = ""
    compute: str = "local"
    upstream: str = ""
    namespaces: bool = True
    jobs: int = 0
    instances: int = 20
    serverless_idle: int = 300
    hooks: str = ""
    images: str = ""
    prices: str = ""
    file_systems: str = ""
    spot_rate: float = 0.0
    spot_seed: int = 0
    log_level: str = "INFO"

    @property
    def endpoint(self) -> str:
        """Where clients on this machine, jobs among them, reach the server."""
        return f"http://{self._own_host}:{self.port}"

    @property
    def tls_endpoint(self) -> str:
        """The same with TLS; empty where no port is set."""
        return f"https://{self._own_host}:{self.tls_port}" if self.tls_port else ""

    @property
    def _own_host(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host
        return f"[{host}]" if ":" in host else host

    @property
    def job_slots(self) -> int:
        """How many jobs may run at once: DEWFALL_JOBS, else four per core and at least eight."""
        return self.jobs or max(8, 4 * (os.cpu_count() or 1))


def default_data_folder(environ: Mapping[str, str]) -> Path:
    """$XDG_DATA_HOME/dewfall, else ~/.local/share/dewfall."""
    home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "dewfall"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; a value of the wrong type raises ValueError naming the variable."""
    env = os.environ if environ is None else environ
    data = env.get("DEWFALL_DATA")
    return Settings(
        data=Path(data).expanduser().absolute() if data else default_data_folder(env),
        host=env.get("DEWFALL_HOST", "127.0.0.1"),
        port=_port(env, "DEWFALL_PORT", 4566),
        tls_port=_port(env, "DEWFALL_TLS_PORT", 0),
        account=_account(env, "DEWFALL_ACCOUNT", DEFAULT_ACCOUNT),
        region=env.get("DEWFALL_REGION", DEFAULT_REGION),
        auth=_choice(env, "DEWFALL_AUTH", ("off", "audit", "enforce")),
        fsync=_switch(env, "DEWFALL_FSYNC", False),
        database=env.get("DEWFALL_DATABASE", ""),
        compute=_compute(env),
        upstream=env.get("DEWFALL_UPSTREAM", ""),
        namespaces=_switch(env, "DEWFALL_NAMESPACES", True),
        jobs=_integer(env, "DEWFALL_JOBS", 0),
        instances=_integer(env, "DEWFALL_INSTANCES", 20),
        serverless_idle=_integer(env, "DEWFALL_SERVERLESS_IDLE", 300),
        hooks=env.get("DEWFALL_HOOKS", ""),
        images=env.get("DEWFALL_IMAGES", ""),
        prices=env.get("DEWFALL_PRICES", ""),
        file_systems=env.get("DEWFALL_FILE_SYSTEMS", ""),
        spot_rate=_number(env, "DEWFALL_SPOT_RATE", 0.0),
        spot_seed=_integer(env, "DEWFALL_SPOT_SEED", 0),
        log_level=_choice(env, "DEWFALL_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL")),
    )


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of 0 or more, not {text!r}")
    return value


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    port = _integer(env, name, default)
    if port > 65535:
        raise ValueError(f"{name} must be a port (0 to 65535), not {port}")
    return port


def _account(env: Mapping[str, str], name: str, default: str) -> str:
    account = env.get(name, "") or default
    if len(account) != 12 or not account.isdigit():
        raise ValueError(f"{name} must be an account (12 digits), not {account!r}")
    return account


def _switch(env: Mapping[str, str], name: str, default: bool) -> bool:
    text = env.get(name, "").lower()
    if not text:
        return default
    if text not in ("0", "1", "true", "false", "yes", "no"):
        raise ValueError(f"{name} must be 1 or 0, not {text!r}")
    return text in ("1", "true", "yes")


def _compute(env: Mapping[str, str]) -> str:
    text = env.get("DEWFALL_COMPUTE", "") or "local"
    if text != "local" and not re.fullmatch(r"ray://[^/:\s]+:\d{1,5}", text):
        raise ValueError(f"DEWFALL_COMPUTE must be local or ray://HOST:PORT, not {text!r}")
    return text


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = env.get(name, "") or choices[0]
    if text not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {text!r}")
    return text
