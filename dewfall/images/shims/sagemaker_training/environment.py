"""The training environment, under the toolkit's names."""

from dewfall.images import contract
from dewfall.images.environment import read_environment, training_environment

_folders = contract.folders()
model_dir = str(_folders.model)
code_dir = str(_folders.code)
output_dir = str(_folders.output)
output_data_dir = str(_folders.output_data)
input_dir = str(_folders.home / "input")
input_config_dir = str(_folders.config)


class Environment:
    """Its members as attributes."""

    def __init__(self) -> None:
        self.__dict__.update(training_environment(read_environment()))
