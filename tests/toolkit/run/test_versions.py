"""What a feature folder is bound to: its settings, and the versions of whatever its numbers depend on."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import Any

import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_json, write_json
from fmltk.toolkit.run.adding import settings_for_adding
from fmltk.toolkit.run.folder import bind
from fmltk.toolkit.run.versions import installed_version, numeric_versions
from fmltk.toolkit.settings import ExtractSettings

FAST = ExtractSettings(face_networks="openvino")


def prepared(settings: ExtractSettings, **versions: str) -> dict[str, object]:
    known = {"ffmpeg": "7.1", **dict.fromkeys(settings.packages, "2026.4.1")}
    return {"text_model": {}, "sets": {}, "versions": {**known, **versions}}


@pytest.mark.parametrize(
    ("settings", "packages"),
    [
        (ExtractSettings(), ()),
        (FAST, ("openvino",)),
        (replace(FAST, modalities=("text", "audio")), ()),
    ],
)
def test_openvino_counts_where_faces_are_found_with_it(settings, packages):
    assert settings.packages == packages


@pytest.mark.parametrize("wrong", [{"face_every": 3}, {"face_every": 0}, {"face_networks": "onnx"}])
def test_a_value_that_is_not_a_choice_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ExtractSettings(**wrong)


def test_the_version_of_openvino_is_recorded_where_it_is_used(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda package: f"1.0+{package}")
    assert "openvino" not in numeric_versions()
    assert numeric_versions(FAST.packages)["openvino"] == "1.0"


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ConfigError, match=r"openvino, which is not installed; run: pip install 'fmltk\[fast\]'"):
        installed_version("openvino")
    with pytest.raises(ConfigError, match=r"needs? the package something, which is not installed$"):
        installed_version("something")


@pytest.mark.parametrize(
    ("now", "versions", "said"),
    [
        (ExtractSettings(), {}, "face_networks: 'openvino' then, 'torch' now"),
        (FAST, {"openvino": "2027.0"}, "versions.openvino: '2026.4.1' then, '2027.0' now"),
        (replace(FAST, min_face_px=40), {}, "min_face_px: 20 then, 40 now"),
        (replace(FAST, face_every=2), {}, "face_every: 1 then, 2 now"),
    ],
)
def test_a_folder_is_not_continued_with_other_networks(tmp_path, now, versions, said):
    bind(tmp_path, FAST, prepared(FAST))
    with pytest.raises(ConfigError, match=said):
        bind(tmp_path, now, prepared(now, **versions))
    assert bind(tmp_path, FAST, prepared(FAST))["versions"]["openvino"] == "2026.4.1"


@pytest.mark.parametrize("lacking", ["face_networks", "speaker_scope", "audio_stream"])
def test_a_setting_that_an_older_folder_lacks_counts_as_its_default(tmp_path, lacking):
    bind(tmp_path, ExtractSettings(), prepared(ExtractSettings()))
    document = read_json(tmp_path / "run.json", error=ConfigError)
    del document["settings"][lacking]
    write_json(tmp_path / "run.json", document)
    bind(tmp_path, ExtractSettings(), prepared(ExtractSettings()))
    with pytest.raises(ConfigError, match="was made with other settings"):
        bind(tmp_path, FAST, prepared(FAST))


def with_sets(settings: ExtractSettings, *keys: str) -> dict[str, Any]:
    return {**prepared(settings), "sets": {key: {"name": key} for key in keys}}


def test_sets_may_be_added_on_another_device(tmp_path):
    first = ExtractSettings()
    bind(tmp_path, first, with_sets(first))
    recorded = read_json(tmp_path / "run.json", error=ConfigError)
    wanted = ExtractSettings(device="cuda", audio_sets=("hf:wav2vec2",))
    gpu = settings_for_adding(wanted, recorded)
    assert (gpu.device, gpu.audio_sets) == ("cuda", ("hf:wav2vec2",))
    for _ in range(2):  # the second continues it
        document = bind(tmp_path, gpu, with_sets(gpu, "audio.wav2vec2"), add=True)
        assert document["devices"] == {"audio.wav2vec2": "cuda"}
        assert document["settings"]["device"] == "cpu", "of the sets that were there"
    plain = settings_for_adding(ExtractSettings(audio_sets=("hf:wav2vec2",)), recorded)
    with pytest.raises(ConfigError, match=r"audio.wav2vec2 of .* was computed on cuda.* use cpu; give --device cuda"):
        bind(tmp_path, plain, with_sets(plain, "audio.wav2vec2"), add=True)
    document = bind(tmp_path, plain, with_sets(plain, "audio.egemaps"), add=True)
    assert document["devices"] == {"audio.wav2vec2": "cuda"}
    assert set(document["sets"]) == {"audio.wav2vec2", "audio.egemaps"}
    for device in ("cpu", "cuda"):  # the command that made the folder, for further clips
        again = ExtractSettings(audio_sets=("hf:wav2vec2",), device=device)
        said = "device: 'cpu' then" if device == "cuda" else r"audio.wav2vec2 of .* added on cuda.* --device cuda"
        with pytest.raises(ConfigError, match=said):
            bind(tmp_path, again, with_sets(again, "audio.wav2vec2", "audio.egemaps"))


def test_a_modality_may_be_added_on_another_device(tmp_path):
    first = ExtractSettings(modalities=("text", "audio"))
    bind(tmp_path, first, with_sets(first))
    added = ExtractSettings(device="cuda")
    assert bind(tmp_path, added, with_sets(added), add=True)["devices"] == {"vision": "cuda"}


def test_what_is_added_to_a_folder_of_a_gpu_comes_from_the_device_that_is_given(tmp_path):
    first = ExtractSettings(device="cuda")
    bind(tmp_path, first, with_sets(first))
    recorded = read_json(tmp_path / "run.json", error=ConfigError)
    for device, devices in (("cpu", {"audio.egemaps": "cpu"}), ("cuda", {})):
        folder = tmp_path / device
        folder.mkdir()
        write_json(folder / "run.json", recorded)
        settings = settings_for_adding(ExtractSettings(audio_sets=("egemaps",), device=device), recorded)
        assert settings.device == device
        document = bind(folder, settings, with_sets(settings, "audio.egemaps"), add=True)
        assert document.get("devices", {}) == devices
        assert document["settings"]["device"] == "cuda"
