"""Imports of the package point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    ("numbers", "spelling", "streams", "jsontext", "threads"),
    ("endings",),
    ("settings",),
    ("config",),
    ("memory", "files"),
    ("datasets",),
    ("models", "prepare"),
    ("pipeline",),
    ("inference",),
    ("experiments",),
    ("tuning", "benchmarks"),
    ("papers",),
    ("cli",),
    ("__main__",),
)
"""From the lowest: a file imports its own layer's package and those of the layers below."""
PLACE = {name: number for number, layer in enumerate(LAYERS) for name in layer}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of hrec that a file names, those under TYPE_CHECKING and inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [f"hrec.{a.name}" for a in node.names] if node.module == "hrec" else [node.module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_a_file_imports_its_own_package_and_layers_below():
    against = []
    for path in sorted((ROOT / "hrec").rglob("*.py")):
        own = path.relative_to(ROOT / "hrec").with_suffix("").parts[0]
        if own == "__init__":
            continue
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            head, _, rest = module.partition(".")
            other = rest.split(".")[0]
            if head == "hrec" and other in PLACE and other != own and PLACE[other] >= PLACE[own]:
                against.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not against


def test_every_package_has_a_layer():
    found = {p.stem for p in (ROOT / "hrec").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert found - {"__init__"} == PLACE.keys()


def files_imported(path: Path) -> Iterator[Path]:
    """The files of hrec that a file imports by name; packages that only hold them do not count."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name,) for alias in node.names]
        for either in names:
            yield from [file for name in either if (file := file_of(name))][:1]


def file_of(module: str) -> Path | None:
    """The file of a module of hrec, None for any other name."""
    stem = ROOT.joinpath(*module.split("."))
    found = [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found[0] if found and module.split(".", maxsplit=1)[0] == "hrec" else None


def test_no_file_imports_itself_by_way_of_others():
    graph = {path: set(files_imported(path)) - {path} for path in (ROOT / "hrec").rglob("*.py")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(str(path.relative_to(ROOT)) for path in error.args[1])) from None
