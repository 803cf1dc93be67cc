"""What a rule does when it fires: stop the training job, or tell somebody by SNS.

The actions are those of the SDK's rule_configs: `{"name": "stoptraining" | "email" | "sms", …}`, one or a list of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

TOPIC = "SMDebugRules"
PROTOCOLS = ("email", "sms")


def read_actions(text: str) -> list[dict[str, str]]:
    """The actions of `action_json`, whose quotes the SDK escapes. Raises ValueError when it is no JSON."""
    if not text:
        return []
    found = json.loads(text.replace('\\"', '"'))
    return found if isinstance(found, list) else [found]


def act(action: dict[str, str], rule: str, job: str, message: str, client: Callable[[str], Any]) -> str:
    """Do it; a line for the log. `client` makes boto3 clients."""
    name = action.get("name", "").lower()
    if name == "stoptraining":
        return _stop(client("sagemaker"), action.get("training_job_prefix") or job)
    if name in PROTOCOLS:
        return _notify(client("sns"), name, action.get("endpoint") or action.get("email_address") or action.get("phone_number") or "", rule, message)
    return f"The action {name!r} is not known."


def _stop(sagemaker: Any, prefix: str) -> str:
    """The one running job whose name begins so; nothing where there are several."""
    pages = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=prefix, StatusEquals="InProgress")
    found = [entry["TrainingJobName"] for page in pages for entry in page["TrainingJobSummaries"]]
    running = [name for name in found if name.startswith(prefix)]
    if len(running) != 1:
        return f"No training job is stopped: {len(running)} running ones begin with {prefix}."
    sagemaker.stop_training_job(TrainingJobName=running[0])
    return f"Stopped the training job {running[0]}."


def _notify(sns: Any, protocol: str, endpoint: str, rule: str, message: str) -> str:
    topic = sns.create_topic(Name=TOPIC)["TopicArn"]
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    note = f"Published to the topic {TOPIC} for {protocol} {endpoint}."
    if endpoint and not any(entry["Endpoint"] == endpoint for page in pages for entry in page["Subscriptions"]):
        try:
            sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
        except sns.exceptions.ClientError as error:  # nothing here sends mail or text messages
            note = f"Published to the topic {TOPIC}, but {endpoint} cannot be reached: {error}"
    sns.publish(TopicArn=topic, Subject=f"SMDebugRule:{rule} fired"[:100], Message=message)
    return note
