"""The documentation is true: its examples run, and it leaves nothing out.

Blocks marked `bash` and `python` run, page by page and in order, in a folder with `videos/`, `transcripts.csv`,
`exports/` of Label Studio, and what the tutorial makes of them: `features/`, `ratings.parquet`, `labels.parquet` and
`runs/first`. Blocks marked `sh` are for the reader's own machine (installing, a server) and are not run.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from fmltk.toolkit import errors
from tests.accessibility import show, violations
from tests.ffmpeg import copy_short_demo
from tests.processes import one_core
from tests.tools.make_cli_reference import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

# One process makes the project that the pages share.
pytestmark = pytest.mark.xdist_group("docs")

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if path.is_file())
LARGE_BYTES = 70_000  # of a page's HTML
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return [
        (kind, code) for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind in ("bash", "python")
    ]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documentation's examples assume, made of the bundled clips by the commands that the tutorial names."""
    folder = tmp_path_factory.mktemp("project")
    copy_short_demo(folder)
    (folder / "ratings").rename(folder / "exports")
    made = ("features", "ratings.parquet", "labels.parquet", "runs/first")
    tutorial = "\n".join(code for kind, code in blocks(ROOT / "docs" / "tutorial.md") if kind == "bash")
    for name in made:
        run("bash", next(line for line in tutorial.splitlines() if re.search(rf"-o {name}/?( |$)", line)), folder)
    return folder


def run(kind: str, code: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    argv = ["bash", "-euo", "pipefail", "-c", code] if kind == "bash" else [sys.executable, "-c", code]
    with one_core():
        done = subprocess.run(
            argv, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, f"{code}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    for kind, code in blocks(page):
        run(kind, code, folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "run python tests/tools/make_cli_reference.py"


def test_every_page_is_in_the_site_s_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:")[1]
    assert [page.name for page in PAGES if page.parent.name == "docs" and page.name not in navigation] == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pages of the site, which is built without a warning."""
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("docs")
    code = f"mkdocs build --quiet --strict --config-file '{ROOT / 'mkdocs.yml'}' --site-dir '{folder / 'site'}'"
    run("bash", code, folder)
    return sorted((folder / "site").glob("*.html"))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_axe_finds_nothing_on_the_site(chromium: Any, pages: list[Path], scheme: str) -> None:
    found = {}
    shown = [page for page in pages if page.name != "404.html"]  # which a server shows, with its own paths
    for page in shown[:: 1 if scheme == "default" else 6]:
        show(chromium, page.as_uri(), size="desktop", scheme="light")
        chromium.execute_script(
            "const still = document.createElement('style'); still.textContent = '* { transition: none !important }';"
            "document.head.append(still); document.body.dataset.mdColorScheme = arguments[0];",
            scheme,
        )
        # On long pages axe takes long to compare colours, which are those of every other page.
        slow = ("color-contrast",) if page.stat().st_size > LARGE_BYTES else ()
        found[page.name] = violations(chromium, without=slow)
    assert len(found) >= 4
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page_for_addresses_that_do_not_exist(
    chromium: Any, pages: list[Path], scheme: str
) -> None:
    class Server(SimpleHTTPRequestHandler):  # with this page for every address, as servers of sites do
        def translate_path(self, path: str) -> str:
            found = super().translate_path(path)
            return found if Path(found).is_file() else str(pages[0].with_name("404.html"))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=pages[0].parent)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        show(chromium, f"http://127.0.0.1:{server.server_port}/gone/page.html", size="phone", scheme=scheme)
        assert "404" in chromium.find_element("tag name", "h1").text
        assert violations(chromium) == []
        server.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("words", "page"), [("curation", "curation"), ("MMSA-FET", "coming-from"), ("lead_time_s", "data-format")]
)
def test_the_search_works_from_disk(chromium: Any, pages: list[Path], words: str, page: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    show(chromium, pages[0].with_name("index.html").as_uri(), size="desktop", scheme="light")
    chromium.execute_script("document.querySelector('label[for=__search]').click()")
    box = chromium.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]")
    WebDriverWait(chromium, 20).until(lambda _: box.is_displayed())
    box.send_keys(words)
    links = ".md-search-result__link"
    found = WebDriverWait(chromium, 20).until(lambda _: chromium.find_elements(By.CSS_SELECTOR, links))
    assert f"{page}.html" in " ".join(link.get_attribute("href") for link in found)


def test_the_site_names_its_version_and_repository(pages: list[Path]) -> None:
    named = f">fmltk {metadata.version('fmltk')}<"
    links = 'href="https://github.com/fmltk/fmltk" title='
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert [name for name, text in texts.items() if named not in text or links not in text] == []
    asked = 'data-md-component="source"'  # the theme's link, which asks the repository's server for its stars
    assert [name for name, text in texts.items() if asked in text] == []


def test_the_site_asks_nothing_of_other_sites(pages: list[Path]) -> None:
    assert len(pages) > 10
    fetched = re.compile(r'<(?:script|img|iframe|source|link)[^>]* (?:src|href)="(?:https?:)?//')
    assert fetched.search('<link rel="stylesheet" href="https://a.example/b.css">')
    assert [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []


def test_every_error_class_is_explained() -> None:
    explained = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    classes = [
        name
        for name, one in vars(errors).items()
        if inspect.isclass(one) and issubclass(one, errors.FmltkError) and one is not errors.FmltkError
    ]
    assert [name for name in classes if f"`{name}`\n:" not in explained] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    names = [re.match(r"[\w.-]+", entry)[0] for entry in project["dependencies"]]  # type: ignore[index]
    listed = re.findall(r"^\| ([\w.-]+) \|", reasons.split("## Dependencies")[1], re.MULTILINE)
    assert sorted(names) == sorted(set(listed) - {"package"})


def commands(group: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, f"{path} {name}".strip())
    else:
        yield path, group


def all_commands() -> list[tuple[str, click.Command]]:
    points = metadata.entry_points(group="fmltk.commands")
    return sorted((found for point in points for found in commands(point.load(), point.name)), key=lambda pair: pair[0])


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_every_command_says_what_it_does_shows_an_example_and_explains_its_options(
    name: str, command: click.Command
) -> None:
    assert f"fmltk {name}" in (command.help or ""), "its help has no example"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"fmltk {name} {parameter.opts[0]} has no help"
