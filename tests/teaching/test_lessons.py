"""The lessons: each has the parts of a lesson, states no number that was not computed, runs, and makes its page."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser

from reports.teaching import pages, script, stepper
from reports.teaching.build import lesson_files
from reports.teaching.script import Cell, Lesson
from tests.browser import AUDIT, PHONE, opened

PATHS = [lesson.path for lesson in script.lessons()]
every_lesson = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
LARGEST = 1_000_000

# Code in backticks is not prose. Mathematics is searched for powers of ten only.
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
MATHEMATICS = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
ABBREVIATION = re.compile(
    r"\b(?:(?:e\.\s?g|i\.\s?e|vs|cf)\.|(?:et al|etc|resp|approx)\.(?=[,;:)]|\s[a-z(])"
    r"|(?:Eqs?|Figs?|Nos?|Sec|pp?|v)\.(?=\s?\d))"
)
# The end of a sentence: a full stop after a word or a bracket, before a space, the end of a line or of the text.
END = re.compile(r"[.?!]+[)\]\"'”’*_]*(?=\s|$)")
MEASURED = {
    "a decimal number": re.compile(r"(?<![\w.])\d*\.\d+(?![\w.])"),
    "a percentage": re.compile(r"[\d.]*\s*(?:\\?%|\bper ?cent\b)"),
    "a number with an exponent": re.compile(r"\b\d+(?:\.\d*)?[eE][-+−]?\d+\b"),
}
POWER = re.compile(r"10\s*\^\s*\{?\s*[-−]?\d+|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def sentences(text: str) -> int:
    """The number of sentences in a text; 0 if the text does not end with the end of a sentence."""
    text = MATHEMATICS.sub("it", CODE.sub("it", text)).strip()
    text = ABBREVIATION.sub("it", text)
    ends = list(END.finditer(text))
    return len(ends) if ends and ends[-1].end() == len(text) else 0


def measured(prose: str) -> list[str]:
    """The numbers in prose that look computed, each with its kind."""
    text = CODE.sub(" ", prose)
    found = [f"a power of ten: {match[0]}" for match in POWER.finditer(text)]
    text = MATHEMATICS.sub(" ", text)
    return found + [f"{what}: {match[0]}" for what, form in MEASURED.items() for match in form.finditer(text)]


def calls(cell: Cell) -> list[str]:
    """The functions that a cell calls, as they are written."""
    nodes = [] if cell.prose else list(ast.walk(ast.parse(cell.text)))
    return [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]


def asserts(cell: Cell) -> int:
    """The number of assertions, including NumPy's."""
    nodes = [] if cell.prose else list(ast.walk(ast.parse(cell.text)))
    own = sum(isinstance(node, ast.Assert) for node in nodes)
    return own + sum(call.startswith("np.testing.assert_") for call in calls(cell))


def opening_problems(lesson: Lesson) -> list[str]:
    """Problems of the first cell."""
    first, found = lesson.cells[0].text, []
    if not re.match(rf"# {lesson.number}\. \S", first):
        found.append(f"title: {first.splitlines()[0]}")
    for word in ("Question", "Answer"):
        if first.count(f"**{word}.** ") != 1:
            found.append(f"{word}: {first.count(f'**{word}.** ')} of them")
        elif word == "Question" and not lesson.opening(word).endswith("?"):
            found.append(f"Question: asks nothing: {lesson.opening(word)}")
        elif word == "Answer" and (count := sentences(lesson.opening(word))) != 3:
            found.append(f"Answer: {count} sentences")
    headings = [row for cell in lesson.cells if cell.prose for row in CODE.sub("", cell.text).splitlines()]
    if sum(row.startswith("# ") for row in headings) != 1:
        found.append("title: not one")
    return found


