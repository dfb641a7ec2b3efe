"""Speech in the clips of a run, recognised before anything is extracted.

Clips without a transcript have their text from it, as if the user had given it: the text model is chosen by it, and a
folder that was extracted before has its text alone done again. Transcripts that are given stay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from fmltk.toolkit.audio.speech_activity import resolve_speech
from fmltk.toolkit.catalog.catalog import Catalog
from fmltk.toolkit.catalog.language_tags import language_of_tag, language_tag
from fmltk.toolkit.clip import RECOGNISED
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, MediaError, RunError
from fmltk.toolkit.features.clip_row import FAILED, OK, TRANSCRIPT_WARNING, failure_of
from fmltk.toolkit.io.paths import look_up
from fmltk.toolkit.run.cost import say_hours
from fmltk.toolkit.run.engine import Task
from fmltk.toolkit.run.folder import check_transcription, held
from fmltk.toolkit.run.tasks import media_fingerprint
from fmltk.toolkit.run.work import clip_timeout_s
from fmltk.toolkit.settings import ENERGY
from fmltk.toolkit.speech.model import find_speech_model
from fmltk.toolkit.speech.recognition import Recognition
from fmltk.toolkit.speech.store import TranscriptStore
from fmltk.toolkit.speech.table import TRANSCRIBED_WORDS_FILE, write_transcribed
from fmltk.toolkit.speech.transcription import Transcription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.run.engine import Engine
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import RunOptions
    from fmltk.toolkit.speech.settings import TranscriptionSettings

INSPECT_TIMEOUT_S = 300.0
_LISTED = 10  # languages that a message names


def resolve_transcription(settings: TranscriptionSettings, speech: str, reporter: Reporter) -> Transcription:
    """Return the Whisper that the settings name, with the language as it knows it and what hears speech here.

    speech : "auto", "silero" or "energy"

    Raises ConfigError if no Whisper has that name, or it does not know the language.
    """
    model = find_speech_model(settings.model)
    found = resolve_speech(speech)
    if found != speech and found == ENERGY:
        reporter.warn(
            "silero-vad is not installed, so music and noise may be taken for speech; pip install 'fmltk[speech]'"
        )
    if not model.has_word_times:
        reporter.warn(
            f"Whisper {model.source.name!r} does not say which of its attention heads follow the words "
            f"(alignment_heads in generation_config.json): segments have times, words have none and there is no "
            f"{TRANSCRIBED_WORDS_FILE}; `fmltk align --aligner` finds them"
        )
    return Transcription(
        model, replace(settings, spoken_language=_language(settings.spoken_language, model.languages)), found
    )


def _language(given: str, known: tuple[str, ...]) -> str:
    """Return the language as a Whisper calls it; "" for the one of a Whisper that knows no other."""
    code = given.lower()
    if code and code not in known:
        code = language_of_tag(language_tag(given) or "") or code
    if not known and code in ("", "en"):
        return ""
    if code and code not in known:
        names = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        raise ConfigError(f"--transcribe-language {given}: this Whisper knows {names or 'English alone (en)'}")
    return code


def recognise(
    catalog: Catalog,
    paths: RunPaths,
    options: RunOptions,
    *,
    make_engine: Callable[[int], Engine],
    reporter: Reporter,
) -> Catalog:
    """Return the clips with the text that was recognised where they have none, after listening to those not heard yet.

    paths : with the run's Transcription
    make_engine : called with the number of tasks, if there are any

    Raises ConfigError if the folder holds text of another Whisper or other settings, or no clip has a file; StoreError
    if the folder is in use or cannot be written.
    """
    how = paths.transcription
    assert how is not None  # noqa: S101 - the run has found it
    clips = {
        clip.utterance_id: clip
        for clip in catalog.clips
        if clip.path is not None and clip.fault is None and clip.exclude_reason is None
    }
    if not clips:
        raise ConfigError("--transcribe listens to videos, and none of the clips has one; give a folder of videos")
    check_transcription(paths.features, how.document())
    look_up(clip.path for clip in clips.values())
    plain = replace(paths, openface_folder=None)
    sounds = {utterance: media_fingerprint(clip, plain) for utterance, clip in clips.items()}
    with held(paths.features):
        store = TranscriptStore(paths.features, how)
        pending = {key: clip for key, clip in clips.items() if _is_pending(store.read(key, sounds[key]), options)}
        if len(pending) < len(clips):
            reporter.say(f"{len(clips) - len(pending)} of {len(clips)} clips were listened to already")
        if pending:
            with make_engine(len(pending)) as engine:
                durations_s = _durations(engine, pending, reporter)
                _say_cost(engine, durations_s, options, reporter)
                _listen(engine, pending, durations_s, store, sounds, options, reporter)
        found = {key: store.read(key, sounds[key]) or _lost() for key in clips}
        write_transcribed(
            paths.features, how, ((clip, found[key], _uses(clip, found[key])) for key, clip in clips.items())
        )
    _say_result(clips, found, how, reporter)
    changed = ClipList(_with_text(clip, found.get(clip.utterance_id), how) for clip in catalog.clips)
    without = {clip.utterance_id for clip in changed if clip.text is None}
    problems = tuple(one for one in catalog.problems if one.kind != "no-transcript" or one.where in without)
    return Catalog(changed, problems, catalog.notes)


def _lost() -> Recognition:
    return Recognition.without(failure_of(RunError("what was recognised cannot be read; run the same command again")))


def _is_pending(found: Recognition | None, options: RunOptions) -> bool:
    return found is None or (options.retry_failed and found.status == FAILED)


def _has_none(clip: Clip) -> bool:
    return not (clip.text or "").strip()


def _uses(clip: Clip, found: Recognition) -> bool:
    return _has_none(clip) and found.text is not None


def _with_text(clip: Clip, found: Recognition | None, how: Transcription) -> Clip:
    """Return a clip with the recognised text if it has no other, and with what there is to say of it."""
    if found is None or not _has_none(clip):
        return clip
    notes = list(found.notes)
    if found.status != OK:
        notes.append(f"not recognised: {found.error_message}")
    if found.text is not None:
        notes.insert(
            0,
            f"recognised by {how.model.source.name} ({found.language or 'en'}, average log-probability "
            f"{found.avg_log_prob:.2f})",
        )
        clip = replace(clip, text=found.text, text_source=RECOGNISED, language=clip.language or found.language)
    return replace(clip, text_notes=tuple(f"{TRANSCRIPT_WARNING} {note}" for note in notes))


def _durations(engine: Engine, clips: Mapping[str, Clip], reporter: Reporter) -> dict[str, float]:
    """Return the durations of the clips whose files can be read; the others say why when they are listened to."""
    found = {}
    tasks = (Task(key, "inspect", clip, INSPECT_TIMEOUT_S) for key, clip in clips.items())
    with reporter.progress("Reading files", len(clips)) as progress:
        for outcome in engine.run(tasks):
            if outcome.error is None:
                found[outcome.task.key] = float(outcome.value)
            progress.advance()
    return found


def _say_cost(engine: Engine, durations_s: Mapping[str, float], options: RunOptions, reporter: Reporter) -> None:
    """Load the model, whose faults are said before any work, and say how long it will take where that is long."""
    seconds = sum(durations_s.values())
    cost = engine.call("listening_cost", None)
    amount = f"{counted(len(durations_s), 'clip')} of {seconds / 60:.0f} minutes"
    unit, hours = f"{cost:.2f} CPU-s per second of speech", cost * seconds / 3600
    say_hours("--transcribe", amount, unit, hours=hours, options=options, reporter=reporter)


def _listen(
    engine: Engine,
    clips: Mapping[str, Clip],
    durations_s: Mapping[str, float],
    store: TranscriptStore,
    sounds: Mapping[str, str],
    options: RunOptions,
    reporter: Reporter,
) -> None:
    """Listen to clips, and keep what was recognised in each as soon as it is."""
    tasks = (
        Task(key, "transcribe", clip, options.clip_timeout_s or clip_timeout_s(durations_s.get(key, 0.0)))
        for key, clip in clips.items()
    )
    with reporter.progress("Listening", len(clips)) as progress:
        for outcome in engine.run(tasks):
            key = outcome.task.key
            if outcome.error is None:
                store.write(key, sounds[key], outcome.value)
            elif isinstance(outcome.error, RunError | MediaError):  # its worker died or was too slow
                store.write(key, sounds[key], Recognition.without(failure_of(outcome.error)))
            else:
                raise outcome.error
            progress.advance()


def _say_result(
    clips: Mapping[str, Clip], found: Mapping[str, Recognition], how: Transcription, reporter: Reporter
) -> None:
    """Say how many texts are recognised and used, how many are none, and how many clips could not be listened to."""
    without = [key for key, clip in clips.items() if _has_none(clip)]
    counts = Counter("used" if found[key].text else "none" for key in without)
    n_failed = sum(one.status == FAILED for one in found.values())
    if counts["used"]:
        reporter.warn(
            f"the text of {counted(counts['used'], 'clip')} is recognised by {how.model.source.name}, not given "
            "(manifest.parquet, text_source)"
        )
    if counts["none"]:
        have = counted(counts["none"], "clip has", "clips have")
        reporter.warn(f"{have} no transcript and no recognised text either; manifest.parquet says why (warnings)")
    if n_failed:
        reporter.warn(
            f"{counted(n_failed, 'clip')} could not be listened to (transcribed.parquet); --retry-failed tries again"
        )
