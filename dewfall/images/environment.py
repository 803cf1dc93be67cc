"""What the training toolkit tells a user's script: SM_* variables and arguments, formed as AWS's toolkit forms them.

Scripts read these names and spellings literally (sorted arguments, hyphens kept in SM_HP_*, booleans as text), so they are copied exactly.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from dewfall.images import contract

PREFIX = "sagemaker_"
TOOLKIT = (
    "sagemaker_program",
    "sagemaker_submit_directory",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "default_user_module_name",
    "_tuning_objective_metric",
    "sagemaker_s3_output",
)
DISTRIBUTED = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """A job as its script sees it: the toolkit's own settings, the user's hyperparameters, channels and hosts."""

    settings: dict[str, Any]  # the toolkit's hyperparameters: sagemaker_program and so on
    parameters: dict[str, Any]  # other sagemaker_ ones, which frameworks read
    hyperparameters: dict[str, Any]
    resources: dict[str, Any]
    inputs: dict[str, Any]
    folders: contract.Folders

    @property
    def program(self) -> str:
        return os.environ.get("SAGEMAKER_PROGRAM") or str(self.settings.get("sagemaker_program") or "")

    @property
    def source(self) -> str:
        """Where the user's code comes from: an s3 URI or a folder."""
        return str(self.settings.get("sagemaker_submit_directory") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or self.folders.code)

    @property
    def log_level(self) -> int:
        return int(self.settings.get("sagemaker_container_log_level") or os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL") or 20)

    @property
    def hosts(self) -> list[str]:
        return list(self.resources.get("hosts") or ["algo-1"])

    @property
    def current_host(self) -> str:
        return str(self.resources.get("current_host") or self.hosts[0])

    @property
    def arguments(self) -> list[str]:
        return to_arguments(self.hyperparameters)


def read_environment() -> Environment:
    """From the files under /opt/ml/input/config and the process's variables."""
    decoded = {name: decode(value) for name, value in contract.hyperparameters().items()}
    own = {name: value for name, value in decoded.items() if name in TOOLKIT or name.startswith(PREFIX)}
    return Environment(
        settings={name: value for name, value in own.items() if name in TOOLKIT},
        parameters={name: value for name, value in own.items() if name not in TOOLKIT},
        hyperparameters={name: value for name, value in decoded.items() if name not in own},
        resources=contract.read_config("resourceconfig.json"),
        inputs=contract.read_config("inputdataconfig.json"),
        folders=contract.folders(),
    )


def decode(text: str) -> Any:
    """A hyperparameter's value: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def to_arguments(values: dict[str, Any]) -> list[str]:
    """Sorted `--name value` pairs; one dash for one letter, `True`/`False`, dictionaries as a=1,b=2.

    >>> to_arguments({"n": 1, "flag": True})
    ['--flag', 'True', '-n', '1']
    """
    words = []
    for name in sorted(values):
        words += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(values[name])]
    return words


def _argument(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={part}" for name, part in sorted(value.items()))
    return "" if value is None else str(value)


def to_variables(values: dict[str, Any]) -> dict[str, str]:
    """SM_<NAME>: text as it is, None empty, anything else compact JSON with sorted keys."""
    return {f"SM_{name.upper()}": _variable(value) for name, value in values.items()}


def _variable(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def cpu_count() -> int:
    """The processors this job may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_count() -> int:
    """The GPUs this machine shows."""
    try:
        return sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))
    except OSError:
        return 0


def training_environment(env: Environment) -> dict[str, Any]:
    """SM_TRAINING_ENV: everything, as one JSON object."""
    groups = list(env.resources.get("instance_groups") or [])
    group = env.resources.get("current_group_name", "homogeneousCluster")
    names = [entry["instance_group_name"] for entry in groups]
    spread = [group] if any(env.parameters.get(name) for name in DISTRIBUTED) else []
    spread = list(env.parameters.get("sagemaker_distribution_instance_groups", spread))
    hosts = [host for entry in groups if entry["instance_group_name"] in spread for host in entry["hosts"]] if groups else list(env.hosts)
    module = env.program.removesuffix(".py") or None
    leader = (hosts or env.hosts)[0]
    return {
        "additional_framework_parameters": env.parameters,
        "channel_input_dirs": {name: str(env.folders.data / name) for name in env.inputs},
        "current_host": env.current_host,
        "current_instance_group": group,
        "current_instance_group_hosts": next((entry["hosts"] for entry in groups if entry["instance_group_name"] == group), []),
        "current_instance_type": env.resources.get("current_instance_type", "local"),
        "distribution_hosts": hosts,
        "distribution_instance_groups": spread,
        "framework_module": os.environ.get("SAGEMAKER_TRAINING_MODULE"),
        "hosts": env.hosts,
        "hyperparameters": env.hyperparameters,
        "input_config_dir": str(env.folders.config),
        "input_data_config": env.inputs,
        "input_dir": str(env.folders.home / "input"),
        "instance_groups": names,
        "instance_groups_dict": {entry["instance_group_name"]: entry for entry in groups},
        "is_hetero": len(names) > 1,
        "is_master": env.current_host == leader,
        "is_modelparallel_enabled": None,
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": os.environ.get("TRAINING_JOB_NAME"),
        "log_level": env.log_level,
        "master_hostname": leader,
        "model_dir": str(env.folders.model),
        "module_dir": env.source,
        "module_name": module,
        "network_interface_name": env.resources.get("network_interface_name", "eth0"),
        "num_cpus": cpu_count(),
        "num_gpus": gpu_count(),
        "num_neurons": 0,
        "output_data_dir": str(env.folders.output_data),
        "output_dir": str(env.folders.output),
        "output_intermediate_dir": str(env.folders.intermediate),
        "resource_config": env.resources,
        "user_entry_point": env.program or None,
    }


# Members of the training environment that scripts also get as variables of their own.
SINGLE = (
    "hosts", "network_interface_name", "user_entry_point", "resource_config", "input_data_config", "output_data_dir", "current_host",
    "current_instance_type", "current_instance_group", "current_instance_group_hosts", "instance_groups", "instance_groups_dict",
    "distribution_instance_groups", "is_hetero", "module_name", "log_level", "framework_module", "input_dir", "input_config_dir", "output_dir",
    "num_cpus", "num_gpus", "num_neurons", "model_dir", "module_dir", "output_intermediate_dir",
)  # fmt: skip


def variables(env: Environment) -> dict[str, str]:
    """Every SM_* variable, and the few others that AWS's toolkit sets."""
    whole = training_environment(env)
    values = {name: whole[name] for name in SINGLE} | {
        "hps": env.hyperparameters,
        "framework_params": env.parameters,
        "channels": sorted(env.inputs),
        "training_env": whole,
        "user_args": env.arguments,
    }
    if whole["framework_module"]:
        values["framework_module"] = whole["framework_module"]
    values |= {f"channel_{name}": path for name, path in whole["channel_input_dirs"].items()}
    values |= {f"hp_{name}": value for name, value in env.hyperparameters.items()}
    own = {
        "SAGEMAKER_JOB_NAME": str(env.settings.get("sagemaker_job_name") or os.environ.get("TRAINING_JOB_NAME", "")),
        "SAGEMAKER_REGION": str(env.settings.get("sagemaker_region") or os.environ.get("AWS_REGION", "")),
        "CURRENT_HOST": env.current_host,
    }
    return to_variables(values) | own