def exercise_problems(lesson: Lesson) -> list[str]:
    """Problems of the exercises and their solutions; a solution may have several cells."""
    cells, found = lesson.cells, []
    places = [n for n, cell in enumerate(cells) if cell.prose and "### Exercise" in cell.text]
    headings = [row for n in places for row in cells[n].text.splitlines() if row.startswith("### Exercise")]
    if headings != ["### Exercise 1", "### Exercise 2"]:
        found.append(f"exercises: {', '.join(headings) or 'none'}")
    ends = [*places[1:], len(cells)]
    for place, end in zip(places, ends, strict=False):
        solution = [cell for cell in cells[place + 1 : end] if cell.tag == "solution"]
        if cells[place + 1 : place + 2] != tuple(solution[:1]) or not solution:
            found.append(f"line {cells[place].line}: an exercise without a solution after it")
        elif not any(map(asserts, solution)):
            found.append(f"line {solution[0].line}: a solution without an assert")
    within = [cell for place, end in zip(places, ends, strict=False) for cell in cells[place:end]]
    found += [
        f"line {cell.line}: a solution of nothing" for cell in cells if cell.tag == "solution" and cell not in within
    ]
    return found


def problems(lesson: Lesson) -> list[str]:
    """Everything that keeps a script from being a lesson, in words."""
    found = opening_problems(lesson) + exercise_problems(lesson)
    if (count := sum(asserts(cell) for cell in lesson.cells if cell.tag != "solution")) < 5:
        found.append(f"asserts: {count} outside of the solutions")
    for cell in lesson.cells:
        if cell.prose:
            found += [f"line {cell.line}: {number}" for number in measured(cell.text)]
    if not any(call in ("show.table", "show.plot") for cell in lesson.cells for call in calls(cell)):
        found.append("no table and no plot")
    for number, row in enumerate(lesson.path.read_text("utf-8").splitlines(), 1):
        if len(row) > 120:
            found.append(f"line {number}: {len(row)} characters")
    return found


def page_problems(text: str, known: set[str]) -> list[str]:
    """What a page must not have; ``known`` are the files to which it may link."""
    found = [] if len(text.encode()) < LARGEST else [f"{len(text.encode())} bytes"]
    found += re.findall(r"<script|@import|<iframe|<object|<embed|url\((?!#)", text)
    ids = re.findall(r'\sid="([^"]*)"', text)
    found += [f"twice: {name}" for name in sorted(set(ids)) if ids.count(name) > 1]
    for link in re.findall(r'\s(?:[\w-]+:)?(?:href|src|srcset)="([^"]*)"', text):
        file, _, anchor = link.partition("#")
        if link != "data:," and (file not in known if file else anchor not in ids):
            found.append(f"link: {link}")
    found += [f"mathematics that was not read: {part}" for part in re.findall(r"<m[a-z]+>\\\w+", text)]
    prose = re.sub(r"<(style|pre|code|svg|td|th)\b.*?</\1>", "", text, flags=re.DOTALL)
    return found + [f"mathematics left as it is: {part}" for part in re.findall(r".{0,20}\$.{0,20}", prose)]


def test_the_lessons_are_numbered() -> None:
    assert [lesson.number for lesson in script.lessons()] == list(range(1, 13))


@every_lesson
def test_a_lesson_has_its_parts(path: Path) -> None:
    assert problems(script.read(path)) == []


@every_lesson
def test_a_lesson_runs_and_makes_its_page(path: Path, browser: Browser, tmp_path: Path) -> None:
    """Every assert in it holds, and its page is self-contained and legible in a browser."""
    lesson, made = script.read(path), lesson_files(path, True)
    assert set(made) == {f"{lesson.name}.html", f"{lesson.name}.ipynb"}
    known = {"index.html", *map(pages.file_name, script.lessons()), *(name for name, _, _ in stepper.PAGES)}
    assert page_problems(made[f"{lesson.name}.html"], known) == []
    notebook = nbformat.reads(made[f"{lesson.name}.ipynb"], as_version=4)
    nbformat.validate(notebook)
    assert [cell["source"] for cell in notebook.cells] == [cell.text for cell in lesson.cells]
    file = tmp_path / pages.file_name(lesson)
    file.write_text(made[file.name], encoding="utf-8")
    for options in ({}, {"viewport": PHONE}, {"color_scheme": "dark"}):
        with opened(browser, file, **options) as page:
            page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
            assert page.evaluate(AUDIT) == []


