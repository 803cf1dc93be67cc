"""SageMaker: a module per resource noun; importing the package registers every operation.

Why the imports stand here: the registry imports one name per service.
"""

from __future__ import annotations

from dewfall.services.sagemaker import algorithms as algorithms
from dewfall.services.sagemaker import associations as associations
from dewfall.services.sagemaker import code_repositories as code_repositories
from dewfall.services.sagemaker import compilation_jobs as compilation_jobs
from dewfall.services.sagemaker import endpoint_configs as endpoint_configs
from dewfall.services.sagemaker import endpoints as endpoints
from dewfall.services.sagemaker import experiments as experiments
from dewfall.services.sagemaker import inference_components as inference_components
from dewfall.services.sagemaker import inference_experiments as inference_experiments
from dewfall.services.sagemaker import inference_recommendations as inference_recommendations
from dewfall.services.sagemaker import job_definitions as job_definitions
from dewfall.services.sagemaker import lifecycle_configs as lifecycle_configs
from dewfall.services.sagemaker import lineage as lineage
from dewfall.services.sagemaker import lineage_groups as lineage_groups
from dewfall.services.sagemaker import model_card_exports as model_card_exports
from dewfall.services.sagemaker import model_cards as model_cards
from dewfall.services.sagemaker import model_package_groups as model_package_groups
from dewfall.services.sagemaker import model_packages as model_packages
from dewfall.services.sagemaker import models as models
from dewfall.services.sagemaker import monitoring_alerts as monitoring_alerts
from dewfall.services.sagemaker import monitoring_schedules as monitoring_schedules
from dewfall.services.sagemaker import optimization_jobs as optimization_jobs
from dewfall.services.sagemaker import processing as processing
from dewfall.services.sagemaker import runtime as runtime
from dewfall.services.sagemaker import search as search
from dewfall.services.sagemaker import tags as tags
from dewfall.services.sagemaker import training as training
from dewfall.services.sagemaker import transform as transform
from dewfall.services.sagemaker import trial_components as trial_components
from dewfall.services.sagemaker import tuning as tuning
