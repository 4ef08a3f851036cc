"""Certificates: their three files say the same, hold to their limits, and take whatever a name holds for text."""

import json
import re
from copy import deepcopy
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Browser

from common.equivalence.comparison import EXACT, Row, compare
from common.equivalence.tolerances import Bound
from common.equivalence.variants import Variant, problem
from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.study import certificate
from common.study.certificate import Certificate, Verdict
from reports import certificate as written
from reports.page.render import MARKDOWN_LIMIT
from tests.browser import DESK, INJECTED, PHONE, opened, without_policy

SPEC = ModelSpec(cell="LSTM", input_size=3, hidden_size=4, num_layers=2, bidirectional=True, dtype="float32")
VARIANT = Variant(spec=SPEC)
MARKUP = "<img src=x onerror=window.hit=1></title></style></script><script>window.hit=1</script>]]>&quot;<!-- "
QUOTED = "\" onmouseover=\"window.hit=1' onmouseover='window.hit=1"
HOSTILE = f"x\\|`{MARKUP}`\n\n\r{MARKUP}\n```\n</details>{QUOTED}\x1b[2J\udc80"


def row(quantity: str, error: float = 1e-7, check: str = "forward", b: str = "keras (out)") -> Row:
    exact = np.ones(5, "float32")
    return compare(check, VARIANT, quantity, ("numpy", b), exact + np.float32(error), exact, bound=Bound(1e-6, 1.0))


FAILURE = certificate.Failure(
    title="float32 outputs, y: expected against exact",
    reasons=["126 of 126 elements differ by more than 1.5e-06; the worst:"],
    columns=["step, sequence, unit", "expected", "exact"],
    elements=[["1,2,4", "0.0628", "-0.4756"]],
    places=["The outputs depart at step 0 of 0 to 6."],
    histogram=["1e-02  ### 41", "1e-01  ##### 80"],
    cause="What would explain it: the gates were taken in the order i f o g.",
    again="rosetta check l.pt",
)


def sample(rows: int = 3, error: float = 1e-7) -> Certificate:
    made = [(number % 2, row(f"d{'rnn/' * 6}weight_{number}", error)) for number in range(rows)]
    return certificate.certificate(
        command=["rosetta", "convert", "a file.pt", "--to", "keras"],
        verdict=Verdict(error < 1e-6, "Equivalent: it is."),
        files=[
            certificate.File(role=role, path=f"folder/{role}.pt", format="PyTorch's", bytes=1234567, sha256="ab" * 32)
            for role in ("source", "target")
        ],
        layer=certificate.layer_facts("encoder.rnn", "torch.nn.LSTM", SPEC, problem(VARIANT).params),
        inputs=[
            certificate.input_facts(label, f"drawn, {label}, seed 0", problem(VARIANT)) for label in ("whole", "ragged")
        ],
        rows=[*made, (0, row("y", b=EXACT))],
        versions={"machine": {"system": "Linux"}, "numpy": {"numpy": "2.4", "blas": {"version": "0.3"}}},
        notes=["two biases were merged into one"],
    )


def test_the_three_files_hold_what_the_certificate_says(tmp_path: Path) -> None:
    found = sample()
    files = written.write(tmp_path / "deep" / "proof.html", found)
    assert [file.name for file in files] == ["proof.json", "proof.md", "proof.html"]
    assert certificate.read(files[0]) == found
    page, markdown = (unescape(file.read_text(encoding="utf-8")) for file in (files[2], files[1]))
    for text in (
        found["sentence"],
        "encoder.rnn",
        "ab" * 32,
        "1,234,567",
        "LSTM 2 layers bidirectional",
        "drawn, ragged, seed 0",
    ):
        assert text in page
        assert text in markdown.replace("\\", "")
    for text in (found["inputs"][0]["sha256"], "(9, 5, 3)", "1.0e-06", "two biases were merged", "version 0.3"):
        assert text in page
        assert text in markdown
    assert "rosetta convert 'a file.pt' --to keras" in re.sub("</?span>", "", page)


def test_the_json_alone_gives_the_page_again(tmp_path: Path) -> None:
    first = written.write(tmp_path / "proof.html", sample())
    second = written.write(tmp_path / "again" / "proof.html", certificate.read(first[0]))
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_a_failure_comes_first_and_is_called_one(tmp_path: Path) -> None:
    found = sample()
    found["comparisons"].append(
        {**found["comparisons"][0], "verdict": "failed", "ratio": None, "reason": "not a number"}
    )
    found["passed"] = False
    found["failures"] = [FAILURE]
    content = written.content(found)
    assert content.every.rows[0][1] == "FAILED: not a number"
    assert content.pairs.rows[0][1] == "1 FAILED, 2 passed"
    page, markdown = written.page(content, "proof.json"), written.markdown(content, "proof.json")
    assert 'class="verdict failed"' in page
    assert "✗" in page
    assert "<details open><summary>Every pair" in page
    for text in (page, unescape(markdown).replace("\\", "")):
        places = [text.index(part) for part in ("float32 outputs, y", "1,2,4", "depart at step 0", "order i f o g")]
        assert places == sorted(places)
        assert places[-1] < text.index("SHA-256")
        assert "##### 80" in text


def test_a_page_that_passed_folds_its_tables_away() -> None:
    found = sample()
    page = written.page(written.content(found), "proof.json")
    assert "<details><summary>Every pair" in page
    assert page.index("Against the exact result") < page.index("SHA-256") < page.index("Every pair")


