"""The reference pages: every public module has one, none asks for anything from elsewhere, the search finds."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from common.errors import InvalidInput
from reports import reference, write
from tests.browser import PHONE, chromium, opened

ROOT = Path(__file__).parent.parent.parent
NAMES = ("common", "common.model", "common.model.spec", "numpy_impl", "numpy_impl.lstm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write(tmp_path_factory.mktemp("api"), NAMES).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_every_public_module_is_documented() -> None:
    files = (path.relative_to(ROOT) for name in reference.PACKAGES for path in (ROOT / name).rglob("*.py"))
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    assert set(reference.modules()) == {name for name in modules if "._" not in name}
    assert [name for name in reference.modules() if not import_module(name).__doc__] == []


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    pages = list(folder.rglob("*.html"))
    assert len(pages) == len(NAMES) + 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.count("Content-Security-Policy") == 1
        for address in re.findall(r'(?:src|href)="([^"#]*)', text):
            assert address in ("", "data:,", "${url}") or (page.parent / address).exists(), address


def test_numbers_of_equations_lead_to_them(folder: Path) -> None:
    equations = (folder / "derivation.html").read_text(encoding="utf-8")
    tags = re.findall(r'derivation\.html#(\w+)"', (folder / "numpy_impl" / "lstm.html").read_text(encoding="utf-8"))
    assert {"L1", "L25"} <= set(tags)
    assert all(f'id="{tag}"' in equations for tag in tags)


def test_shapes_are_no_emphasis() -> None:
    text = "y (T, B, D*H), states (L*D, B, H), a <name>, ``a*b``.\n\n>>> 2*3\n6\n\n    x*y"
    escaped = "y (T, B, D\\*H), states (L\\*D, B, H), a &lt;name>, ``a*b``.\n\n>>> 2*3\n6\n\n    x*y"
    assert reference.markdown(text) == escaped


def test_a_room_lists_its_modules_and_a_class_no_field_twice(folder: Path) -> None:
    assert 'href="model/spec.html"' in (folder / "common" / "model.html").read_text(encoding="utf-8")
    spec = (folder / "common" / "model" / "spec.html").read_text(encoding="utf-8")
    assert 'id="ModelSpec.output_size"' in spec
    assert 'id="ModelSpec.hidden_size"' not in spec


@pytest.mark.parametrize("name", ["index", "derivation", "common/model/spec", "numpy_impl/lstm"])
def test_pages_fit_a_phone(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, folder / f"{name}.html", viewport=PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_search_finds(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "numpy_impl" / "lstm.html").as_uri())
    page.fill("input[type=search]", "state_shapes")
    page.wait_for_selector("text=common.model.spec.ModelSpec.state_shapes", timeout=10_000)


def test_the_report_links_to_the_reference_that_is_there(folder: Path, tmp_path: Path) -> None:
    for made in (False, True):
        if made:
            (tmp_path / "api").symlink_to(folder)
        write([], tmp_path, partial=True)
        for name in ("report.html", "report.md"):
            assert ("api/index.html" in (tmp_path / name).read_text(encoding="utf-8")) is made


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="folder: expected"):
        reference.write(tmp_path, NAMES)
    assert (tmp_path / "thesis.txt").exists()
