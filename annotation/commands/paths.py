"""The files that commands of `fmltk annotation` write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


class ParquetPath(click.Path):
    """A file to write, whose name says that it is Parquet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail where its ending promises another format."""
        path: Any = super().convert(value, param, ctx)
        if path.suffix.lower() != ".parquet":
            self.fail(f"{path} is written as Parquet: let its name end in .parquet", param, ctx)
        return path


PARQUET = ParquetPath(dir_okay=False, path_type=Path)
CLIPS = click.option(
    "--clips",
    type=click.Path(exists=True, path_type=Path),
    help="The clips that annotators were given: the folder that prepare or extract wrote, or a table with their ids.",
)


def refuse_overwriting(output: Path, sources: Iterable[Path | None]) -> None:
    """Raise ConfigError if a command would write its result over one of the files that it reads."""
    for source in sources:
        if source is not None and source.resolve() == output.resolve():
            raise ConfigError(f"{output} would be written over what is read from it; give another --out")
