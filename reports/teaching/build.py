"""All lessons as pages, and as notebooks: each is run, in a namespace of its own, over several processes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from common import parallel
from common.errors import InvalidInput, choice
from common.parallel import Piece
from reports.page.render import write_all

from . import pages, script, stepper

# Its timings want a machine that does nothing else.
MEASURES_TIME = (11,)


def build(
    folder: Path, numbers: Sequence[int], notebooks: bool, jobs: int, done: Callable[[], None] = lambda: None
) -> list[Path]:
    """Writes the lessons with these numbers (all if none are given), the steppers and the index; returns the files.

    ``done`` is called after every lesson and every stepper. Raises ``InvalidInput`` for an unknown number, and lets
    through what a lesson raises.
    """
    known = {lesson.number: lesson for lesson in script.lessons()}
    if unknown := [number for number in numbers if number not in known]:
        raise InvalidInput(choice("lesson", [str(number) for number in known], unknown[0]))
    chosen = sorted(set(numbers)) or list(known)
    quiet = [number for number in chosen if number in MEASURES_TIME]
    texts: dict[str, str] = {}
    for group, processes in (([n for n in chosen if n not in quiet], jobs), (quiet, 1)):
        work = [Piece(f"lesson {number}", lesson_files, (known[number].path, notebooks)) for number in group]
        for made in parallel.run(work, min(processes, len(work)) or 1):
            texts |= made
            done()
    for made in parallel.run([Piece(name, _stepper, (name, cell)) for name, _, cell in stepper.PAGES], jobs):
        texts |= made
        done()
    there = {number for number, lesson in known.items() if _is_there(pages.file_name(lesson), texts, folder)}
    titles = [(name, title) for name, title, _ in stepper.PAGES]
    texts["index.html"] = pages.index(tuple(known.values()), titles, there)
    return write_all(folder, texts)


def _is_there(name: str, texts: dict[str, str], folder: Path) -> bool:
    """Whether the index can lead to a page: made now, or before."""
    return name in texts or (folder / name).exists()


def _stepper(name: str, cell: str) -> dict[str, str]:
    return {name: stepper.lesson_page(cell)}


def count(numbers: Sequence[int]) -> int:
    """How often ``build`` calls ``done``."""
    return len(set(numbers) or script.lessons()) + len(stepper.PAGES)


def lesson_files(path: Path, notebook: bool) -> dict[str, str]:
    """File name -> text of a lesson that was run now."""
    lesson = script.read(path)
    ran = script.run(lesson)
    made = {pages.file_name(lesson): pages.page(ran, lesson, script.lessons())}
    if notebook:
        from . import notebooks

        made[f"{lesson.name}.ipynb"] = notebooks.notebook(ran)
    return made
