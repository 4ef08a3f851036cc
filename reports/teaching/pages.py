"""Lessons as static pages: no script, and nothing is loaded from elsewhere."""

from collections.abc import Container, Sequence

from reports.page.render import style
from reports.teaching import sources
from reports.teaching.html import templates
from reports.teaching.script import Lesson, Ran


def page(ran: Sequence[Ran], lesson: Lesson, others: Sequence[Lesson]) -> str:
    """The page of a lesson that was run; ``others`` are all lessons in order, among them this one."""
    place = [other.number for other in others].index(lesson.number)
    return (
        templates()
        .get_template("lesson.html.j2")
        .render(
            lesson=lesson,
            ran=ran,
            previous=others[place - 1] if place > 0 else None,
            following=others[place + 1] if place + 1 < len(others) else None,
            notation=sources.notation(),
            style=style("lesson.css"),
        )
    )


def index(
    lessons: Sequence[Lesson],
    steppers: Sequence[tuple[str, str]],
    there: Container[int] | None = None,
    reference: str = "",
) -> str:
    """The page that leads to the lessons: to all of them, or to those whose numbers are in ``there``.

    ``steppers`` are file names and titles; ``reference`` is the address of the API pages, empty where there are none.
    """
    linked = [there is None or lesson.number in there for lesson in lessons]
    return (
        templates()
        .get_template("lessons.html.j2")
        .render(
            lessons=list(zip(lessons, linked, strict=True)),
            steppers=steppers,
            reference=reference,
            style=style("lesson.css"),
        )
    )


def file_name(lesson: Lesson) -> str:
    return f"{lesson.name}.html"
