"""The versions of everything whose numbers a feature may depend on, and what differs between two records."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEATURE_VERSION = 2  # raised when the numbers that extraction gives change
# Numbers may differ between versions of these (ffmpeg: by one last frame), so resume compares them.
NUMERIC_PACKAGES = ("av", "facenet-pytorch", "librosa", "numpy", "scipy", "soxr", "torch", "transformers")
_ADVICE = {"openvino": "; run: pip install 'fmltk[fast]', or take --face-networks torch"}


def numeric_versions(extras: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of everything whose numbers a feature may depend on; found without importing it.

    extras : further packages, which the settings of a run ask for

    Raises ConfigError if one of them is not installed.
    """
    from fmltk.toolkit.media.process import find_ffmpeg

    versions = {"ffmpeg": find_ffmpeg().version, "features": str(FEATURE_VERSION)}
    for package in (*NUMERIC_PACKAGES, *extras):
        versions[package] = installed_version(package)
    return versions


def installed_version(package: str) -> str:
    """Return the version of a package. Raises ConfigError if it is not installed."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"the settings need the package {package}, which is not installed{_ADVICE.get(package, '')}"
        ) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two documents, one line each.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c: 2 then, 3 now']
    """
    lines: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += [f"{name}.{line}" for line in differences(before, after)]
        elif before != after:
            lines.append(f"{name}: {before!r} then, {after!r} now")
    return lines
