"""Whatever a string of a record holds, a reader of the report or of its Markdown twin gets it as text."""

import json
import re
import shlex
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from playwright.sync_api import Browser, Page

from common import cli
from common.errors import InvalidInput
from reports.page.model import Report
from reports.page.render import markdown, page
from reports.page.svg import draw, identifier
from reports.sections import build
from tests.browser import INJECTED, TEXTS, without_policy
from tests.reports import hostile
from tests.study_records import HEADER, bench, check, environment, of_run, problem, run, training

# What would end a text, an attribute in either quotation mark, a cell, a fence, and the elements that hold no markup.
MARKUP = "<img src=x onerror=window.hit=1></title></style></script><script>window.hit=1</script>]]>&quot;<!-- "
QUOTED = "\" onmouseover=\"window.hit=1' onmouseover='window.hit=1"
HOSTILE = f"x\\|`{MARKUP}`\n\n\r{MARKUP}\n```\n~~~~\n{MARKUP}</details>{QUOTED}"
ADDRESS = "javascript:window.hit=1"
# What stands in it the same whether or not it was quoted for a shell.
PART, MARK = "</title></style></script><script>window.hit=1</script>]]>&quot;<!-- ", "zq7"
NOTHING = ["nothing ran"]
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as found:
        yield found


def problems(tab: Page, report: Report, part: str = "") -> list[str]:
    """What runs or stands on the page, without its policy, or in the twin, and must not; ``part`` must be shown."""
    tab.set_content(without_policy(page(report)))
    found = tab.evaluate(INJECTED)
    # Some texts are shown in capitals or without them.
    lost = [f"not shown: {part}"] if part.lower() not in tab.evaluate(TEXTS).lower() else []
    tab.set_content(MARKDOWN.render(markdown(report)))
    return [text for text in (*found, *lost, *tab.evaluate(INJECTED)) if text not in NOTHING]


@pytest.mark.parametrize("of", hostile.SETS)
def test_every_string_of_a_record_is_text(of: str, tab: Page) -> None:
    for field in (field for field in hostile.fields() if field.of == of):
        is_shown = MARK in page(build(hostile.changed(field, MARK))).lower()
        report = build(hostile.changed(field, HOSTILE))
        assert problems(tab, report, PART if is_shown else "") == [], str(field)


@pytest.mark.parametrize("text", [ADDRESS, HOSTILE.replace("'", "").replace('"', "")], ids=["address", "markup"])
@pytest.mark.parametrize("of", hostile.SETS)
def test_all_strings_of_a_set_at_once(of: str, text: str, tab: Page) -> None:
    rows = hostile.SETS[of]
    for field in (field for field in hostile.fields() if field.of == of):
        rows = hostile.replaced(rows, field, text)
    assert problems(tab, build(rows)) == []


