"""From raw clips to scores: extract with the run's own feature settings and lengths, then predict."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.layout import is_feature_folder
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from fmltk.model.predict import TrainedModel
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.speech.settings import TranscriptionSettings


def predict_source(
    model: TrainedModel,
    source: Path,
    *,
    features: Path | None = None,
    transcripts: Path | None = None,
    reading: ReadingOptions | None = None,
    ignore_columns: Sequence[str] | None = None,
    turns: Path | None = None,
    openface: str = "auto",
    asd: str | Path | None = None,
    text_model: str | None = None,
    transcription: TranscriptionSettings | None = None,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> pd.DataFrame:
    """Return the scores of a feature folder, or of raw clips, whose features are extracted first.

    features, transcripts, reading, ignore_columns, turns, openface, asd, transcription : of raw clips, as
        `predict_clips` takes them
    text_model : the folder of the text model, where its name alone does not find it

    Raises ConfigError if the source does not fit the model, or such an option is given with a feature folder.
    """
    if not is_feature_folder(source):
        return predict_clips(
            model,
            source,
            features=features,
            transcripts=transcripts,
            reading=reading,
            ignore_columns=ignore_columns,
            turns=turns,
            openface=openface,
            asd=asd,
            text_model=text_model,
            transcription=transcription,
            device=device,
            reporter=reporter,
        )
    listens = transcription is not None and bool(transcription.model)
    if transcripts is not None or features is not None or listens:
        raise ConfigError(f"{source} is a feature folder: --transcripts, --transcribe and --features go with raw clips")
    return model.predict(source, device=device, text_model=text_model)


def predict_clips(
    model: TrainedModel,
    videos: Path,
    *,
    features: Path | None = None,
    transcripts: Path | None = None,
    reading: ReadingOptions | None = None,
    ignore_columns: Sequence[str] | None = None,
    turns: Path | None = None,
    openface: str = "auto",
    asd: str | Path | None = None,
    text_model: str | None = None,
    transcription: TranscriptionSettings | None = None,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> pd.DataFrame:
    """Return the scores of raw clips.

    features : where their features are kept; None: a temporary folder
    reading : how their texts are read
    ignore_columns : of the transcripts, columns that are left out
    turns, asd, transcription : as `fmltk.toolkit.run.extract.extract` takes them
    text_model : the folder of the text model, where its name alone does not find it

    Raises ConfigError if `videos` does not exist, no clip has a transcript that the model reads, no clip could be
    extracted, or the model's features were imported or aligned to words, so that none can be extracted the same way.
    """
    from fmltk.toolkit.catalog.catalog import build_catalog
    from fmltk.toolkit.machine import check_device
    from fmltk.toolkit.run.extract import extract

    check_device(device)
    if not videos.exists():
        raise ConfigError(f"{videos} does not exist; name a feature folder, a video or a folder of videos")
    settings, padding = extraction_settings(model)
    how = {**asdict(reading or ReadingOptions()), "ignore_columns": ignore_columns}
    catalog = build_catalog(videos, transcripts=transcripts, **how)
    listens = transcription is not None and bool(transcription.model)
    if "T" in model.schema and not listens and all(clip.text is None for clip in catalog.clips):
        raise ConfigError(
            f"no clip of {videos} has a transcript, which the model reads; give --transcripts, or --transcribe hf:MODEL"
        )
    with _folder(features) as folder:
        summary = extract(
            videos,
            folder,
            transcripts=transcripts,
            **how,
            turns=turns,
            asd=asd,
            transcription=transcription,
            modalities=[MODALITY_OF[letter] for letter in model.schema],
            text_model=text_model or (None if settings.text_sets else settings.text_model or None),
            openface="none" if settings.vision_layout == "mtcnn-geometry" else openface,
            settings=settings,
            padding=padding,
            reporter=reporter,
        )
        if not any(one.counts["ok"] for one in summary.modalities.values()):
            why = f": {summary.failures[0]['error_message']}" if summary.failures else ""
            raise ConfigError(f"no clip of {videos} has features, so there is nothing to predict{why}")
        return model.predict(folder, device=device)


def extraction_settings(model: TrainedModel) -> tuple[Any, Any]:
    """Return the ExtractSettings and PaddingSettings that made the model's features, with its own L."""
    from fmltk.toolkit.features.sequences import check_padded_size
    from fmltk.toolkit.run.sets import settings_from_document
    from fmltk.toolkit.settings import SET_FIELDS, PaddingSettings

    documents = model.schema
    for letter, document in documents.items():
        check_padded_size(MODALITY_OF[letter], document["length"], document["dimension"])
    if any(document.get("aligned_to") for document in documents.values()):
        raise ConfigError(
            "the model was trained on features that are aligned to words, and raw clips do not say when words are "
            "spoken; run `fmltk extract` and `fmltk align` on them, and give the aligned folder"
        )
    made = next((document["settings"] for document in documents.values() if document.get("settings")), None)
    if made is None:
        raise ConfigError(
            "the model was trained on imported features, which raw clips cannot be extracted to; "
            "give a feature folder of the same kind"
        )
    named: dict[str, Any] = {
        SET_FIELDS[MODALITY_OF[letter]]: (f"{one['name']}={one['given']}",)
        for letter, document in documents.items()
        if (one := document.get("set"))
    }
    padding = PaddingSettings(
        fixed={MODALITY_OF[letter]: int(document["length"]) for letter, document in documents.items()},
        vision_pooling=int(documents.get("V", {}).get("pooling") or 1),
    )
    return replace(settings_from_document(made), **named), padding


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with ScratchFolder() as temporary:
        yield temporary / "features"
