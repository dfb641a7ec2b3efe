"""Names of a feature folder's files besides its tables, and the version of their schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
RUN_FILE, SHARD_FOLDER = "run.json", "shards"  # a run keeps them next to the tables; a feature folder is known by them
MANIFEST_FILE = "manifest.parquet"
WORDS_FILE = "words.parquet"  # of an aligned folder: what each step is, and when


def table_file(key: str) -> str:
    """Return the name of a feature set's table.

    >>> table_file("audio.egemaps")
    'audio.egemaps.parquet'
    """
    return f"{key}.parquet"


def is_feature_folder(folder: Path) -> bool:
    """Return whether `fmltk extract` or `fmltk dataset import` wrote this folder, also if it is not finished."""
    is_begun = (folder / RUN_FILE).is_file() and (folder / SHARD_FOLDER).is_dir()
    return is_begun or (folder / MANIFEST_FILE).is_file()


def check_target(out: Path) -> None:
    """Raise ConfigError where a folder holds what `extract` or `train` made: other tables would mix with it."""
    for name, what in ((SHARD_FOLDER, "features of `fmltk extract`"), ("config.toml", "a run of `fmltk train`")):
        if (out / name).exists():
            raise ConfigError(f"{out} holds {what}; name another folder with -o")
