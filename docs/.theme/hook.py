"""The site names the version that it describes."""

from importlib import metadata
from typing import Any


def on_config(config: Any) -> Any:
    """Name the link to the repository by the version of the package that is installed."""
    config.repo_name = f"fmltk {metadata.version('fmltk')}"
    return config
