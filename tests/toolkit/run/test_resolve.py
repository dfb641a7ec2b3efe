"""Which weights a run of LR-ASD uses: those of the features that it adds to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fmltk.toolkit.catalog.catalog import Catalog
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.run.resolve import resolve
from fmltk.toolkit.settings import ExtractSettings


def _resolved(folder: Path, recorded: str, asd: Path | None) -> tuple[str, list[str]]:
    """Return the weights of the settings, and the warnings."""
    reporter = Reporter(quiet=True)
    settings, paths = resolve(
        ExtractSettings(modalities=("vision",), asd_weights=recorded),
        Catalog(ClipList()),
        folder / "features",
        text_model=None,
        openface="none",
        asd=asd,
        elsewhere=False,
        reporter=reporter,
    )
    assert (paths.asd is None) == (asd is None)
    return settings.asd_weights, reporter.warnings


def test_other_weights_are_recorded_and_said(tmp_path: Path) -> None:
    (tmp_path / "own.model").write_bytes(b"of one's own training")
    digest = hashlib.sha256(b"of one's own training").hexdigest()
    sha256, warnings = _resolved(tmp_path, "", tmp_path / "own.model")
    assert sha256 == digest
    assert [digest[:12] in warning for warning in warnings] == [True]
    assert _resolved(tmp_path, digest, tmp_path / "own.model")[0] == digest


def test_without_weights_mouths_are_looked_at(tmp_path: Path) -> None:
    assert _resolved(tmp_path, "", None) == ("", [])


@pytest.mark.parametrize(("given", "said"), [(None, "gives no file"), (b"other", "other.model, which has SHA-256")])
def test_features_of_other_weights_are_not_continued(tmp_path: Path, given: bytes | None, said: str) -> None:
    asd = None
    if given is not None:
        asd = tmp_path / "other.model"
        asd.write_bytes(given)
    with pytest.raises(ConfigError, match=f"LR-ASD weights of SHA-256 6b4ef53694e8.*{said}"):
        _resolved(tmp_path, "6b4ef53694e874e96cf630198dc479c7", asd)


@pytest.mark.parametrize(
    ("files", "shared"),
    [
        (["a/1.mp4", "b/1.mp4", "b/2.mp4"], {"1"}),
        (["film.mkv", "film.mkv", "film.mkv"], set()),  # three cuts of one file
        (["a.mp4", "a.avi", None], {"a"}),
    ],
)
def test_a_stem_of_several_files_is_shared(tmp_path: Path, files: list[str | None], shared: set[str]) -> None:
    clips = ClipList(Clip("v", str(n), None if one is None else Path(one)) for n, one in enumerate(files))
    _, paths = resolve(
        ExtractSettings(modalities=("audio",)),
        Catalog(clips),
        tmp_path / "features",
        text_model=None,
        openface="none",
        elsewhere=False,
        reporter=Reporter(quiet=True),
    )
    assert paths.shared_stems == shared