def test_a_page_whose_text_is_not_escaped_is_seen(tab: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: on a page that takes text as it is, and on a twin that does."""
    report = build(hostile.changed(hostile.Field("training", "training", ("reading",)), HOSTILE))
    for name in ("page", "markdown"):
        with monkeypatch.context() as patch:
            make = globals()[name]
            patch.setitem(globals(), name, lambda report, make=make: unescape(unescape(make(report))))
            assert problems(tab, report)[0] == 1


def test_a_records_file_with_markup_in_it_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command: what cannot be a record is refused in a line, everything else is text."""
    file = tmp_path / "records.jsonl"

    def report(*rows: dict) -> tuple[int, str]:
        every = [HEADER, *rows, {"kind": "end", "records": len(rows)}]
        file.write_text("".join(json.dumps(row) + "\n" for row in every), encoding="utf-8")
        code = cli.main(["report", str(file)])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = report(check() | {"kind": HOSTILE})
    assert (code, said.startswith(f"rosetta: kind of {file} line 2: expected one of header, ")) == (2, True)
    code, said = report(check(ratio=9, problem=problem() | {"spec": {"cell": HOSTILE}}))
    assert code == 2
    assert re.match(r"rosetta: (\w+) of spec of problem in .* line 2: expected a value, got nothing\n$", said)
    code, said = report(check(ratio=9, variant="\x1b[2J\ud800\u202eRNN\r"))
    assert code == 1
    assert said.startswith("NOT equivalent: 1 of 1 comparison is out of tolerance; the worst is y of \\x1b[2J\\ud800")
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
        assert "x1b" in text
        assert "ud800" in text


CHAINED = "RNN; touch here `touch there` $(touch everywhere) | sh 'x\"\n\r\x1b"
SPEC = problem()["spec"] | {"cell": CHAINED, "nonlinearity": CHAINED, "dtype": CHAINED}
PROBLEM: Any = problem() | {"spec": SPEC, "regime": CHAINED, "seed": CHAINED, "steps": CHAINED, "lengths": [CHAINED]}
RULE: Any = run()["optimizer"] | {"name": CHAINED, "lr": 1, "schedule": CHAINED, "schedule_steps": CHAINED}
RUN: Any = run() | {
    "task": CHAINED,
    "reading": CHAINED,
    "options": {CHAINED: CHAINED, "plain": [CHAINED]},
    "spec": SPEC,
}
RUN |= {"inputs": CHAINED, "optimizer": RULE, "epochs": CHAINED, "seed": CHAINED}


@pytest.mark.parametrize(
    "rows",
    [
        [HEADER | {"command": [CHAINED, "check", CHAINED]}, check()],
        [HEADER | {"command": ["rosetta", "check", CHAINED]}, check()],
        [HEADER | {"seed": CHAINED}, check()],
        [HEADER, check(ratio=9, problem=PROBLEM, cell="`touch there`; x", a="`y`\nz")],
        [HEADER, check(ratio=9, smallest=PROBLEM)],
        [HEADER, of_run(ratio=9, a=CHAINED) | {"run": RUN, "cell": CHAINED, "dtype": CHAINED}],
        [training(of=RUN, backend=CHAINED)],
        [hostile.ONE_BIAS | RUN],
        [bench(cell="`touch there`; x", seed=CHAINED)],
        [environment("machine", {"seed": "1; touch here"})],
    ],
    ids=["header", "check", "seed", "problem", "smallest", "run", "training", "one-bias", "bench", "environment"],
)
def test_a_command_to_paste_is_one_command(rows: list[Any]) -> None:
    """In the page, in its tables and in the twin, whose fences and quotes leave it as it is."""
    report = build(rows)
    tables = [table for part in report.sections for table in part.tables]
    commands = [command for part in report.sections for command in part.commands]
    commands += [row[place] for table in tables for place in table.code for row in table.rows]
    commands += [command for _, command in report.missing]
    fenced = re.findall(r"^(`{3,})sh\n(.*?)\n\1$", markdown(report), re.DOTALL | re.MULTILINE)
    assert [text for _, text in fenced] == ["\n".join(part.commands) for part in report.sections]
    for command in commands:
        assert shlex.join(shlex.split(command)) == command
        assert command.startswith("rosetta ")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", command)


def test_ids_are_safe_and_differ() -> None:
    words = ["RNN", "a-b", "a b", "a_b", "", "-", 'x" onload="y', "名前", "x" * 99, "x" * 99 + " ", "\ud800"]
    names = [identifier(word) for word in words]
    names += [identifier("a", "b-c"), identifier("a-b", "c"), identifier("a", "b", "c"), identifier("a.b", "c")]
    assert len(set(names)) == len(names)
    assert identifier("temporal-order", "6a") == "temporal-order.6a"
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name) for name in names)
    with pytest.raises(InvalidInput, match="name of a picture: expected an identifier, got"):
        draw('x" onload="y', 9, 9, "", lambda figure: None)


@pytest.mark.parametrize(
    "text", ["#fe0100", ' id="x"', 'href="#x"', "url(#x)", ' d="M 1.25 2.25"', "; font-family: x", ' style="fill: red"']
)
def test_text_of_a_picture_stays_what_it_is(text: str) -> None:
    """What is shortened in its tags is not touched in its text."""

    def paint(figure: Figure) -> None:
        figure.text(0.5, 0.5, f"say {text}")

    svg = draw("x", 90, 90, "", paint)
    assert f">say {escape(text, quote=False)}</text>" in svg
