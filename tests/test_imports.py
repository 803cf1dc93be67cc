"""Who may import whom: the rule of docs/index.md, read off the source; and what starting the server must not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dewfall"
ALL_MAY = {"errors", "settings", "context", "bodies", "accounts"}
MAY = {
    "wire": {"wire"} | ALL_MAY,
    "ml": {"ml"},
    "rules": {"rules"} | ALL_MAY,
    "engine": {"engine", "rules", "images.catalog"} | ALL_MAY,
    "services": {"services", "wire.models", "engine", "rules", "images.catalog", "ml"} | ALL_MAY,
    "images": {"images", "ml"} | ALL_MAY,
    "hook": set(),
}
INSIDE_FUNCTIONS = {("services", "ml")}
HEAVY = (
    "numpy",
    "pandas",
    "sklearn",
    "scipy",
    "xgboost",
    "lightgbm",
    "polars",
    "duckdb",
    "pyarrow",
    "botocore",
    "boto3",
    "cryptography",
    "rich",
    "jinja2",
)
CLIENT_SIDE = [
    "activation.py",
    "environment.py",
    "testing.py",
    "testing_server.py",
    "launch.py",
    *(f"hook/{f.name}" for f in (PACKAGE / "hook").glob("*.py")),
]


def modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[str, bool, int]]:
    """(module, whether at the top of the file, line) of every import that is not for types alone."""
    tree = ast.parse(file.read_text())
    typing = {
        id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, id(node) in top, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{name.name}", id(node) in top, node.lineno) for name in node.names)


def room_of(module: str) -> set[str]:
    """The names by which a rule may mean a module: its room, and its room and file."""
    parts = module.split(".")[1:3]
    return {parts[0], ".".join(parts)} if parts else set()


@pytest.mark.parametrize("room", sorted(MAY))
def test_who_imports_whom(room: str) -> None:
    wrong = []
    for file in modules(room):
        for module, top, line in imports(file):
            if not module.startswith("dewfall."):
                continue
            meant = room_of(module)
            late = {name for name in meant if (room, name) in INSIDE_FUNCTIONS}
            if not meant & MAY[room] or (late and top):
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert wrong == []


def test_nothing_imports_what_runs_in_containers() -> None:
    """Everything in images but its catalog is started by module path."""
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] != "images"
        for module, _, line in imports(file)
        if module.startswith("dewfall.images.") and not module.startswith("dewfall.images.catalog")
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(CLIENT_SIDE))
def test_what_runs_in_the_users_environment_needs_the_standard_library_alone(name: str) -> None:
    allowed = sys.stdlib_module_names | {"dewfall", "dewfall_waits"} | ({"pytest"} if name == "testing.py" else set())
    assert [module for module, top, _ in imports(PACKAGE / name) if top and module.split(".")[0] not in allowed] == []


@pytest.mark.parametrize("module", ["dewfall", "dewfall.cli", "dewfall.house", "dewfall.server", "dewfall.testing_server", "dewfall.activation"])
def test_nothing_heavy_is_imported(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_the_environment_is_read_in_one_place() -> None:
    """DEWFALL_ variables are read in settings.py alone."""
    others = [file for file in PACKAGE.rglob("*.py") if file.name != "settings.py" and file.relative_to(PACKAGE).parts[0] != "images"]
    reading = re.compile(r"""(environ|environ\.get|getenv)[(\[]["']DEWFALL_""")
    assert [str(file.relative_to(ROOT)) for file in others if reading.search(file.read_text())] == []
