"""`python -m dewfall.images.command program …`: a shell command of the user's, with a `python` and `pip` of the job's own on its PATH.

Such commands begin with `pip install -r requirements.txt` more often than not (SageMaker's SDK v3 makes them so); what they install belongs
to the job, on top of the image's packages, and never goes into the environment that Dewfall itself runs in.
"""

import os
import shutil
import sys
from pathlib import Path

from dewfall.images.contract import fail, folders
from dewfall.images.requirements import enter_private

DRIVER, SSHD = "mpi_driver.py", Path("/usr/sbin/sshd")


def main(words: list[str]) -> None:
    """Become the command."""
    if not words:
        sys.exit("usage: python -m dewfall.images.command program [argument …]")
    reason = no_mpi()
    if reason:
        fail(reason)
    enter_private(folders().home)
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def no_mpi() -> str:
    """Why the MPI driver of SDK v3's ModelTrainer cannot run here, "" where it can or is not wanted.

    Asked before it begins: the driver writes the job's variables into the machine's /etc/environment before it finds that it has no SSH server.
    """
    script = folders().data / "sm_drivers" / "sm_train.sh"
    if not script.is_file() or DRIVER not in script.read_text(errors="replace"):
        return ""
    there = {"an SSH server (/usr/sbin/sshd)": SSHD.exists(), "mpirun": shutil.which("mpirun")}
    absent = [name for name, is_there in there.items() if not is_there]
    if not absent:
        return ""
    return (
        f"AlgorithmError: The MPI driver of ModelTrainer needs what is not installed where Dewfall runs: {', '.join(absent)}. Install it (Debian: "
        "openssh-server openmpi-bin; pip install paramiko mpi4py), or use distributed=Torchrun(), or the mpi distribution of SDK v2, which needs "
        "mpirun alone."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
