"""Small MMSA pickles with known content."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.interchange.pickle_child import Document
from fmltk.toolkit.interchange.pickle_machine import run_pickle
from fmltk.toolkit.interchange.safe_pickle import build

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["你好", 'so, "quoted"\nline', "", "emoji 😀", "a", "b", "c", "d"]


def mmsa_data(
    *, kind: str = "sims", sizes: tuple[int, int, int] = (4, 2, 2), dtype: type = np.float32, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """A pickle's content in MMSA's layout: CH-SIMS's (unimodal labels, lengths) or MOSI's (aligned, wide types)."""
    rng = np.random.default_rng(seed)
    data: dict[str, dict[str, Any]] = {}
    start = 0
    for split, n in zip(("train", "valid", "test"), sizes, strict=True):
        lengths = {"text": rng.integers(3, 6, n), "audio": rng.integers(1, 9, n), "vision": rng.integers(1, 5, n)}
        arrays = {}
        for name, (steps, d) in {"text": (5, 6), "audio": (7, 3), "vision": (4, 2)}.items():
            values = rng.normal(0, 1, (n, steps, d)).astype(np.float32).astype(dtype)
            values[np.arange(steps) >= lengths[name][:, None]] = 0
            arrays[name] = values
        bert = np.zeros((n, 3, 5), np.float32)
        bert[:, 0] = rng.integers(100, 999, (n, 5))
        bert[:, 1] = np.arange(5) < lengths["text"][:, None]
        ids = [f"video_{(start + k) // 3:04d}$_${start + k:04d}" for k in range(n)]
        part: dict[str, Any] = {"raw_text": np.array(TEXTS[start : start + n]), **arrays, "text_bert": bert}
        scale = 1 if kind == "sims" else 3
        label = (rng.integers(-5, 6, n) / 5 * scale).astype(np.float32)
        part |= {"id": ids if kind == "mosi" else np.array(ids), "annotations": ["Negative", "Neutral"] * (n // 2)}
        part |= {"classification_labels": np.sign(label) + 1, "regression_labels": label}
        if kind == "sims":
            part |= {"audio_lengths": lengths["audio"].tolist(), "vision_lengths": lengths["vision"].tolist()}
            for m in "TAV":
                part[f"regression_labels_{m}"] = (rng.integers(-5, 6, n) / 5).astype(np.float32)
        data[split] = part
        start += n
    return data


def write(path: Path, data: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    return path


def read_in_this_process(path: Path) -> Any:
    """Read a pickle as `load_pickle` does, without its child process: by the thousand."""
    with path.open("rb") as file:
        size = path.stat().st_size
        document = Document(run_pickle(file, size), size)
        answer = json.loads(json.dumps({name: getattr(document, name) for name in ("atoms", "nodes", "whole")}))
        contents = iter(document.contents)

        def fill(offset: int | None, into: memoryview) -> None:
            if offset is None:
                into[:] = next(contents)
            else:
                file.seek(offset)
                assert file.readinto(into) == len(into)

        return build(answer, fill)


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Equal in kind, type, order and value, to the last bit."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray), where
        assert found.dtype == expected.dtype, where
        assert found.shape == expected.shape, where
        assert found.tobytes() == expected.tobytes() or found.tolist() == expected.tolist(), where
    else:
        assert type(found) is type(expected), where
        assert found == expected, where
