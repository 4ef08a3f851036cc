"""Builds all lessons as pages and as notebooks; each lesson runs in its own namespace, in one of several processes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from common import parallel
from common.errors import InvalidInput, choice
from common.parallel import Piece
from reports.page.render import write_all
from reports.teaching import pages, script, stepper

# Lessons that measure time: nothing else may run beside them.
MEASURES_TIME = (11,)
# The pages of the API, as seen from the lessons.
REFERENCE = "../api/index.html"


def build(
    folder: Path, numbers: Sequence[int], notebooks: bool, jobs: int, done: Callable[[], None] = lambda: None
) -> list[Path]:
    """Writes the lessons with these numbers (all if none are given), the steppers and the index; returns the files.

    ``done`` is called after every lesson and every stepper. Raises ``InvalidInput`` for an unknown number, and whatever
    a lesson raises.
    """
    known = {lesson.number: lesson for lesson in script.lessons()}
    if unknown := [number for number in numbers if number not in known]:
        raise InvalidInput(choice("lesson", [str(number) for number in known], unknown[0]))
    chosen = sorted(set(numbers)) or list(known)
    alone = [number for number in chosen if number in MEASURES_TIME]
    texts: dict[str, str] = {}
    for group, processes in (([n for n in chosen if n not in alone], jobs), (alone, 1)):
        work = [Piece(f"lesson {number}", lesson_files, (known[number].path, notebooks)) for number in group]
        for made in parallel.run(work, min(processes, len(work)) or 1):
            texts |= made
            done()
    for made in parallel.run([Piece(name, _stepper, (name, cell)) for name, _, cell in stepper.PAGES], jobs):
        texts |= made
        done()
    there = {number for number, lesson in known.items() if _is_there(pages.file_name(lesson), texts, folder)}
    titles = [(name, title) for name, title, _ in stepper.PAGES]
    texts["index.html"] = pages.index(tuple(known.values()), titles, there, reference(folder))
    return write_all(folder, texts)


def _is_there(name: str, texts: dict[str, str], folder: Path) -> bool:
    """Whether a page exists, so that the index can link to it: it was made now or earlier."""
    return name in texts or (folder / name).exists()


def reference(folder: Path) -> str:
    """The address of the API pages as seen from the lessons in this folder; empty where there are none."""
    return REFERENCE if (folder / REFERENCE).is_file() else ""


def _stepper(name: str, cell: str) -> dict[str, str]:
    return {name: stepper.lesson_page(cell)}


def count(numbers: Sequence[int]) -> int:
    """How many times ``build`` calls ``done``."""
    return len(set(numbers) or script.lessons()) + len(stepper.PAGES)


def lesson_files(path: Path, notebook: bool) -> dict[str, str]:
    """Runs a lesson; returns file name -> text."""
    lesson = script.read(path)
    ran = script.run(lesson)
    made = {pages.file_name(lesson): pages.page(ran, lesson, script.lessons())}
    if notebook:
        from reports.teaching import notebooks

        made[f"{lesson.name}.ipynb"] = notebooks.notebook(ran)
    return made
