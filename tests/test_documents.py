"""The commands and code in the documents work."""

import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from common.cli import main, parse

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for part in ("*.md", "*_impl/*.md", "common/**/*.md") for path in sorted(ROOT.glob(part))]
# What else is on these pages has tests of its own.
GUIDES = sorted((ROOT / "reports/published/guides").glob("*.md"))
PYTHON = [(path, code) for path in DOCUMENTS for code in re.findall(r"```python\n(.*?)```", path.read_text(), re.S)]
SHELL = [
    line
    for path in DOCUMENTS
    for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.S)
    for line in block.splitlines()
]
COMMANDS = [line.partition("#")[0].partition("rosetta ")[2] for line in SHELL if "rosetta " in line.partition("#")[0]]
TARGETS = [line.split()[1] for line in SHELL if line.startswith("make ")]
LINKS = [
    (path, link)
    for path in DOCUMENTS + GUIDES
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    if "://" not in link
]
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
NAMED = sorted(
    {
        name
        for path in CURRENT
        for name in re.findall(
            r"`((?:common|numpy_impl|jax_impl|torch_impl|reports|tests)[/.][\w/.]+)`", path.read_text()
        )
        if not name.startswith("reports/latest")
    }
)
# "[file](file): `name`, `name`", as in CONTRIBUTING's table of what is where.
PLACES = [
    (file, name)
    for file, names in re.findall(r"\]\((\S+\.py)\): ((?:`\w+`(?:, )?)+)", (ROOT / "CONTRIBUTING.md").read_text())
    for name in re.findall(r"\w+", names)
]
ANCHORS = [(path, link) for path in DOCUMENTS for link in re.findall(r"\]\(#([^)]+)\)", path.read_text())]


def test_there_is_something_to_test() -> None:
    assert {path.parent.name for path, _ in PYTHON} >= {"numpy_impl", "jax_impl", "torch_impl"}
    assert len(COMMANDS) >= 8
    assert set(TARGETS) == {"study", "lessons", "docs", "test"}
    assert len(LINKS) >= 8
    assert {path.parent.name for path, _ in LINKS} >= {"weights", "guides"}
    assert len(ANCHORS) >= 2
    assert len(NAMED) >= 20
    assert len(PLACES) >= 10


@pytest.mark.parametrize(
    ("path", "code"), PYTHON, ids=lambda value: value.parent.name if isinstance(value, Path) else ""
)
def test_python_runs(path: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(path), "exec"), {"__name__": "readme"})


def test_weights_that_the_readme_writes_are_those_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = (code for path, code in PYTHON if path.parent == ROOT and "examples/lstm.pt" in code)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    (command,) = (command for command in COMMANDS if "examples/lstm.pt" in command)
    assert main([*shlex.split(command), "--out", "page.html"]) == 0
    assert "<html" in Path("page.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["examples"]


def test_the_commands_about_a_checkpoint_run_on_the_one_that_the_readme_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = (code for path, code in PYTHON if path.parent == ROOT and "examples/checkpoint.pt" in code)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    asked = [shlex.split(command) for command in COMMANDS if "examples/checkpoint.pt" in command]
    assert [words[0] for words in asked] == ["inspect", "check", "tolerance", "convert", "describe", "trace"]
    for words in asked:
        quick = ["--backend", "numpy"] if words[0] in ("check", "trace") else []
        assert main([*words, *quick]) == 0, words
    assert {"proof.html", "proof.json", "proof.md", "encoder.keras"} <= {
        path.name for path in Path("examples").iterdir()
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_understood(command: str) -> None:
    assert parse(shlex.split(command)).verb


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize(("path", "link"), LINKS, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_link_leads_somewhere(path: Path, link: str) -> None:
    assert (path.parent / link).exists()


@pytest.mark.parametrize(
    ("path", "anchor"), ANCHORS, ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_anchor_is_a_heading(path: Path, anchor: str) -> None:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_exists(name: str) -> None:
    assert (ROOT / name).exists() if "/" in name else pkgutil.resolve_name(name)


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_a_name_stands_where_the_table_says(file: str, name: str) -> None:
    assert re.search(rf"^(def |class )?{name}\b *[:=(]", (ROOT / file).read_text(), re.M)
