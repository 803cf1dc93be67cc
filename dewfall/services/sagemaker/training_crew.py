"""A training job's agents: one spec per instance, each with its own host, share of the inputs and size.

Made anew after a crash, so that a server which was killed between two starts starts the rest of them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.crew import crew
from dewfall.engine.ports import AgentSpec, Channel
from dewfall.services.sagemaker.job_hosts import Host, hosts_of, on_host, share
from dewfall.services.sagemaker.training_inputs import CONFIG
from dewfall.services.sagemaker.training_spec import training_spec

INPUTS = f"{CONFIG}/inputdataconfig.json"


def training_hosts(document: dict[str, Any]) -> tuple[Host, ...]:
    """The job's instances."""
    return hosts_of(document["ResourceConfig"], f"{document['TrainingJobArn']} {document['CreationTime'].timestamp()}")


def training_crew(document: dict[str, Any], lead: str) -> tuple[str, ...]:
    """The ids of the job's agents, `lead` being the one of algo-1."""
    return crew(lead, len(training_hosts(document)))


def training_specs(ctx: Ctx, document: dict[str, Any], lead: str) -> list[AgentSpec]:
    """What every instance runs. Raises what `training_spec` raises."""
    base, hosts = training_spec(ctx, document, lead), training_hosts(document)
    sources = {channel["ChannelName"]: channel["DataSource"].get("S3DataSource", {}) for channel in document.get("InputDataConfig", ())}
    beside = document.get("Trial", {}).get("Beside", 1)
    specs = []
    for host in hosts:
        mine = [share(channel, sources.get(channel.name, {}), hosts, host) for channel in base.channels]
        spec = replace(on_host(base, hosts, host, CONFIG, beside=beside), channels=tuple(channel for channel in mine if channel is not None))
        specs.append(replace(spec, files=spec.files | _known_inputs(spec, base.channels)))
    return specs


def _known_inputs(spec: AgentSpec, everything: tuple[Channel, ...]) -> dict[str, str]:
    """inputdataconfig.json without the channels that are for other instance groups."""
    gone = {channel.name for channel in everything} - {channel.name for channel in spec.channels}
    if not gone:
        return {}
    known = {name: entry for name, entry in json.loads(spec.files[INPUTS]).items() if name not in gone}
    return {INPUTS: json.dumps(known)}
