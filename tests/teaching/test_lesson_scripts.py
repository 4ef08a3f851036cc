"""Lessons as scripts: how they are read and run, and the pages and notebooks made from what they show."""

import re
import traceback
from collections.abc import Callable
from html import escape
from pathlib import Path

import nbformat
import pytest

from common.errors import InvalidInput
from reports.page.model import Block, Table
from reports.teaching import build, html, notebooks, pages, script, show
from reports.teaching.items import Beside, Sentence
from reports.teaching.script import Cell, Lesson

TEXT = """\
# %% [markdown]
# # 7. Small & short
#
# **Question.** Is $a < b$,
# or not?
#
# **Answer.** Yes.
#
# It goes on.

# %% tags=["setup"]
from reports.teaching import show

a, b = 1, 2


def wrong():
    raise ArithmeticError("here")


# %% [markdown]
# ## Now
#     indented
# $$ \\\\frac{a}{b} $$ behind it.

# %%
print("printed <first>")
show.text("$a$ is `a < b` & less")
show.table("Sizes <of> all", ("name", "n"), [("<b>", 1), ("c & d", 2)], numbers=(1,), note="a > note")
print("printed last")

# %%
show.lines("C3")

# %% tags=["solution"]
c = a + b  # "quoted"
show.output("Out", f"<script>alert({c})</script>")
assert c == 3
""".replace("\\\\", "\\")
Write = Callable[..., Lesson]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str = TEXT, name: str = "07_small_one.py") -> Lesson:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return script.read(tmp_path / name)

    return written


def test_the_cells_of_a_script(write: Write) -> None:
    lesson = write()
    assert (lesson.number, lesson.name, lesson.title) == (7, "07-small-one", "Small & short")
    assert lesson.opening("Question") == "Is $a < b$, or not?"
    assert lesson.opening("Answer") == "Yes."
    with pytest.raises(InvalidInput, match=r"07_small_one.py: expected \*\*Moral.\*\* in its first cell, got none"):
        lesson.opening("Moral")
    assert [cell.prose for cell in lesson.cells] == [True, False, True, False, False, False]
    assert [cell.tag for cell in lesson.cells] == ["", "setup", "", "", "", "solution"]
    rows = TEXT.splitlines()
    for cell in lesson.cells:
        first = cell.text.splitlines()[0]
        assert rows[cell.line - 1] == (f"# {first}" if cell.prose else first)
    assert lesson.cells[2].text.splitlines() == ["## Now", "    indented", r"$$ \frac{a}{b} $$ behind it."]
    assert lesson.cells[1].text.endswith('raise ArithmeticError("here")')


def failing(lesson: Lesson) -> list[str]:
    """The lines of the lesson's file that are in the traceback of its run, as they are in the file."""
    with pytest.raises(ArithmeticError, match="here") as error:
        script.run(lesson)
    rows, path = lesson.path.read_text("utf-8").splitlines(), str(lesson.path)
    frames = traceback.extract_tb(error.value.__traceback__)
    return [rows[frame.lineno - 1] for frame in frames if frame.filename == path and frame.lineno]


def test_a_traceback_names_the_lines_of_the_file(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    lesson = write(TEXT + "\n# %%\n\n\nz = 0\nwrong()  # called\n")
    assert failing(lesson) == ["wrong()  # called", '    raise ArithmeticError("here")']
    assert failing(write(TEXT.replace("c = a", "wrong()\nc = a"))) == ["wrong()", '    raise ArithmeticError("here")']
    show.text("plain again")
    assert capsys.readouterr().out == "plain again\n"


def test_a_mistake_of_syntax_has_its_line(write: Write) -> None:
    lesson = write(TEXT.replace("c = a + b", "c = a +"))
    with pytest.raises(SyntaxError) as error:
        script.run(lesson)
    assert error.value.filename == str(lesson.path)
    assert "c = a +" in lesson.path.read_text("utf-8").splitlines()[(error.value.lineno or 0) - 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("setup", "hidden"),
            r"line 11: tag: expected one of setup, solution, got '# %% tags=\[.hidden.\]'",
        ),
        (TEXT.replace("# %%\nshow", "# %% Title\nshow"), "tag: expected one of setup, solution, got '# %% Title'"),
        (
            TEXT.replace("# ## Now", "# ## Now\nx = 1"),
            "07_small_one.py, prose at line 21: expected comments, got x = 1",
        ),
        (TEXT.partition("\n\n# %% tags")[2].join(("# %% tags", "")), "expected a first cell of prose"),
        ("", "07_small_one.py: expected cells that begin with # %%, got none"),
        ("import sys\n" + TEXT, "07_small_one.py: expected a first cell of prose, got something else"),
    ],
)
def test_a_script_that_is_no_lesson(text: str, message: str, write: Write) -> None:
    with pytest.raises(InvalidInput, match=message):
        write(text)


def test_a_run_collects_what_is_shown_and_printed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    lesson = write()
    ran = script.run(lesson)
    assert [own.cell for own in ran] == list(lesson.cells)
    assert [len(own.shown) for own in ran] == [0, 0, 0, 3, 1, 1]
    sentence, table, printed = ran[3].shown
    assert sentence == Sentence("$a$ is `a < b` & less")
    assert isinstance(table, Table)
    assert (table.columns, table.rows) == (("name", "n"), (("<b>", "1"), ("c & d", "2")))
    assert printed == Block("Printed", "printed <first>\nprinted last\n")
    (beside,) = ran[4].shown
    assert isinstance(beside, Beside)
    assert ran[5].shown == [Block("Out", "<script>alert(3)</script>")]
    assert capsys.readouterr().out == ""


