"""Feature sets by name: found, named by the user, and refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.catalog import find_extractor, set_names
from fmltk.toolkit.extractors.contract import Samples

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = """
from fmltk.toolkit.extractors.contract import Card, Reads

class Level:
    def __init__(self, argument, **card):
        values = dict(name="level", modality="audio", reads=Reads.SAMPLES, sample_rate_hz=16000)
        self.card = Card(**{**values, "settings": {"argument": argument}, **card})

def extractor(argument):
    return Level(argument)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, module: str, code: str, *, name: str = "audio.level", function: str = "extractor") -> None:
    """Lay a package of one module and one feature set where Python finds it, as pip does."""
    (site / f"{module}.py").write_text(code)
    information = site / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[fmltk.extractors]\n{name} = {module}:{function}\n")


def test_a_set_of_another_package_is_found_with_its_argument_and_by_the_users_name(site: Path) -> None:
    install(site, "level_of_plain", PLUGIN)
    assert {"fmltk33", "level"} <= set(set_names("audio"))
    assert "level" not in set_names("vision")
    for text, name, argument in (
        ("level", "level", None),
        ("level:0.5", "level", "0.5"),
        ("loud=level:a=b:c", "loud", "a=b:c"),
        ("level:/models/x=y", "level", "/models/x=y"),
    ):
        chosen = find_extractor("audio", text)
        assert (chosen.name, chosen.extractor.card.settings["argument"]) == (name, argument), text


@pytest.mark.parametrize("text", ["nothing", "", "mine=nothing:3", "=level", "mine="])
def test_an_unknown_name_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not one of the audio sets: .*fmltk33.* install it"):
        find_extractor("audio", text)


@pytest.mark.parametrize(
    ("module", "code", "name", "message"),
    [
        ("level_raises", "import nothing_of_the_kind", "audio.level", "does not load: ModuleNotFoundError: .*update"),
        ("level_fails", "def extractor(argument): return 1 / 0", "audio.level", "does not load: ZeroDivisionError"),
        ("level_cardless", "def extractor(argument): return 3", "audio.level", "does not load: AttributeError"),
        ("level_odd", PLUGIN.replace("Card(**", "dict(**"), "audio.level", "has a card that is dict; .* a Card"),
        ("level_seen", PLUGIN, "vision.level", "says that it is of 'audio'; its entry point says 'vision'"),
        (
            "level_slash",
            PLUGIN.replace('name="level"', 'name="a/b"'),
            "audio.level",
            "is called 'a/b'; expected letters",
        ),
        (
            "level_lambda",
            PLUGIN.replace('"settings": {', '"settings": {"f": lambda: 3, '),
            "audio.level",
            "local object",
        ),
        ("level_empty", PLUGIN.replace('name="level"', 'name=""'), "audio.level", "is called ''; expected letters"),
    ],
)
def test_what_is_not_a_set_is_refused_in_one_line(site: Path, module: str, code: str, name: str, message: str) -> None:
    install(site, module, code, name=name)
    with pytest.raises(ConfigError, match=message) as refused:
        find_extractor(name.partition(".")[0], "level")
    assert "\n" not in str(refused.value)


def test_a_name_that_two_packages_bring_is_refused_with_both(site: Path) -> None:
    install(site, "level_one", PLUGIN)
    install(site, "level_two", PLUGIN)
    with pytest.raises(ConfigError, match=r"several packages bring .*'audio.level' .*level_one.*level_two.*uninstall"):
        find_extractor("audio", "level")


def test_the_name_of_a_built_in_set_is_not_taken_over(site: Path) -> None:
    install(site, "level_thief", PLUGIN, name="audio.fmltk33")
    with pytest.raises(ConfigError, match=r"several packages bring a set 'audio\.fmltk33'"):
        find_extractor("audio", "fmltk33")


def test_the_default_acoustic_set_gives_its_33_features() -> None:
    extractor = find_extractor("audio", "fmltk33").extractor
    found = extractor.load("cpu")(Samples(np.zeros(22050, np.float32), 22050))
    assert found.values.shape == (44, len(extractor.card.features))
    with pytest.raises(ConfigError, match="takes no argument"):
        find_extractor("audio", "fmltk33:3")