GOOD = """\
# %% [markdown]
# # 3. A title
#
# **Question.** Why (e.g. in `a.b`)?
#
# **Answer.** It is so, e.g. here: see $x. Y$. Is it? The code `a. B` says it.
#
# In 1997 there were 2 of them, see `0.5`, `1e-5` and $0.5$, version 3.

# %%
from reports.teaching import show
assert 1
assert 2
assert 3
assert 4
for n in range(2):
    assert n < 2
show.table("Title", ("a",), [("0.5",)])

# %% [markdown]
# ## Exercises
#
# ### Exercise 1
#
# Do it.

# %% tags=["solution"]
assert "first"

# %% [markdown]
# ### Exercise 2
#
# Do it again.

# %% tags=["solution"]
assert "second"
"""
BAD = [
    ("# # 3. A", "# # 4. A", "title: # 4. A title"),
    ("# # 3. A title", "# # A title", "title: # A title"),
    ("# ## Exercises", "# # Exercises", "title: not one"),
    ("**Question.** ", "", "Question: 0 of them"),
    ("`a.b`)?", "`a.b`).", "Question: asks nothing: Why (e.g. in `a.b`)."),
    ("**Answer.** ", "**Answer:** ", "Answer: 0 of them"),
    ("# **Answer.** It is so", "# **Answer.** One more. It is so", "Answer: 4 sentences"),
    ("Is it? The", "Is it, the", "Answer: 2 sentences"),
    ("says it.", "says it", "Answer: 0 sentences"),
    ("In 1997 there", "In 0.25 there", "line 2: a decimal number: 0.25"),
    ("In 1997 there", "In .5 there", "line 2: a decimal number: .5"),
    ("Do it again.", "Do 97% of it.", "line 31: a percentage: 97%"),
    ("Do it again.", "Do 97 percent of it.", "line 31: a percentage: 97 percent"),
    ("Do it again.", "Do it to 1e-5.", "line 31: a number with an exponent: 1e-5"),
    ("Do it again.", "Do it to $3 \\cdot 10^{-5}$.", "line 31: a power of ten: 10^{-5"),
    ("Do it again.", "Do it 10⁻⁵ times.", "line 31: a power of ten: 10⁻⁵"),
    ("assert 4", "", "asserts: 4 outside of the solutions"),
    ("show.table(", "show.text(", "no table and no plot"),
    ("# ### Exercise 2", "# ### More", "exercises: ### Exercise 1"),
    ("# ### Exercise 2", "# ### Exercise 1", "exercises: ### Exercise 1, ### Exercise 1"),
    ("assert 4", "np.testing.assert_array_equal(4, 4)", None),
    ('assert "first"', "pass", "line 28: a solution without an assert"),
    ('# %% tags=["solution"]\nassert "second"', "# %%\nassert 5", "line 31: an exercise without a solution after it"),
    ("show.table(", '# %% tags=["solution"]\nshow.table(', "line 19: a solution of nothing"),
    ("assert 4", "assert 4  # " + "." * 110, "line 15: 122 characters"),
]  # fmt: skip


def small(folder: Path, text: str) -> Lesson:
    (folder / "03_a_title.py").write_text(text, encoding="utf-8")
    return script.read(folder / "03_a_title.py")


@pytest.mark.parametrize(("old", "new", "problem"), BAD)
def test_a_planted_fault_is_found(old: str, new: str, problem: str | None, tmp_path: Path) -> None:
    assert GOOD.count(old) == 1
    assert problems(small(tmp_path, GOOD)) == []
    assert problems(small(tmp_path, GOOD.replace(old, new))) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two? Three!", 3),
        ("As 3.5 of them (see `a. b. c.`). And $a. b.$ too.", 2),
        ("See Fig. 2 by Elman, et al. in v. 3. Is it? No. It is.", 4),
        ("It is *so.* He said \"no.\" Then i.e. that, i. e. this.", 3),
        ("It ends without", 0),
        ("Wait ... there. More", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count


def test_a_bad_page_is_found() -> None:
    fine = (
        '<p class="a" id="here"><a href="#here">a</a><a href="index.html">b</a><link href="data:,"><code>$</code></p>'
    )
    assert page_problems(fine, {"index.html"}) == []
    for bad in (
        *("<script>", '<a href="other.html">', '<a href="#there">', '<img src="https://a.b/c.png">', "a $x$ b"),
        *(
            '<a href="http://a.b">',
            '<p id="here">',
            '<use xlink:href="#there"/>',
            "<mi>\\foo</mi>",
            "x" * LARGEST,
            "url(//a.b/c.woff)",
        ),
    ):
        assert len(page_problems(fine + bad, {"index.html"})) == 1, bad[:30]
