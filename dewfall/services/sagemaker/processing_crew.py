"""A processing job's agents: one spec per instance, each with its own host and share of the inputs.

Made anew after a crash, so that a server which was killed between two starts starts the rest of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.crew import crew
from dewfall.engine.ports import AgentSpec
from dewfall.services.sagemaker.job_hosts import Host, hosts_of, on_host, share
from dewfall.services.sagemaker.processing_spec import CONFIG, processing_spec


def processing_hosts(document: dict[str, Any]) -> tuple[Host, ...]:
    """The job's instances."""
    return hosts_of(document["ProcessingResources"]["ClusterConfig"], f"{document['ProcessingJobArn']} {document['CreationTime'].timestamp()}")


def processing_crew(document: dict[str, Any], lead: str) -> tuple[str, ...]:
    """The ids of the job's agents, `lead` being the one of algo-1."""
    return crew(lead, len(processing_hosts(document)))


def processing_specs(ctx: Ctx, document: dict[str, Any], lead: str) -> list[AgentSpec]:
    """What every instance runs. Raises what `processing_spec` raises."""
    base, hosts = processing_spec(ctx, document, lead), processing_hosts(document)
    sources = {given["InputName"]: given.get("S3Input", {}) for given in document.get("ProcessingInputs", ())}
    specs = []
    for host in hosts:
        mine = [share(channel, sources.get(channel.name, {}), hosts, host) for channel in base.channels]
        specs.append(replace(on_host(base, hosts, host, CONFIG), channels=tuple(channel for channel in mine if channel is not None)))
    return specs
