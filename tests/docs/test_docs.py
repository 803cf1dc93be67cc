"""The documents keep their word: all settings, commands, options and pages are named, links lead somewhere, snippets run."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dewfall.cli import parser
from dewfall.testing_server import Server

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
SNIPPETS = [page for page in PAGES if re.search(r"^```python *$", page.read_text(), re.MULTILINE)]
VARIABLE = re.compile(r"\bDEWFALL_[A-Z_]+\b")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def test_every_setting_is_documented() -> None:
    read = set(VARIABLE.findall((ROOT / "dewfall" / "settings.py").read_text()))
    told = set(re.findall(r"^\| `(DEWFALL_[A-Z_]+)`", (DOCS / "settings.md").read_text(), re.MULTILINE))
    assert read == told


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_setting_that_does_not_exist(page: Path) -> None:
    read = set(VARIABLE.findall((ROOT / "dewfall" / "settings.py").read_text()))
    assert set(VARIABLE.findall(page.read_text())) <= read | {"DEWFALL_SDK_ENVS"}


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_and_option_is_documented(command: str) -> None:
    text = (DOCS / "cli.md").read_text()
    assert f"`dewfall {command}" in text
    options = {option for action in commands()[command]._actions for option in action.option_strings if option.startswith("--")} - {"--help"}
    assert [option for option in sorted(options) if f"`{option}" not in text] == []


def test_every_path_of_the_servers_own_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    paths = set(re.findall(r'"(/_(?:dewfall|localstack)/\w+)"', (ROOT / "dewfall" / "server.py").read_text()))
    assert [path for path in sorted(paths) if path not in text] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "index.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:dewfall|tests|examples|benchmarks|docs)/[\w./]+\.(?:py|md|json|sql))`", page.read_text())
    assert [file for file in named if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", SNIPPETS, ids=name)
def test_snippets_run(page: Path, dewfall: Server, tmp_path: Path) -> None:
    """A page's blocks run one after the other, as one program; blocks marked `notest` do not."""
    blocks = re.findall(r"^```python *\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    environment = os.environ | dewfall.environment()
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
