"""The numbers of a certificate's three files, column by column, are those of the rows that it was made of."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.equivalence.comparison import EXACT, Row, compare
from common.equivalence.tolerances import Bound
from common.equivalence.variants import Variant, problem
from common.model.spec import ModelSpec
from common.study import certificate
from common.study.certificate import Certificate, Verdict
from reports import certificate as written

SPEC = ModelSpec(cell="GRU", input_size=3, hidden_size=4, dtype="float64")
VARIANT = Variant(spec=SPEC)
FILES = [("source", 1234567, "ab" * 32), ("target", 89, "cd" * 32), ("inputs", 4321, "ef" * 32)]


def row(quantity: str, error: float, allowed: float, scale: float, count: int) -> Row:
    exact = np.full(count, scale)
    return compare("forward", VARIANT, quantity, ("numpy", EXACT), exact + error, exact, bound=Bound(allowed, scale))


ROWS = [row("y", 2.5e-9, 6.1e-8, 3.0, 7), row("h_n", 7.3e-12, 4.4e-10, 0.02, 5), row("c_n", 1.9e-5, 8.8e-7, 40.0, 6)]


def made() -> Certificate:
    return certificate.certificate(
        command=["rosetta", "convert"],
        verdict=Verdict(False, "NOT equivalent."),
        files=[certificate.File(role=r, path=f"{r}.npz", format="NumPy's", bytes=n, sha256=s) for r, n, s in FILES],
        layer=certificate.layer_facts("", "torch.nn.GRU", SPEC, problem(VARIANT).params),
        inputs=[certificate.input_facts("whole", "drawn", problem(VARIANT))],
        rows=[(0, one) for one in ROWS],
        versions={},
    )


class Tables(HTMLParser):
    """The tables of a page: caption -> lines of cells, of which the first are the names of the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self.lines: list[list[str]] = []
        self.caption = self.inside = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.lines, self.caption = [], ""
        elif tag == "tr":
            self.lines.append([])
        elif tag in ("td", "th"):
            self.lines[-1].append("")
        if tag in ("td", "th", "caption"):
            self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""
        if tag == "table":
            self.found[self.caption] = self.lines

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.caption += data
        elif self.inside:
            self.lines[-1][-1] += data


def of_page(text: str) -> dict[str, list[dict[str, str]]]:
    tables = Tables()
    tables.feed(text)
    return {caption: named(lines) for caption, lines in tables.found.items()}


def of_markdown(text: str) -> dict[str, list[dict[str, str]]]:
    found = {}
    for caption, table in re.findall(r"^\*\*([^*\n]+)\*\*\n\n((?:\|.*\n)+)", text, re.M):
        lines = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        found[caption] = named([lines[0], *lines[2:]])
    return found


def named(lines: list[list[str]]) -> list[dict[str, str]]:
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[1:]]


@pytest.fixture(name="documents", scope="module")
def documents_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    files = written.write(tmp_path_factory.mktemp("certificate") / "proof.html", made())
    texts = {file.suffix: file.read_text(encoding="utf-8").replace("\\", "") for file in files[1:]}
    return {
        "json": json.loads(Path(files[0]).read_text(encoding="utf-8")),
        "html": of_page(texts[".html"]),
        "md": of_markdown(texts[".md"]),
    }


def test_the_json_holds_the_numbers_of_the_rows(documents: dict[str, Any]) -> None:
    for found, one in zip(documents["json"]["comparisons"], ROWS, strict=True):
        measured = {name: found[name] for name in ("count", "error", "scale", "tolerance", "ratio")}
        assert measured == vars(one.measured)
        assert (found["resolution"], found["verdict"]) == (one.resolution, one.verdict)
        distinct = {found[name] for name in ("error", "tolerance", "resolution", "scale", "ratio")}
        assert len(distinct) == 5, "or they could be exchanged"


@pytest.mark.parametrize("form", ["html", "md"])
def test_the_tables_have_the_numbers_in_their_columns(form: str, documents: dict[str, Any]) -> None:
    """To two digits, however small they are; the summary has those of the worst, and the resolution of what passed."""
    summary, every = (
        next(lines for caption, lines in documents[form].items() if caption.startswith(start))
        for start in ("Every pair", "Every comparison")
    )
    assert {line["Quantity"] for line in every} == {"y", "h_n", "c_n"}
    for line in every:
        (one,) = [one for one in ROWS if one.quantity == line["Quantity"]]
        assert_shown(line, one, resolution=one.resolution)
        assert float(line["Largest value"]) == pytest.approx(one.measured.scale, rel=0.05)
        assert int(line["Elements"]) == one.measured.count
        assert line["Verdict"].lower() == one.verdict
    (line,) = summary
    assert line["Worst"] == "c_n"
    assert_shown(line, ROWS[2], resolution=max(one.resolution for one in ROWS[:2]))


def assert_shown(line: dict[str, str], one: Row, resolution: float) -> None:
    measured = one.measured
    for column, wanted in {
        "Error": measured.error,
        "Tolerance": measured.tolerance,
        "Error / tolerance": measured.ratio,
        "Resolution": resolution,
    }.items():
        assert float(line[column]) == pytest.approx(wanted, rel=0.05, abs=0), (one.quantity, column)


@pytest.mark.parametrize("form", ["html", "md"])
def test_every_file_has_its_own_size_and_checksum(form: str, documents: dict[str, Any]) -> None:
    lines = documents[form]["Files"]
    found = [(line["Role"], int(line["Bytes"].replace(",", "")), line["SHA-256"]) for line in lines]
    assert found == FILES
    assert [(file["role"], file["bytes"], file["sha256"]) for file in documents["json"]["files"]] == FILES
