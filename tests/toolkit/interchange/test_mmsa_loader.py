"""What we export is read by MMSA 2.2.1's own data loader, installed in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.interchange.mmsa_export import export_mmsa
from tests.program import fmltk_here as fmltk
from tests.toolkit.alignment.folders import Made, write_ctm, write_features
from tests.toolkit.interchange.pickles import mmsa_data, write

if TYPE_CHECKING:
    from pathlib import Path


LOADER = """
import json, sys
from MMSA.data_loader import MMDataLoader
for use_bert in (False, True):
    loader = MMDataLoader(dict(dataset_name='sims', custom_feature=sys.argv[1], use_bert=use_bert,
        feature_dims=[0, 0, 0], feature_T='', feature_A='', feature_V='', need_data_aligned=False,
        need_normalized=False, batch_size=2, seq_lens=[0, 0, 0]), 0)
    seen = {}
    for split, batches in loader.items():
        for batch in batches:
            for k, utterance in enumerate(batch['id']):
                seen[utterance] = {
                    'split': split, 'text': list(batch['text'][k].shape), 'audio': batch['audio'][k].tolist(),
                    'vision': list(batch['vision'][k].shape), 'audio_length': int(batch['audio_lengths'][k]),
                    'raw_text': batch['raw_text'][k],
                    'labels': {m: float(v[k]) for m, v in batch['labels'].items()},
                    'first': float(batch['text'][k].flatten()[0])}
    print(json.dumps(seen))
"""


ALIGNED_LOADER = """
import json, sys
from MMSA.data_loader import MMDataLoader
for use_bert in (False, True):
    loader = MMDataLoader(dict(dataset_name='mosi', custom_feature=sys.argv[1], use_bert=use_bert,
        feature_dims=[0, 0, 0], feature_T='', feature_A='', feature_V='', need_data_aligned=True,
        need_normalized=False, batch_size=4, seq_lens=[0, 0, 0]), 0)
    batch = next(iter(loader['test']))
    print(json.dumps({m: list(batch[m].shape) for m in ('text', 'audio', 'vision')}))
"""


def loaded(python: Path, script: str, pickle: Path) -> list[Any]:
    """What MMSA's loader gives of a pickle: without BERT, and with it."""
    done = subprocess.run(
        [str(python), "-c", script, str(pickle)],
        check=False,
        capture_output=True,
        text=True,
        cwd=pickle.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(pickle.parent)},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-2:]]


def test_mmsas_own_loader_reads_an_export_with_and_without_bert(tmp_path: Path, mmsa_python: Path) -> None:
    data = mmsa_data()
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    out = tmp_path / "out.pkl"
    export_mmsa(tmp_path / "features", tmp_path / "features" / "labels.parquet", out)
    features, bert = loaded(mmsa_python, LOADER, out)
    assert_same_clips(features, data, field="text", shape=[5, 6])
    assert_same_clips(bert, data, field="text_bert", shape=[3, 5])


def assert_same_clips(seen: dict[str, Any], data: dict[str, Any], *, field: str, shape: list[int]) -> None:
    """What the loader gave is what was exported; its text is `field`, of that shape."""
    assert len(seen) == 8
    for split, part in data.items():
        for k, utterance in enumerate(part["id"]):
            clip = seen[str(utterance)]
            assert clip["split"] == split
            assert clip["text"] == shape
            assert clip["first"] == pytest.approx(float(part[field][k].flat[0]))
            np.testing.assert_array_equal(np.array(clip["audio"], np.float32), part["audio"][k])
            assert clip["audio_length"] == part["audio_lengths"][k]
            assert clip["raw_text"] == part["raw_text"][k]
            assert clip["labels"]["M"] == pytest.approx(float(part["regression_labels"][k]))
            for m in "TAV":
                assert clip["labels"][m] == pytest.approx(float(part[f"regression_labels_{m}"][k]))


def test_mmsas_own_loader_reads_an_aligned_export(tmp_path: Path, mmsa_python: Path) -> None:
    n_tokens = len(write_aligned(tmp_path))
    features, bert = loaded(mmsa_python, ALIGNED_LOADER, tmp_path / "aligned.pkl")
    assert {name: shape[:2] for name, shape in features.items()} == {name: [3, n_tokens] for name in features}
    assert bert["text"] == [3, 3, n_tokens]


def write_aligned(folder: Path) -> list[str]:
    """Write aligned.pkl of nine clips of one sentence, whose steps are tokens; return those."""
    clips = [
        Made(f"v{n}", "Set white, with two.", split=split) for n, split in enumerate(("train", "valid", "test") * 3)
    ]
    rows = [f"{clip.video},0,{0.5 - n % 2},{clip.split}" for n, clip in enumerate(clips)]
    (folder / "labels.csv").write_text("video_id,clip_id,label,mode\n" + "\n".join(rows) + "\n")
    times = [("set", 0.1, 0.2), ("white", 0.2, 0.4), ("with", 0.5, 1.0), ("two", 1.5, 1.6)]
    words = write_ctm(folder / "words.ctm", {clip.video: times for clip in clips})
    write_features(folder / "features", clips)
    for argv in (
        ("align", folder / "features", "--words", words, "--unit", "token", "-o", folder / "aligned"),
        ("dataset", "export", folder / "aligned", "--labels", folder / "labels.csv", "-o", folder / "aligned.pkl"),
    ):
        done = fmltk(*argv)
        assert done.returncode == 0, done.stderr
    return clips[0].tokens()[0]
