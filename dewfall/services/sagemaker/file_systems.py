"""File systems of training jobs (EFS, FSx for Lustre) as folders of this machine: <DEWFALL_FILE_SYSTEMS>/<file system id>/<directory path>.

Why folders: what a file system gives a job is a directory that outlives it and that several jobs share, and a folder is just that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.services.sagemaker.input_sources import FAILED, InputError


def file_system_folder(ctx: Ctx, source: dict[str, Any]) -> tuple[str, bool]:
    """The folder of a FileSystemDataSource, and whether the job may write to it. Raises InputError when there is none."""
    home = folder_of_all(ctx) / source["FileSystemId"]
    folder = home / source["DirectoryPath"].strip("/")
    if not folder.is_dir() or not folder.resolve().is_relative_to(home.resolve()):
        raise InputError(f"{FAILED}The directory {source['DirectoryPath']} of file system {source['FileSystemId']} does not exist: {folder}")
    return str(folder.resolve()), source["FileSystemAccessMode"] == "rw"


def folder_of_all(ctx: Ctx) -> Path:
    """Where the folders of file systems are."""
    settings = ctx.ports.settings
    return Path(settings.file_systems).expanduser().absolute() if settings.file_systems else settings.data / "file-systems"