def test_a_run_is_a_program_of_its_own(write: Write) -> None:
    more = "\n# %%\nassert __name__ == '__main__' and __file__.endswith('07_small_one.py')\n"
    script.run(write(TEXT + more))
    with pytest.raises(NameError):
        script.run(write("# %% [markdown]\n# Title\n\n# %%\nprint(a)\n"))


@pytest.mark.parametrize(
    ("code", "only"),
    [
        ('show.lines("C1")', True),
        ('# why\nshow.source("a.py", "f")\nshow.lines("C1", "C2")', True),
        ('show.lines("C1")\nx = 1', False),
        ('show.text("C1")', False),
        ('x = show.lines("C1")', False),
    ],
)
def test_a_cell_that_only_shows(code: str, only: bool) -> None:
    assert Cell(False, code, "", 1).only_shows is only


def folded(text: str, name: str) -> str:
    """The content of the only <details> of this class."""
    (found,) = re.findall(rf'<details class="{name}">(.*?)</details>', text, flags=re.DOTALL)
    return found


def test_a_page(write: Write) -> None:
    lesson, before = write(), write(TEXT.replace("# # 7.", "# # 6."), "06_before.py")
    text = pages.page(script.run(lesson), lesson, [before, lesson])
    tags = re.findall(r"<([a-z0-9]+)", text)
    assert tags.count("h1") == 1
    assert not {"script", "img", "iframe", "object", "embed"} & set(tags)
    assert not re.search(r"https?:|@import|[\"(]//", text.replace('xmlns="http://www.w3.org/1998/Math/MathML"', ""))
    assert set(re.findall(r'<a [^>]*href="(.*?)"', text)) == {"#content", "06-before.html", "index.html"}
    assert {"math", "mfrac"} <= set(tags)
    prose = re.sub(r"<(style|pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert "$" not in prose
    assert "\\" not in prose
    for mark in ("k", "n", "s2", "c1"):
        assert f'<span class="{mark}">' in text
    for computed in ("<script>alert(3)</script>", "Sizes <of> all", "<b>", "a > note", "printed <first>", "a < b"):
        assert computed not in text
        assert escape(computed) in text
    assert "alert(3)" in folded(text, "solution")
    assert "quoted" in folded(text, "solution")
    assert "ArithmeticError" in folded(text, "setup")
    assert "printed last" not in folded(text, "setup") + folded(text, "solution")
    assert ">lines<" not in text, "a cell that only shows is left out"
    assert "(C3)" in text


def test_a_page_leads_to_the_lessons_before_and_after_it(write: Write) -> None:
    titles = {5: "05_first.py", 7: "07_small_one.py", 9: "09_last.py"}
    lessons = [write(TEXT.replace("# # 7. ", f"# # {number}. To {number}: "), name) for number, name in titles.items()]
    first, middle, last = ((5, "05-first.html"), (7, "07-small-one.html"), (9, "09-last.html"))
    for place, previous, following in ((0, None, middle), (1, first, last), (2, middle, None)):
        text = pages.page(script.run(lessons[place]), lessons[place], lessons)
        for rel, other in (("prev", previous), ("next", following)):
            links = re.findall(rf'<a rel="{rel}" href="(.*?)">[← ]*(\d+)\. (.*?)[ →]*</a>', text)
            wanted = [(other[1], str(other[0]), escape(f"To {other[0]}: Small & short"))] if other else []
            assert links == 2 * wanted, "above and below"


def test_no_markup_of_a_lesson_reaches_the_page() -> None:
    text = "<script>alert(1)</script> and <b>bold</b>, $x < y$"
    for made in (html.prose(text), html.prose(text, inline=True), html.fragment(Sentence(text))):
        assert not re.search(r"<script|<b>", made)
        assert "&lt;script&gt;" in made


def test_an_index_leads_to_all(write: Write) -> None:
    lessons = [write(TEXT, f"{number:02}_number_{number}.py") for number in (1, 2)]
    text = pages.index(lessons, [("walk.html", "A walk <on>")])
    links = re.findall(r'<a [^>]*href="(.*?)"', text)
    assert links == ["#content", "01-number-1.html", "02-number-2.html", "walk.html"]
    assert escape("A walk <on>") in text
    assert text.count("<math") == 2


def test_the_index_leads_to_the_reference_only_where_it_exists(write: Write, tmp_path: Path) -> None:
    lessons, folder = [write()], tmp_path / "lessons"
    assert "Reference" not in pages.index(lessons, [], reference=build.reference(folder))
    folder.mkdir()
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "index.html").touch()
    text = pages.index(lessons, [], reference=build.reference(folder))
    links = re.findall(r'<a [^>]*href="(.*?)"', text)
    assert links == ["#content", "07-small-one.html", "../api/index.html"]
    assert (folder / links[-1]).resolve() == (tmp_path / "api" / "index.html").resolve()


def test_a_notebook(write: Write) -> None:
    lesson = write()
    ran = script.run(lesson)
    text = notebooks.notebook(ran)
    found = nbformat.reads(text, as_version=4)
    nbformat.validate(found)
    assert [cell["source"] for cell in found.cells] == [cell.text for cell in lesson.cells]
    for cell, own in zip(found.cells, ran, strict=True):
        assert cell["cell_type"] == ("markdown" if own.cell.prose else "code")
        assert cell["metadata"].get("tags", []) == ([own.cell.tag] if own.cell.tag else [])
        displayed = [output["data"]["text/html"] for output in cell.get("outputs", [])]
        assert displayed == [html.fragment(item) for item in own.shown]
    assert escape("<script>alert(3)</script>") in found.cells[5]["outputs"][0]["data"]["text/html"]
    assert notebooks.notebook(script.run(lesson)) == text
