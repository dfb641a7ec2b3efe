"""Settings: what is refused, how they are written down, and what differs between two runs."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.cli.extract import extract
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.run.versions import NUMERIC_PACKAGES, differences, numeric_versions
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings, preset_names, read_preset

LENGTHS = st.dictionaries(st.sampled_from(["text", "audio", "vision"]), st.integers(1, 10_000))


@given(st.floats(0, 10), st.sampled_from(["all", "train"]), LENGTHS, LENGTHS, st.integers(1, 30))
def test_padding_settings_survive_json(n_sigmas: float, source: str, fixed: Any, longest: Any, pooling: int) -> None:
    settings = PaddingSettings(n_sigmas, source, fixed, longest, pooling)
    assert PaddingSettings.from_document(json.loads(json.dumps(settings.document()))) == settings


def test_what_a_document_leaves_out_is_the_default() -> None:
    assert PaddingSettings.from_document({"n_sigmas": 2.0, "of_a_later_version": 1}) == PaddingSettings(2.0)


def test_extract_settings_are_json() -> None:
    document = ExtractSettings(openface_groups=("pose", "gaze")).document()
    assert json.loads(json.dumps(document)) == document
    assert document["openface_groups"] == ["pose", "gaze"]
    assert document["modalities"] == ["text", "audio", "vision"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mfcc_scale": "HTK"}, "mfcc_scale is 'HTK'; expected one of 'htk', 'slaney'"),
        ({"face_select": "biggest"}, "face_select is 'biggest'; expected one of 'speaker', 'largest', 'longest'"),
        ({"face_crops": 100}, "face_crops is 100; expected one of 112, 224"),
        ({"openface_input": "crop"}, "openface_input is 'crop'"),
        ({"acoustics": "fast"}, "acoustics is 'fast'"),
        ({"min_face_px": 5}, "min_face_px is 5; expected 12 or more"),
        ({"max_duration_s": math.nan}, "max_duration_s is nan"),
        ({"max_pixels": 0}, "max_pixels is 0"),
    ],
)
def test_extraction_that_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ExtractSettings(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_sigmas": -1.0}, r"lambda is -1\.0; it must be a number of 0 or more \(the paper's value is 3\)"),
        ({"n_sigmas": math.inf}, "lambda is inf"),
        ({"n_sigmas": math.nan}, "lambda is nan"),
        ({"lengths_from": "valid"}, "lengths come from 'all' or 'train', not 'valid'"),
        ({"vision_pooling": 0}, "vision pooling is 0; it must be 1 frame or more"),
        ({"fixed": {"video": 3}}, "length video=3: expected one of text, audio, vision and 1 or more"),
        ({"fixed": {"text": 0}}, "length text=0"),
        ({"max_length": {"audio": -4}}, "length audio=-4"),
    ],
)
def test_padding_that_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PaddingSettings(**options)


def test_versions_name_everything_that_numbers_depend_on() -> None:
    versions = numeric_versions()
    assert set(versions) == {"ffmpeg", "features", *NUMERIC_PACKAGES}
    assert all(versions.values())
    assert "+" not in versions["torch"], "the CPU and the CUDA build of one version are one version"


@pytest.mark.parametrize("name", preset_names())
def test_a_presets_options_are_options_of_extract(name: str) -> None:
    known = {parameter.name for parameter in extract.params}
    assert set(read_preset(name)) <= known
    assert read_preset(name)


def test_the_published_ch_sims_settings() -> None:
    assert {"ch-sims", "mosi"} <= set(preset_names())
    preset = read_preset("ch-sims")
    assert preset["vision_pooling"] == 5
    assert preset["mfcc_scale"] == "htk"


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'sims' is not a preset; expected one of ch-sims, mosi"):
        read_preset("sims")
    assert CliRunner().invoke(extract, ["videos", "--preset", "sims"]).exit_code == 2


def test_differences_name_each_setting_with_both_values() -> None:
    old = {"same": 1, "settings": {"mfcc_scale": "htk", "gone": True}, "list": [1, 2]}
    new = {"same": 1, "settings": {"mfcc_scale": "slaney", "fresh": 0}, "list": [1]}
    assert differences(old, new) == [
        "list: [1, 2] then, [1] now",
        "settings.fresh: None then, 0 now",
        "settings.gone: True then, None now",
        "settings.mfcc_scale: 'htk' then, 'slaney' now",
    ]


@given(st.recursive(st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8))
def test_equal_documents_do_not_differ(document: Any) -> None:
    assert differences({"it": document}, json.loads(json.dumps({"it": document}))) == []
