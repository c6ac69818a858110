"""README and docs are true: their examples run, their commands and settings exist, their tables, tree and links hold.

A worked file is a fenced block under a line that holds its path in bold alone: **`configs/mine.json`**.
A path in bold with words behind it is a line to be added to the table of models.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hrec import config
from hrec.datasets import load
from hrec.models import MODELS, find_model
from hrec.papers.table import PAPERS
from hrec.pipeline.measured import Metrics
from hrec.prepare import SOURCES

ROOT = Path(__file__).resolve().parents[1]
GUIDE = "docs/guide"
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "output/README.md")
DOCUMENTS = [*TOP, *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
WRITTEN = [name for name in DOCUMENTS if not re.match(r"docs/results/.+/|CHANGELOG|NOTES|output/", name)]
"""The documents that people write; scripts/reproduce.py writes the reports in docs/results."""
FILE = re.compile(r"^\*\*`(?P<path>[^`]+)`\*\*(?P<more>[^\n]*)\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDED = ("hrec", "configs", "tests", "train_hete.py", "train_homo.py", "pyproject.toml")


def page(name: str) -> str:
    """The text of a document, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """The text under a heading of the second level."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", page(name), re.MULTILINE | re.DOTALL)
    return found


def commands(text: str) -> list[str]:
    """The lines of its shell blocks, without the comments behind them."""
    return [line.split("  #")[0].strip() for block in SHELL.findall(text) for line in block.splitlines() if line]


def training_runs(text: str) -> list[list[str]]:
    """The words behind ``hrec train``, train_hete.py or train_homo.py, of each command that names a config."""
    lines = [part.strip() for command in commands(text) for part in command.split("&&")]
    found = [shlex.split(line)[2:] for line in lines if re.match(r"(python train_(hete|homo)\.py|hrec train) ", line)]
    return [words for words in found if not words[0].startswith("--")]


def checkout(folder: Path, example: str) -> Path:
    """A copy of the repository in ``folder``, with the files of a worked example in their places."""
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    for found in FILE.finditer(example):
        path = folder / found["path"]
        if found["more"]:
            before = path.read_text(encoding="utf-8")
            assert before.count("MODELS = {\n") == 1
            path.write_text(before.replace("MODELS = {\n", "MODELS = {\n" + found["text"]), encoding="utf-8")
        else:
            assert not path.exists(), f"the example would replace {found['path']}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found["text"], encoding="utf-8")
    return folder


def run(command: str, folder: Path) -> str:
    """What a command prints when it is run in ``folder``; ``python`` and its ``hrec`` are those that run this test."""
    words = shlex.split(re.sub(r"^hrec ", "python -m hrec ", command))
    assert words[0] == "python"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,  # a guard against hanging; seconds on idle cores
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def result(folder: Path) -> dict:
    (path,) = folder.glob("output/*/result.json")
    return json.loads(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------ the worked examples


def test_the_first_example_of_the_readme_runs(tmp_path: Path):
    example = section("README.md", "Your own data")
    train, lists = commands(example)
    said = run(train, checkout(tmp_path, example))
    assert not re.search("left out|warning", said, re.IGNORECASE), said
    assert result(tmp_path)["data"] == "shop"
    (folder,) = tmp_path.glob("output/BPRMF-shop-*")
    printed = run(lists.replace("output/BPRMF-shop-*", str(folder)), tmp_path).splitlines()
    data = Path(tmp_path / "data/shop/interactions.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split()[0] for line in printed[2:5]] == ["ann", "bob", "cat"]
    assert not {",".join((line.split()[0], *line.split()[2:4])) for line in printed[2:5]} & set(data)


def test_the_example_of_own_data_runs(tmp_path: Path):
    example = section(f"{GUIDE}/your-data.md", "Bring your own data")
    (command,) = commands(example)
    printed = run(command, checkout(tmp_path, example))
    assert not re.search("left out|warning", printed, re.IGNORECASE), printed
    measured = result(tmp_path)
    assert measured["data"] == "mine"
    for part in ("valid", "test"):
        assert all(0 <= measured[part][f"auc{of}"] <= 1 for of in ("", "/pooled", "/article", "/video")), measured[part]


def test_every_column_of_the_example_of_own_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(checkout(tmp_path, section(f"{GUIDE}/your-data.md", "Bring your own data")))
    data = load(config.load("duration", find_model, ["data=mine"]).run.data, None)
    sheets = {"users": data.users, "articles": data.kinds["article"], "videos": data.kinds["video"]}
    for name, table in sheets.items():
        header, *rows = Path(f"data/mine/{name}.csv").read_text().splitlines()
        assert set(table.columns) == set(header.split(",")[1:]) and table.count == len(rows)
    assert len(data.interactions) == len(Path("data/mine/interactions.csv").read_text().splitlines()) - 1


def test_the_example_of_reviews_and_texts_runs(tmp_path: Path):
    example = section(f"{GUIDE}/your-data.md", "Reviews and texts")
    (command,) = commands(example)
    printed = run(command, checkout(tmp_path, example))
    assert re.search(r"fields of items: item id, title", printed), printed
    (program,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    words = run("python program.py", tmp_path).split()
    reviews = re.findall(r"^ann,.*?,.*?,.*?,(.*)$", example, re.MULTILINE)
    assert words and set(words) <= set(re.findall(r"\w+", " ".join(reviews).lower()))


def test_the_example_of_vectors_and_a_graph_runs(tmp_path: Path):
    example = section(f"{GUIDE}/your-data.md", "Vectors and knowledge graphs")
    (command,) = commands(example)
    (program,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    checkout(tmp_path, example)
    (tmp_path / "program.py").write_text(program)
    run("python program.py", tmp_path)
    printed = run(command, tmp_path)
    assert "rows with a vector: item 3 of 4" in printed and "4 triples, 2 relations" in printed
    assert not re.search("left out|warning", printed, re.IGNORECASE), printed


def test_the_example_of_a_trained_model_runs(tmp_path: Path):
    own = section(f"{GUIDE}/your-data.md", "Bring your own data")
    example = section(f"{GUIDE}/recommend-and-export.md", "Use a trained model")
    checkout(tmp_path, own)
    run(commands(own)[0], tmp_path)
    for found in FILE.finditer(example):
        (tmp_path / found["path"]).write_text(found["text"], encoding="utf-8")
    (folder,) = tmp_path.glob("output/DURation-mine-*")
    known, new, export = (
        run(c.replace("output/DURation-mine-*", str(folder)), tmp_path).splitlines() for c in commands(example)
    )
    shown = [line.split()[:2] for line in known]
    (printed,) = re.findall(r"```text\n(.*?)```", example, re.DOTALL)
    assert shown == [line.split()[:2] for line in printed.splitlines()]
    assert [line.split()[0] for line in new[2:]] == ["zoe", "zoe"] and all(" video " in line for line in new[2:])
    assert sorted(export) == sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "vectors").iterdir())
    (program,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    (tmp_path / "program.py").write_text(program.replace("output/DURation-mine-20260101-120000", str(folder)))
    run("python program.py", tmp_path)


@pytest.mark.slow
def test_the_example_of_an_own_model_runs_and_passes_what_every_model_must(tmp_path: Path):
    example = page(f"{GUIDE}/add-a-model.md")
    train, check, in_order = commands(example)
    checkout(tmp_path, example)
    run(in_order, tmp_path)
    assert result(tmp_path)["model"] == "NextWords"
    shutil.rmtree(tmp_path / "output")
    run(train, tmp_path)
    measured = result(tmp_path)
    assert measured["model"] == "BiasedMF" and measured["data"] == "planted-tiny"
    passed = re.search(r"(\d+) passed", run(check, tmp_path))
    assert passed and int(passed[1]) > 20


@pytest.mark.parametrize("name", WRITTEN)
def test_settings_that_a_document_names_exist(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)  # data= names a file in configs/data/
    made = {path.stem for found in FILE.finditer(page(name)) if (path := Path(found["path"])).parts[0] == "configs"}
    for config_name, *overrides in training_runs(page(name)):
        settings = [word for word in overrides if re.match(r"[a-zA-Z_.]+=", word)]
        if not made & {config_name, *(word.removeprefix("data=") for word in settings)}:
            Metrics.parse(config.load(config_name, find_model, settings))


def test_the_guides_have_commands_that_train():
    found = {name for name in WRITTEN if training_runs(page(name))}
    assert {"README.md", f"{GUIDE}/runs.md", f"{GUIDE}/splits.md", "docs/log/movielens.md"} <= found


@pytest.mark.parametrize("name", WRITTEN)
def test_scripts_that_a_document_names_exist(name: str):
    named = set(re.findall(r"\bscripts/\w+\.py\b", page(name)))
    now = {path for path in named if (ROOT / path).exists()}
    assert named == now


# ------------------------------------------------------------------------------ what they list


def test_the_two_first_commands_are_those_that_the_checks_run():
    first = page("README.md").split("\n## ")[0]
    install = "pip install -r requirements.txt && "
    train, test = (c for c in commands(first))
    assert (train, test) == (f"{install}python train_hete.py duration", f"{install}python -m pytest -n auto")
    (in_ci,) = re.findall(r"^test_command='(.*)'", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert in_ci == test
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_readme_is_short_and_has_a_result_first():
    lines = page("README.md").splitlines()
    assert len(lines) <= 200
    assert next(i for i, line in enumerate(lines) if line.startswith("| --- ")) < 20
    assert next(i for i, line in enumerate(lines) if line == "```sh") < 40


def test_the_table_of_models_is_that_of_the_code():
    table = section("README.md", "Models")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "| `" in line]
    assert {row[0].strip("`") for row in rows} == MODELS.keys()
    for name, family, paper, file, settings, reads in rows:
        module = MODELS[name.strip("`")].split(":")[0]
        assert file == "[{0}]({0})".format(module.replace(".", "/") + ".py") and family == module.split(".")[2]
        (path,) = re.findall(r"\((.*)\)", settings)
        assert json.loads((ROOT / path).read_text(encoding="utf-8"))["model"]["name"] == name.strip("`")
        assert re.search(r"\b(19|20)\d\d$", paper) and reads


def test_the_models_that_answer_for_new_users_are_those_that_are_tested():
    suite = ast.parse(page("tests/test_every_model.py"))
    (tested,) = (n.value for n in suite.body if isinstance(n, ast.Assign) and n.targets[0].id == "ANSWER_UNKNOWN_USERS")
    text = section(f"{GUIDE}/recommend-and-export.md", "New users").strip().split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", text)) == ast.literal_eval(tested)


def test_the_data_sets_and_papers_that_the_documents_list_are_those_of_the_commands():
    first = page("data/README.md").split("\n## ")[0]
    assert set(re.findall(r"`hrec prepare ([\w-]+)`", first)) == SOURCES.keys()
    papers = re.findall(r"^\| \[`(\w+)`\]\(.*?\) \| (.*) \|$", page(f"{GUIDE}/reproduce.md"), re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", experiments)) for name, experiments in papers}
    assert listed == {name: set(paper.experiments) for name, paper in PAPERS.items()}


def in_the_tree() -> set[str]:
    """Every path that the tree names."""
    (tree,) = re.findall(r"```text\n\.\n(.*?)```", section("docs/architecture.md", "The tree"), re.DOTALL)
    above: list[str] = []
    found = set()
    for line in tree.splitlines():
        text = line.lstrip("│├└─ ")
        depth = (len(line) - len(text)) // 4 - 1
        # names stand two blanks apart; what comes after them is the comment
        first, *others = re.split(r" {2,}", text)
        first, *comment = first.split(" ", 1)  # a name as long as its column has one blank before the comment
        names = [first, *([] if comment else [o for o in others if re.fullmatch(r"[\w.]+", o)])]
        above = [*above[:depth], names[0]]
        found |= {"/".join([*above[:depth], name]) for name in names}
    return found


def test_every_path_in_the_tree_exists():
    missing = sorted(path for path in in_the_tree() if not (ROOT / path).exists())
    assert not missing


def test_every_folder_of_the_package_is_in_the_tree_or_is_a_family_of_models():
    folders = {p.relative_to(ROOT).as_posix() for p in (ROOT / "hrec").glob("*/") if p.name != "__pycache__"}
    assert not folders - in_the_tree()
    families = {p.name for p in (ROOT / "hrec/models").glob("*/") if p.name not in ("__pycache__", "layers")}
    assert all(f"| `{family}` |" in page("docs/architecture.md") for family in families)


def links(name: str) -> list[tuple[Path, str]]:
    """The files of the repository that a document links to, each with its anchor or ''."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            found.append((((ROOT / name).parent / path if path else ROOT / name).resolve(), anchor))
    return found


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a document."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(slugs)) == len(slugs), "two headings have one anchor"
    return set(slugs)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading(name: str):
    for path, anchor in links(name):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{path.name}#{anchor}"


def test_every_document_can_be_reached_from_the_readme():
    reached, new = set(), {"README.md"}
    while new:
        reached |= new
        paths = {path for name in new for path, _ in links(name) if path.suffix == ".md"}
        new = {path.relative_to(ROOT).as_posix() for path in paths} - reached
    assert set(DOCUMENTS) - reached - {"output/README.md"} == set()
