"""How a run reads a clip's steps: the options, what tables say of it, and that it changes what is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from fmltk.model import commands
from fmltk.model.compare import compare, comparison_rows
from fmltk.model.config import load_config
from fmltk.model.evaluation import evaluation_rows
from fmltk.model.report import run_sections
from fmltk.model.run_folder import run_config
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.report.document import ReportRequest, Tile
from tests.model.folders import small_settings

if TYPE_CHECKING:
    from pathlib import Path


def train(*arguments: object) -> Any:
    settings = [f"--set={one}" for one in small_settings("max_epochs=10", "lr=0.01")]
    return CliRunner().invoke(commands.train, [*map(str, arguments), *settings, "--jobs", "0"])


@pytest.fixture(scope="module")
def published(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads clips as the paper does."""
    out = tmp_path_factory.mktemp("published") / "run"
    result = train(features, "-o", out, "--as-published")
    assert result.exit_code == 0, result.output
    assert "fmlmsn (as published)" in " ".join(result.stdout.split())
    return out


def test_as_published_sets_all_three(published: Path, features: Path, tmp_path: Path) -> None:
    config = run_config(published)
    assert (config.frames, config.text_steps, config.standardise) == ("padded", "padded", False)
    # --set wins over it, so that one deviation can be looked at alone
    result = train(features, "-o", tmp_path / "run", "--as-published", "--set", "standardise=true")
    assert result.exit_code == 0, result.output
    assert run_config(tmp_path / "run").reading == "padded steps, standardised"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "valid steps, standardised"),
        (["text_steps=padded"], "valid frames, padded text steps, standardised"),
        (["standardise=false"], "valid steps, not standardised"),
        (["model=lf-dnn"], "as published"),
        (["model=lf-dnn", "frames=valid"], "valid frames, padded text steps, not standardised"),
    ],
)
def test_tables_have_words_for_it(settings: list[str], words: str) -> None:
    assert load_config("ch-sims", settings=settings).reading == words


def test_evaluate_compare_and_reports_say_which_was_used(published: Path, run: Path) -> None:
    assert evaluation_rows(published, "test")[2]["reading"] == "as published"
    columns, rows, _, _ = comparison_rows(compare([run, published], "test"))
    assert [row[columns.index("reads")] for row in rows] == ["valid steps, standardised", "as published"]
    (section,) = run_sections(ReportRequest((published,), Reporter(quiet=True))).sections
    assert Tile("reads", "as published") in section.blocks


def test_the_padding_changes_the_scores(published: Path, run: Path) -> None:
    scores = [
        evaluation_rows(folder, "test")[2]["tasks"]["AT_T"]["metrics"]["MAE"]["mean"] for folder in (run, published)
    ]
    assert scores[0] != scores[1]
