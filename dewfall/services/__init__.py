"""What each AWS operation does: a module per service, a function per operation, registered by `@operation`.

The tables below say where things are, so that nothing is imported before the first request for it.
Service names are botocore's (the folder names of its data).
"""

from __future__ import annotations

# botocore service name → modules whose import registers its operations.
SERVICES: dict[str, tuple[str, ...]] = {
    "s3": ("dewfall.services.s3",),
    "s3control": ("dewfall.services.s3control",),
    "sagemaker": ("dewfall.services.sagemaker",),
    "sagemaker-metrics": ("dewfall.services.sagemaker.metrics",),
    "sagemaker-runtime": ("dewfall.services.sagemaker.runtime", "dewfall.services.sagemaker.async_inference"),
    "sts": ("dewfall.services.sts",),
    "iam": ("dewfall.services.iam",),
    "ecr": ("dewfall.services.ecr",),
    "logs": ("dewfall.services.logs",),
    "cloudwatch": ("dewfall.services.cloudwatch",),
    "sqs": ("dewfall.services.sqs",),
    "sns": ("dewfall.services.sns",),
    "events": ("dewfall.services.events",),
    "application-autoscaling": ("dewfall.services.autoscaling",),
}

# job kind (queue row) → "module:function", a step: (ctx, task) -> Outcome.
STEPS: dict[str, str] = {
    "training-job": "dewfall.services.sagemaker.training_step:step",
    "processing-job": "dewfall.services.sagemaker.processing_step:step",
    "hyper-parameter-tuning-job": "dewfall.services.sagemaker.tuning_step:step",
    "endpoint": "dewfall.services.sagemaker.endpoint_step:step",
    "async-endpoint": "dewfall.services.sagemaker.async_step:step",
    "inference-experiment": "dewfall.services.sagemaker.inference_experiment_step:step",
    "inference-component": "dewfall.services.sagemaker.inference_component_step:step",
    "transform-job": "dewfall.services.sagemaker.transform_step:step",
    "model-card-export-job": "dewfall.services.sagemaker.model_card_exports:step",
    "inference-recommendations-job": "dewfall.services.sagemaker.inference_recommendation_step:step",
    "optimization-job": "dewfall.services.sagemaker.model_conversion:step",
    "compilation-job": "dewfall.services.sagemaker.model_conversion:step",
    "sqs-move": "dewfall.services.sqs.moving:step",
}

# tick name → ("module:function", seconds between ticks): (ctx) -> None.
TICKS: dict[str, tuple[str, float]] = {
    "disk-reserve": ("dewfall.engine.disk:tick", 30.0),
    "logs-retention": ("dewfall.services.logs.retention:tick", 600.0),
    "logs-metric-filters": ("dewfall.services.logs.metric_filters:tick", 5.0),
    "cloudwatch-alarms": ("dewfall.services.cloudwatch.evaluation:tick", 5.0),
    "cloudwatch-history": ("dewfall.services.cloudwatch.alarm_history:tick", 3600.0),
    "cloudwatch-retention": ("dewfall.services.cloudwatch.datapoints:tick", 3600.0),
    "s3-lifecycle": ("dewfall.services.s3.lifecycle:tick", 600.0),
    "async-backlog": ("dewfall.services.sagemaker.async_step:tick", 10.0),
    "endpoint-usage": ("dewfall.services.sagemaker.endpoint_usage:tick", 10.0),
    "job-usage": ("dewfall.services.sagemaker.job_usage:tick", 10.0),
    "profiles": ("dewfall.services.sagemaker.profiles:tick", 1.0),
    "serverless": ("dewfall.services.sagemaker.serverless:tick", 5.0),
    "monitoring": ("dewfall.services.sagemaker.monitoring_runs:tick", 1.0),
    "data-capture": ("dewfall.engine.serving.capture:tick", 1.0),
    "autoscaling": ("dewfall.services.autoscaling.scaling:tick", 1.0),
    "sqs-metrics": ("dewfall.services.sqs.metrics:tick", 60.0),
    "events-schedules": ("dewfall.services.events.delivery:tick", 1.0),
    "events-archives": ("dewfall.services.events.archives:tick", 600.0),
}

# outbox topic → "module:function", a delivery: (ctx, message) -> None.
SUBSCRIBERS: dict[str, str] = {
    "cloudwatch.action": "dewfall.services.cloudwatch.actions:deliver",
    "s3.event": "dewfall.services.s3.notifications:deliver",
    "aws.events": "dewfall.services.events.delivery:deliver",
    "logs.export": "dewfall.services.logs.exports:run",
    "events.replay": "dewfall.services.events.replays:run",
    "sns.deliver": "dewfall.services.sns.publishing:deliver",
    "sns.confirm": "dewfall.services.sns.publishing:confirm",
}