def test_the_title_says_what_was_done_to_which_layer() -> None:
    found = sample()
    assert written.content(found).title == "Certificate of a conversion: source.pt → target.pt"
    found["files"] = [{**found["files"][0], "role": "weights"}]
    assert written.content(found).title == "Certificate of a check: encoder.rnn of source.pt"
    found["passed"] = False
    assert written.content(found).title == "No certificate of a check: encoder.rnn of source.pt"


def test_a_long_certificate_fits_into_a_comment_and_its_page_is_whole() -> None:
    content = written.content(sample(rows=900))
    markdown = written.markdown(content, "proof.json")
    assert len(markdown.encode()) < MARKDOWN_LIMIT
    assert "more rows are in proof.json" in markdown
    assert written.page(content, "proof.json").count("<tr>") > 900


def strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, str):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in strings(item, (*path, key))]


def hostile() -> Certificate:
    """With markup in every string but those that must be right."""
    found: Any = deepcopy(sample())
    found["failures"] = [deepcopy(FAILURE)]
    for path in strings(found):
        if path not in {("kind",), ("layer", "spec", "cell")} and path[-1] not in ("role", "dtype", "verdict"):
            place = found
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = HOSTILE
    found["versions"][HOSTILE] = {HOSTILE: {HOSTILE: HOSTILE}}
    return found


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_names_are_text(viewport: Any, browser: Browser, tmp_path: Path) -> None:
    files = written.write(tmp_path / "proof.html", hostile())
    page = files[2].read_text(encoding="utf-8")
    assert re.sub(r"[\n\t]", "", page).isprintable()
    files[2].write_text(without_policy(page), encoding="utf-8")
    with opened(browser, files[2], viewport=viewport) as shown:
        shown.eval_on_selector_all("details", "(all) => all.forEach((e) => { e.open = true })")
        assert shown.evaluate(INJECTED) == ["nothing ran"]
        assert shown.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert "<img src=x onerror=window.hit=1>" in shown.inner_text(".verdict")
    tokens = MarkdownIt("commonmark").enable("table").parse(files[1].read_text(encoding="utf-8"))
    raw = [token.content for token in tokens if token.type == "html_block"]
    inline = [child.content for token in tokens for child in token.children or () if child.type == "html_inline"]
    assert all(
        re.fullmatch(r"</?(details|summary|code)>|(</?(details|summary)>[^<]*)+", text.strip()) for text in raw + inline
    )


def test_a_page_holds_to_the_policy(browser: Browser, tmp_path: Path) -> None:
    page = written.write(tmp_path / "proof.html", sample(rows=60))[2]
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    for viewport in (DESK, PHONE):
        with opened(browser, page, viewport=viewport) as shown:
            assert shown.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            for cell in shown.query_selector_all("table th:nth-child(2), table td:nth-child(2)"):
                box = cell.bounding_box()
                assert box is None or "passed" not in cell.inner_text() or box["x"] + box["width"] <= viewport["width"]
            assert shown.title() == "Certificate of a conversion: source.pt → target.pt: passed"


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    written.write(tmp_path / "proof.html", sample())
    written.write(tmp_path / "proof.html", sample())
    for name in ("other.html", "other.json", "other.md"):
        (tmp_path / name).write_text("precious")
        with pytest.raises(InvalidInput, match="another file"):
            written.write(tmp_path / "other.html", sample())
        (tmp_path / name).unlink()
    for name in ("proof", "proof.pdf", ".html"):
        with pytest.raises(InvalidInput, match=r"ends in \.html"):
            written.write(tmp_path / name, sample())


CHANGES: dict[str, Any] = {
    "kind": "check",
    "schema": 1,
    "passed": "yes",
    "files": {},
    "layer": None,
    "comparisons": [{}],
    "versions": [],
    "command": "rosetta",
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_certificate_of_another_form_is_refused(field: str, tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    for wrong in (sample() | {field: CHANGES[field]}, {k: v for k, v in sample().items() if k != field}):
        path.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(InvalidInput):
            certificate.read(path)


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    for data in (b"", b"[]", b"\xff", b"[" * 100_000, b'{"kind": "certificate"}'):
        path.write_bytes(data)
        with pytest.raises(InvalidInput):
            certificate.read(path)
    for other in (tmp_path, tmp_path / "none.json", Path("/dev/zero")):
        with pytest.raises(InvalidInput):
            certificate.read(other)


def test_a_fingerprint_depends_on_every_array() -> None:
    given = problem(VARIANT)
    others = [given._replace(**{name: value}) for name, value in changed(given).items()]
    assert len({certificate.fingerprint(one) for one in (given, *others)}) == 1 + len(others)
    assert certificate.fingerprint(given) == certificate.fingerprint(problem(VARIANT))


def changed(given: Any) -> dict[str, Any]:
    found = {"x": given.x + 1, "dy": given.dy + 1, "lengths": np.arange(1, 6)}
    return found | {name: (getattr(given, name)[0], getattr(given, name)[1] + 1) for name in ("state0", "dstate")}


def test_the_checksum_is_that_of_every_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    one = certificate.file_facts("source", tmp_path / "a", "")
    assert (one["bytes"], one["sha256"][:8]) == (3, "ba7816bf")  # NIST's example
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    seen = set()
    for name, data in (("x", b"12"), ("deep/y", b"3"), ("x", b"1"), ("deep/y", b"23")):
        (folder / name).write_bytes(data)
        seen.add(certificate.file_facts("source", folder, "")["sha256"])
    assert len(seen) == 4
