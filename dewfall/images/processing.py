"""`python -m dewfall.images.processing script.py argument …`: the Python script of a processing job, in a process that may be warm.

Such scripts install packages by themselves (`[sys.executable, "-m", "pip", "install", …]`); those go into a folder of the job's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dewfall.images import packages
from dewfall.images.contract import folders
from dewfall.images.requirements import enter_private
from dewfall.images.scripts import ScriptError, run_here


def main(words: list[str]) -> int:
    """Run the script as `python script.py argument …` would; its exit code."""
    if not words:
        print("usage: python -m dewfall.images.processing script.py [argument …]", file=sys.stderr)
        return 2
    enter_private(folders().home)
    packages.offer_bundled_joblib()
    try:
        run_here(words[0], words[1:], Path(os.getcwd()), " ".join(words))
    except ScriptError as error:
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
