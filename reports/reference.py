"""The reference pages: every public module of common and of the three implementations, and the derivation.

``python -m reports.reference [FOLDER]`` (``make docs``) imports the modules and writes what their signatures and
docstrings say, with pdoc: one page a module, a page of the equations with MathML, and an index with a search. The pages
need no network. Requires the extra ``docs``.
"""

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from shutil import rmtree
from typing import Any

from markupsafe import Markup
from pdoc import doc, render

from common.errors import InvalidInput, mismatch
from reports.page.policy import policy
from reports.teaching.html import prose
from reports.teaching.sources import folder as folder_of

PACKAGES = ("common", "numpy_impl", "jax_impl", "torch_impl")
TEMPLATES = Path(__file__).parent / "templates" / "api"
# Code, which stays as it is, or a character of plain text that Markdown would interpret: D*H, <name>.
LITERAL = re.compile(r"(``.+?``|`.+?`)|((?<=\w)\*(?=\w)|<(?=[A-Za-z/]))", re.DOTALL)
# Warnings about things that pdoc shows anyway: inherited fields of a TypedDict, a class that only stubs subscript.
UNREADABLE = ("Cannot determine where", "Error parsing type annotation argparse")
DISPLAYED = re.compile(r"\$\$\s(.+?)\s*\\tag\{(\w+)\}\s*\$\$", re.DOTALL)


def modules() -> tuple[str, ...]:
    """The full names of all public modules of the packages, each package before what is in it."""
    return tuple(name for package in PACKAGES for name in _names(package))


def _names(package: str) -> Iterator[str]:
    yield package
    for module in walk_packages(import_module(package).__path__, f"{package}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield module.name


def write(folder: Path, names: Sequence[str] = ()) -> Path:
    """Write the pages of all public modules, or of those named, into ``folder``; returns the index.

    Pages of an earlier call are removed first; ``InvalidInput`` is raised for a folder that holds anything else. A
    module that cannot be imported raises what its import raises.
    """
    if (folder / "search.js").exists():
        rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise InvalidInput(mismatch("folder", "an empty one, or one with reference pages", folder))
    render.configure(docformat="markdown", template_directory=TEMPLATES)
    render.env.tests["plain_field"] = _is_plain_field
    render.env.filters["as_markdown"] = markdown
    documented = {name: doc.Module.from_name(name) for name in names or modules()}
    text = (folder_of("numpy_impl") / "DERIVATION.md").read_text(encoding="utf-8")
    tags = [tag for _, tag in DISPLAYED.findall(text)]
    code = [name for name in documented if name.startswith("numpy_impl.")]
    equations = render.env.get_template("derivation.html.jinja2").render(content=derivation(text), modules=code)
    with warnings.catch_warnings():
        for text in UNREADABLE:
            warnings.filterwarnings("ignore", text, UserWarning)
        pages = {"index": render.html_index(documented), "derivation": equations}
        pages |= {name: render.html_module(module, documented) for name, module in documented.items()}
        search = render.search_index(documented)
    for name, page in pages.items():
        path = folder / f"{name.replace('.', '/')}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(finished(page, "../" * name.count("."), tags), encoding="utf-8")
    (folder / "search.js").write_text(search, encoding="utf-8")
    return folder / "index.html"


def _is_plain_field(member: doc.Doc) -> bool:
    """Whether this is a field of a dataclass or a NamedTuple without words of its own."""
    owner: Any = import_module(member.modulename)
    for name in member.qualname.split(".")[:-1]:
        owner = getattr(owner, name, None)
    fields = getattr(owner, "__dataclass_fields__", getattr(owner, "_fields", ()))
    return member.name in fields and (not member.docstring or member.docstring.startswith("Alias for field number"))


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its text means what it says, and its code and examples are left alone."""
    parts = re.split(r"(\n\s*\n)", docstring)
    return "".join(part if part.startswith((">>>", "    ")) else LITERAL.sub(_literal, part) for part in parts)


def _literal(match: re.Match[str]) -> str:
    code, character = match.groups()
    return code or {"*": r"\*", "<": "&lt;"}[character]


def derivation(text: str) -> Markup:
    """The equations as HTML; the number at the end of each can be linked to."""
    html = str(prose(DISPLAYED.sub(r"$$\1 \\qquad \\text{(\2)}$$", text)))
    return Markup(re.sub(r"<mtext>\((\w+)\)</mtext>", r'<mtext id="\1">(\1)</mtext>', html))


def finished(page: str, root: str, tags: Sequence[str]) -> str:
    """A page with links from the numbers of equations in code to the derivation, and with its policy."""
    numbers = "|".join(tags)
    page = re.sub(rf"# \(({numbers})\)(?=</span>)", rf'# (<a href="{root}derivation.html#\1">\1</a>)', page)
    page = re.sub(r"\bDERIVATION\.md\b", f'<a href="{root}derivation.html">DERIVATION.md</a>', page)
    styles, scripts = (re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL) for name in ("style", "script"))
    rule = policy(styles, scripts)
    if scripts:  # the search loads its index, a script beside the pages, when something is first looked for
        rule = rule.replace("script-src ", "script-src 'strict-dynamic' ")
    return page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n    {rule}', 1)


if __name__ == "__main__":
    print(write(Path(sys.argv[1] if len(sys.argv) > 1 else "reports/latest/api")))
