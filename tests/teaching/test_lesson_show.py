"""What a lesson shows: printed in a plain run, collected for the page, displayed in a notebook."""

import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput
from reports.page.model import Plot
from reports.teaching import show
from reports.teaching.html import fragment
from reports.teaching.items import Sentence


def test_a_plain_run_prints_everything(capsys: pytest.CaptureFixture[str]) -> None:
    def said(what: Callable[..., None], *arguments: Any, **options: Any) -> str:
        what(*arguments, **options)
        return capsys.readouterr().out

    assert said(show.text, "A *sentence*.") == "A *sentence*.\n"
    assert said(show.output, "Caption", {"a": 1}) == "Caption\n{'a': 1}\n"
    table = said(show.table, "Title", ("one", "two"), [("x", 1.5)], numbers=(1,), note="A note.")
    assert all(word in table for word in ("Title", "one", "two", "x", "1.5", "A note."))
    plot = said(show.plot, "Falls", [1, 2], {"y": [3, 2]}, alt="From 3 to 2.", x_label="x")
    assert plot == "Falls: From 3 to 2.\n"
    snippet = said(show.source, "jax_impl/base.py", "Module.state_dict")
    assert snippet.startswith("jax_impl/base.py, Module.state_dict\ndef state_dict(")
    beside = said(show.lines, "C3", "C4", "U1").splitlines()
    assert beside[0] == r"(C3) h = \phi(a)"
    assert beside[1:3] == ["  NumPy   h = phi(a)", "  JAX     h = NONLINEARITIES[nonlinearity](a)"]
    assert beside[6] == "  JAX     derived by autodiff from h = NONLINEARITIES[nonlinearity](a)"
    assert beside[-1] == "  PyTorch adds up the gradients of all uses of a value automatically"


@pytest.mark.parametrize("rows", [[], [("a",)], [("a", "b"), ("a", "b", "c")]])
def test_a_table_of_another_width_is_refused(rows: list[tuple[str, ...]]) -> None:
    with (
        show.collecting() as items,
        pytest.raises(InvalidInput, match=r"rows of 'Mine': expected some, of 2 cells, got"),
    ):
        show.table("Mine", ("one", "two"), rows)
    assert not items


def test_curves_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"curves of 'Mine': expected \(2, 2\), got"):
        show.plot("Mine", np.ones((2, 2)), {"y": np.ones((2, 2))}, alt="", x_label="x")
    for curves in ({"y": [1, 2]}, {"y": [1, 2, 3], "z": np.ones((3, 1))}):
        with show.collecting() as items, pytest.raises(InvalidInput, match=r"curves of 'Mine': expected \(3,\), got"):
            show.plot("Mine", [1, 2, 3], curves, alt="", x_label="x")
        assert not items


def test_a_plot_holds_its_numbers() -> None:
    with show.collecting() as items:
        show.plot("Falls", range(3), {"y": [1e-3, 0, 2], "z": [4, 5, 6]}, alt="It falls.", x_label="t", log=True)
    (plot,) = items
    assert isinstance(plot, Plot)
    assert plot.data.columns == ("t", "y", "z")
    assert plot.data.rows == (("0", "0.001", "4"), ("1", "0", "5"), ("2", "2", "6"))
    assert [key.label for key in plot.legend] == ["y", "z"]
    assert len({key.mark for key in plot.legend}) == 2
    assert 'aria-label="It falls."' in plot.panels[0].svg


def drawn(plot: Plot, place: int) -> list[tuple[float, float]]:
    """The points of a curve, in pixels of the picture; y is measured from the top."""
    stroke = rf'stroke="var\({plot.legend[place].colour}\)"'
    (path,) = re.findall(rf'<path d="([^"]*)"[^>]*{stroke} stroke-width="1.6"', plot.panels[0].svg)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def heights(svg: str) -> dict[float, float]:
    """Label on the y axis -> its pixel."""
    found = re.findall(r'text-anchor="end"[^>]* y="([\d.]+)">([\d.−]+)</text>', svg)
    return {float(label.replace("−", "-")): float(y) for y, label in found}


def test_a_plot_draws_its_numbers() -> None:
    """Each curve has its own colour and its right positions on the axes."""
    x, curves = [1, 2, 4], {"bent": [3.0, -1.0, 2.0], "rising": [0.0, 1.0, 4.0]}
    with show.collecting() as items:
        show.plot("Two", x, curves, alt="Both end above.", x_label="t")
    (plot,) = items
    assert isinstance(plot, Plot)
    assert [key.label for key in plot.legend] == list(curves)
    ticks = sorted(heights(plot.panels[0].svg).items())
    (low, bottom), (high, top) = ticks[0], ticks[-1]
    assert bottom > top
    for place, y in enumerate(curves.values()):
        points = drawn(plot, place)
        across, down = zip(*points, strict=True)
        assert across[0] < across[1] < across[2]
        assert (across[2] - across[1]) / (across[1] - across[0]) == pytest.approx(2, abs=0.01)
        label = 3.8  # the base line of a label is below its tick
        wanted = [bottom - label + (value - low) / (high - low) * (top - bottom) for value in y]
        assert down == pytest.approx(wanted, abs=1)


def test_a_plot_in_logarithms_leaves_zero_out() -> None:
    with show.collecting() as items:
        show.plot("Falls", range(4), {"y": [1.0, 0.1, 0.0, 1e-3]}, alt="It falls.", x_label="t", log=True)
    (plot,) = items
    assert isinstance(plot, Plot)
    first, second, last = drawn(plot, 0)
    assert (last[0] - first[0]) / (second[0] - first[0]) == pytest.approx(3, abs=0.01)
    assert (last[1] - first[1]) / (second[1] - first[1]) == pytest.approx(3, abs=0.05)
    assert first[1] < last[1]


def test_a_notebook_displays_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    displayed = []

    def display(data: dict[str, str], raw: bool) -> None:
        assert raw
        displayed.append(data)

    shell: list[object] = [object()]
    module = SimpleNamespace(get_ipython=lambda: shell[0], display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", module)  # pyright: ignore[reportArgumentType]
    show.text("Here $a$.")
    assert displayed == [{"text/html": fragment(Sentence("Here $a$."))}]
    assert "<math" in displayed[0]["text/html"]
    assert "<style>" in displayed[0]["text/html"]
    with show.collecting() as items:
        show.text("collected")
    assert (len(items), len(displayed), capsys.readouterr().out) == (1, 1, "")
    shell[0] = None  # imported, but not running
    show.text("Printed.")
    assert (len(displayed), capsys.readouterr().out) == (1, "Printed.\n")
