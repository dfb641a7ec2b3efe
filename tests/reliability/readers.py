"""Everything in fmltk that reads a file which someone else wrote: how to call it, and small files that it accepts."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.labelling.stimuli import read_stimuli
from fmltk.annotation.raters import RaterNames, read_rater_list
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions
from fmltk.model.checkpoint import load_history, load_stage
from fmltk.model.config import load_config
from fmltk.model.data import read_clip_features
from fmltk.toolkit.alignment.sources import SourceOptions, read_words
from fmltk.toolkit.alignment.transcripts import match_words, split_characters
from fmltk.toolkit.alignment.words import in_order
from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.catalog.subtitles import read_cues
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import read_labels, write_labels
from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.interchange.utterances import import_utterances
from fmltk.toolkit.vision.openface.align import openface_sequence
from fmltk.toolkit.vision.openface.layout import OPENFACE_FEATURES
from fmltk.toolkit.vision.openface.table import read_openface
from tests.spreadsheets import write_ods, write_xlsx
from tests.toolkit.interchange.pickles import mmsa_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What trips readers of text, whatever its format.
WORDS = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"'", b"\r", b"\n\n", b",", b"\t", b";", b"nan",
    b"-nan", b"inf", b"-1e999", b"1e5", b"-0", b"0x10", b"9" * 40, b"0001", b"NA", b"null", b"true", b"\xe2\x88\x921",
    b"=1+1", b"\xf0\x9f\x98\x80", b"\xd6\xd0\xce\xc4", b"\xc2\xa0", b"\xe2\x80\xa8", b"$_$", b"../../x", b"a" * 5000,
)  # fmt: skip
XML_WORDS = (
    *WORDS,
    b"<",
    b">",
    b'r="XFD1048576"',
    b't="s"',
    b't="d"',
    b"<v>1e300</v>",
    b"&#0;",
    b"]]>",
    b"<!DOCTYPE a>",
)
JSON_WORDS = (*WORDS, b"[" * 3000, b'{"a":', b"{}", b"[]", b'"\\ud800"', b"\\u0000", b"NaN", b"Infinity", b"-1", b"1.5")


@dataclass(frozen=True)
class Reader:
    """One way into fmltk.

    `read` is given the file and an empty folder to write to; `seeds` makes files that are accepted; `tree` says that a
    seed is a tree of values, which `dump` turns into a file.
    """

    name: str
    suffix: str
    read: Callable[[Path, Path], object]
    seeds: Callable[[], Sequence[Any]]
    words: tuple[bytes, ...] = WORDS
    dump: Callable[[Any], bytes] | None = None


def _openface(path: Path, folder: Path) -> None:
    table = read_openface(path)
    if table.groups:
        openface_sequence(table, n_frames=12, source_fps=25.0, groups=table.groups)


def _openface_csv(columns: Sequence[str], n_rows: int, separator: str = ",") -> bytes:
    lines = [separator.join(("frame", "face_id", "timestamp", "confidence", "success", *columns))]
    for row in range(n_rows):
        values = [f"{row + place / 10:.2f}" for place in range(len(columns))]
        lines.append(separator.join((str(row + 1), "0", f"{row / 25:.3f}", "0.98", "1", *values)))
    return ("\n".join(lines) + "\n").encode()


def _openface_seeds() -> list[bytes]:
    names = [feature.name for feature in OPENFACE_FEATURES]
    units = [name for name in names if name.startswith("AU")]
    picture = b"face, confidence, pose_Tx, pose_Ty\n0, 0.9, 1.5, -2\n1, 0.8, 3, 4\n"
    return [_openface_csv(names, 2), _openface_csv(units, 12), _openface_csv(names[-45:-35], 12, ", "), picture]


def _ratings(path: Path, folder: Path) -> None:
    names = RaterNames(salt_path=folder / "configuration" / "salt")
    options = ImportOptions(condition="VT", names=names, rater="9")
    import_ratings([path], folder / "out" / "ratings.parquet", options)


def _task(number: int) -> dict[str, Any]:
    def annotation(place: int, rater: object, label: str, **more: object) -> dict[str, Any]:
        result = {"from_name": "sentiment", "to_name": "video", "type": "choices", "value": {"choices": [label]}}
        times = {"created_at": "2026-11-22T19:17:57.6Z", "updated_at": "2026-11-22T19:18:57.6Z", "lead_time": 4.5}
        return {
            "id": number * 10 + place,
            "completed_by": rater,
            "result": [result],
            "was_cancelled": False,
            **times,
            **more,
        }

    data = {"utterance_id": f"v$_${number}", "video_id": "v", "clip_id": str(number), "condition": "VT", "text": "很好"}
    person = {"id": 3, "email": "ann@example.com"}
    annotations = [annotation(1, 3, "-1"), annotation(2, person, "1", updated_by=4)]
    annotations.append(annotation(3, 5, "0", was_cancelled=True))
    draft = {"id": number, "user": "ann@example.com", "created_username": "ann@example.com, 4", "annotation": None}
    return {"id": number, "data": data, "annotations": annotations, "drafts": [draft], "predictions": []}


def _old_task() -> dict[str, Any]:
    result = {"from_name": "sentiment", "type": "choices", "value": {"choices": ["-1"]}}
    completions = [
        {"id": 1, "created_at": 1590000000, "lead_time": 2.2, "result": [result]},
        {"id": 2, "skipped": True},
    ]
    return {"id": 0, "data": {"utterance_id": "u0", "text": "t"}, "completions": completions}


_ROWS: list[dict[str, Any]] = [
    {"utterance_id": f"v$_${clip}", "video_id": "v", "clip_id": clip, "condition": "VT", "text": 'so, "it" is\nfine',
     "id": 21, "sentiment": label, "annotator": rater, "annotation_id": number, "lead_time": 6.0,
     "created_at": "2026-11-22T19:17:57.6Z", "updated_at": "2026-11-22T19:17:57.7Z"}
    for number, (clip, rater, label) in enumerate([("1", 7, "-1"), ("1", 8, "1"), ("NA", 7, "0")])
]  # fmt: skip


def _table(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _ratings_tables() -> list[bytes]:
    clips = [("v", "0001", "VT"), ("v", "NA", "tv")]
    long = [
        {"video_id": v, "clip_id": c, "condition": k, "annotator": rater, "value": "1", "status": "rated",
         "lead_time_s": "2.5", "created_at": "2026-01-01T00:00:00Z"}
        for v, c, k in clips for rater in ("ann", "bob")
    ]  # fmt: skip
    wide = [{"video_id": v, "clip_id": c, "condition": k, "ann": "1", "bob": "-1", "cy": ""} for v, c, k in clips]
    return [_table(long), _table(long, ";"), _table(wide), _table(wide, "\t")]


def _label_csv() -> bytes:
    rows = [
        {"video_id": "v", "clip_id": f"000{n}", "text": 'so, "it" is\nfine', "label": "0.4", "label_T": "-1",
         "label_A": "", "label_V": "0.2", "annotation": "Positive", "mode": mode}
        for n, mode in enumerate(("train", "valid", "test"))
    ]  # fmt: skip
    return _table(rows)


def _transcripts(path: Path, folder: Path) -> None:
    list(read_transcripts(path))


def _transcript_tables() -> list[bytes]:
    rows = [
        {"video_id": "talk", "clip_id": "1", "text": "你好, so", "start_s": "0", "end_s": "1.5", "language": "zh"},
        {"video_id": "talk", "clip_id": "2", "text": "x", "start_s": "1.5", "end_s": "2", "language": ""},
    ]
    chinese = "video_id,text\nv,我们在这里看电影\n".encode("gb18030")
    return [_label_csv(), _table(rows), _table(rows).decode().encode("utf-16"), chinese]


_SHEET_ROWS = [
    ["Filename", "Transcript", "start", "end"],
    ["a.mp4", "你好, so", 0.5, timedelta(seconds=1.5)],
    [7, "#N/A", None, "0:02"],
]


def _members(write: Callable[[Path, Any], Path]) -> Callable[[], list[dict[str, list[str]]]]:
    """Return seeds of a spreadsheet: its XML files by name, each cut before its tags, so that damage is within them."""

    def seeds() -> list[dict[str, list[str]]]:
        with TemporaryDirectory() as folder, ZipFile(write(Path(folder) / "t", _SHEET_ROWS)) as archive:
            return [{name: re.split("(?=<)", archive.read(name).decode()) for name in archive.namelist()}]

    return seeds


def _dump_archive(members: Any) -> bytes:
    data = io.BytesIO()
    with ZipFile(data, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name, parts in members.items() if isinstance(members, dict) else ():
            content = "".join(map(str, parts)) if isinstance(parts, list) else str(parts)
            archive.writestr(str(name).replace("\0", "") or "x", content.encode("utf-8", "replace"))
    return data.getvalue()


def _json_lines() -> list[bytes]:
    rows = [
        {"video_id": "talk", "clip_id": 1, "text": "你好", "start_s": 0.5, "end_s": None},
        {"utterance_id": "a$_$b"},
    ]
    return [b"\n".join(json.dumps(row).encode() for row in rows)]


def _catalog(path: Path, folder: Path) -> None:
    build_catalog(path, exclude=path)


def _video_table() -> list[bytes]:
    return [
        b"path,video_id,clip_id,text,reason\na.mp4,v,1,hello,dark\nb/c.mkv,v,2,,\n",
        b"path,utterance_id\na.mp4,a\n/x/b.mov,b$_$1\n",
    ]


def _subtitles(path: Path, folder: Path) -> None:
    read_cues(path)


def _word_times(path: Path, folder: Path) -> None:
    for recording in read_words(path, SourceOptions()).recordings:
        with suppress(FeatureError):  # words of another clip
            match_words("set white", split_characters(in_order(recording.words)))


_TEXTGRID = (
    b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\ntiers? <exists>\nsize = 2\nitem []:\n'
    b'    item [1]:\n        class = "IntervalTier"\n        name = "words"\n        xmin = 0\n        xmax = 2\n'
    b"        intervals: size = 1\n        intervals [1]:\n            xmin = 0\n            xmax = 1\n"
    b'            text = "set"\n    item [2]:\n        class = "TextTier"\n        name = "bell"\n        xmin = 0\n'
    b'        xmax = 2\n        points: size = 1\n        points [1]:\n            number = 1\n            mark = "a"\n'
)
_SHORT_TEXTGRID = b'"ooTextFile"\n"TextGrid"\n0\n2\n<exists>\n1\n"IntervalTier"\n"a"\n0\n2\n1\n0\n1\n"set"\n'
_CTM = b";; x\ntalk 1 0.49 0.28 set 0.9\ntalk 1 0.77 0.32 white\n"
_ALIGN = b"0 12250 sil\n12250 19250 set\n19250 27250 white\n"
_WORD_TABLE = b"utterance_id,word,start_s,end_s\na$_$0,set,0.49,0.77\na$_$0,2014,,\n"
_WORD_SRT = b"1\n00:00:00,490 --> 00:00:00,770\nset\n\n2\n00:00:00,770 --> 00:00:01,090\nwhite\n"
_WORD_JSON = [
    {"segments": [{"text": "set 2", "words": [{"word": " set", "start": 0.5, "end": 1}, {"word": "2"}]}]},
    {"chunks": [{"text": "set", "timestamp": [0.5, 1]}]},
]
_RATER_LIST = b"source,id,rater\n,3,ann\ns,b@c.d,bob\n"
_SRT = b"1\n00:00:01,000 --> 00:00:02,500\n<i>Well</i>, {\\an8}yes\n\n2\n00:00:03,000 --> 00:00:04,000\nno\n"
_VTT = (
    b"WEBVTT - x\n\nNOTE about\n\nSTYLE\n::cue{}\n\nid\n00:01.000 --> 00:02.500 align:start\n"
    b"<v Ann>Hi <00:01.500>there &amp; then\n\n01:00:03.000 --> 01:00:04.000\nno\n"
)
SRT_WORDS = (*WORDS, b" --> ", b"99:99:99,999", b"<b>", b"{\\")
TEXTGRID_WORDS = (*WORDS, b'"', b"<exists>", b"<absent>", b"! ", b"1e999", b"[1]")
VTT_WORDS = (*WORDS, b" --> ", b"99:99.999", b"<v", b"&#x110000;")


def _configuration(path: Path, folder: Path) -> None:
    load_config(path=path)
    text = path.read_bytes().decode("utf-8", "replace")
    load_config(settings=[line for line in text.splitlines() if line and line[0] not in "#["][:5])


_TOML = b'preset = "mosi-aligned"\nlr = 0.002\nbs = 32\nbimodal = "multimodal" # why\nomega_at = 1\npatience = 3\n'
TOML_WORDS = (
    *WORDS,
    b"[" * 3000,
    b"[a]\n",
    b"[[a]]\n",
    b"a.b = 1\n",
    b"{a=",
    b'"""',
    b"1979-05-27",
    b"0b1",
    b"1_0",
    b"nan",
)


def _mmsa(path: Path, folder: Path) -> None:
    import_mmsa(path, folder / "features", non_finite="zero")
    read_features(folder / "features").to_pandas()
    read_clip_features(folder / "features")


def _parquet_file(table: Any) -> bytes:
    import pyarrow.parquet as pq

    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    return target.getvalue()


def _utterance_tables() -> list[bytes]:
    import pyarrow as pa

    columns: dict[str, Any] = {"video_id": ["a", "a", "b"], "clip_id": ["1", "2", "1"], "label": [0.5, -1.0, 2.0]}
    columns |= {"text": [[0.5] * 4] * 3, "audio": [[1.0] * 3, None, [2.0] * 3], "vision": [[1.0, 2.0]] * 3}
    return [_parquet_file(pa.table({**columns, "split": ["train", "test", "test"], "transcript": ["x", None, "y"]}))]


def _utterances(path: Path, folder: Path) -> None:
    import_utterances(path, folder / "features", non_finite="zero")
    read_clip_features(folder / "features")


def _made(make: Callable[[Path], Path]) -> bytes:
    """Return the bytes of a file that fmltk itself writes into a folder of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder)).read_bytes()


def _ratings_parquet() -> list[bytes]:
    def make(folder: Path) -> Path:
        (folder / "a.json").write_text(json.dumps([_task(1), _task(2)]), encoding="utf-8")
        names = RaterNames(salt_path=folder / "salt")
        import_ratings([folder / "a.json"], folder / "out" / "r.parquet", ImportOptions(names=names))
        return folder / "out" / "r.parquet"

    return [_made(make)]


def _imported(folder: Path) -> Path:
    """The features and labels that an MMSA pickle becomes."""
    (folder / "x.pkl").write_bytes(pickle.dumps(mmsa_data()))
    import_mmsa(folder / "x.pkl", folder / "f")
    return folder / "f"


def _labels_parquet() -> list[bytes]:
    return [_made(lambda folder: _imported(folder) / "labels.parquet")]


def _aggregated_labels() -> list[bytes]:
    def make(folder: Path) -> Path:
        (folder / "r.parquet").write_bytes(_ratings_parquet()[0])
        labels = join_labels(aggregate_ratings(read_ratings(folder / "r.parquet")), None)
        write_labels(labels, folder / "labels.parquet")
        return folder / "labels.parquet"

    return [_made(make)]


def _modality(path: Path, folder: Path) -> None:
    """A damaged vision.parquet in a folder that is whole otherwise."""
    path.replace(_imported(folder) / "vision.parquet")
    features = read_features(folder / "f")
    features.to_pandas()
    features["vision"].tensors()
    read_clip_features(folder / "f")


def _modality_file() -> list[bytes]:
    return [_made(lambda folder: _imported(folder) / "vision.parquet")]


def _manifest(path: Path, folder: Path) -> None:
    path.replace(folder / "manifest.parquet")
    read_features(folder).manifest()
    read_features(folder).settings()


def _manifest_file() -> list[bytes]:
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.features.manifest import ManifestWriter

    def make(folder: Path) -> Path:
        with ManifestWriter(folder / "manifest.parquet", {"settings": {"a": 1}}) as manifest:
            manifest.append(ClipRow(utterance_id="v$_$1", video_id="v", clip_id="1", status="ok"))
        return folder / "manifest.parquet"

    return [_made(make)]


def _checkpoint() -> list[bytes]:
    import torch

    from fmltk.model.checkpoint import StageCheckpoint, save_stage
    from fmltk.model.registry import model_spec
    from fmltk.model.standardise import Scaler

    def make(folder: Path) -> Path:
        config = load_config(settings=["thid=2", "ahid=2", "vhid=2", "tout=2", "fdim=2", "tdim=2", "adim=2", "vdim=2"])
        dims, spec = {"T": 3, "A": 2, "V": 2}, model_spec(config.model).stage("AV")
        scalers = {name: Scaler(np.zeros(2, np.float32), np.ones(2, np.float32), 5.0) for name in "AV"}
        schema = {name: {"dimension": d, "length": 4} for name, d in dims.items()}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = spec.build(dims, config)
        save_stage(folder / "s", StageCheckpoint("AV", net, config, dims, schema, scalers, 1, None))
        return folder / "s"

    return [_made(make)]


def _stage(path: Path, folder: Path) -> None:
    load_stage(path)


def _history(path: Path, folder: Path) -> None:
    load_history(path)


def _stimuli(path: Path, folder: Path) -> None:
    path.replace(folder / "stimuli.jsonl")
    for stimulus in read_stimuli(folder):
        stimulus.shows("AT")


def _stimuli_lines() -> list[bytes]:
    lines = [
        {"utterance_id": f"v$_${n}", "video_id": "v", "clip_id": str(n), "text": "很好", "files": {"sound": "s/a.m4a"},
         "status": {"text": "ok", "sound": "ok"}, "errors": {}, "duration_s": 1.5, "fingerprint": "ab"}
        for n in range(2)
    ]  # fmt: skip
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _labels(path: Path, folder: Path) -> None:
    labels = read_labels(path)
    for condition in CONDITIONS:
        labels.values(condition), labels.classes(condition), labels.reasons(condition)
    write_labels(labels, folder / "labels.parquet")


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def _dump_toml(value: Any) -> bytes:
    entries = value.items() if isinstance(value, dict) else [("lr", value)]
    lines = (f"{key} = {_dump_json(one).decode('utf-8', 'surrogatepass')}" for key, one in entries)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=4)


def _small_mmsa() -> list[Any]:
    return [mmsa_data(sizes=(2, 2, 2)), mmsa_data(kind="mosi", sizes=(2, 2, 2), dtype=np.float64)]


READERS = {
    reader.name: reader
    for reader in (
        Reader("openface", ".csv", _openface, _openface_seeds),
        Reader("label-studio-json", ".json", _ratings, lambda: [[_task(1), _task(2)], [_old_task()]], JSON_WORDS,
               _dump_json),
        Reader("label-studio-json-min", ".json", _ratings, lambda: [_ROWS], JSON_WORDS, _dump_json),
        Reader("label-studio-csv", ".csv", _ratings, lambda: [_table(_ROWS), _table(_ROWS, "\t")]),
        Reader("ratings-table", ".csv", _ratings, _ratings_tables),
        Reader("ratings-parquet", ".parquet", lambda path, _: read_ratings(path), _ratings_parquet),
        Reader("rater-list", ".csv", lambda path, _: read_rater_list(path), lambda: [_RATER_LIST]),
        Reader("label-csv", ".csv", _labels, lambda: [_label_csv()]),
        Reader("labels-parquet", ".parquet", _labels, _labels_parquet),
        Reader("aggregated-labels", ".parquet", _labels, _aggregated_labels),
        Reader("transcripts-csv", ".csv", _transcripts, _transcript_tables),
        Reader("transcripts-xlsx", ".xlsx", _transcripts, _members(write_xlsx), XML_WORDS, _dump_archive),
        Reader("transcripts-ods", ".ods", _transcripts, _members(write_ods), XML_WORDS, _dump_archive),
        Reader("transcripts-jsonl", ".jsonl", _transcripts, _json_lines, JSON_WORDS),
        Reader("video-table", ".csv", _catalog, _video_table),
        Reader("subtitles-srt", ".srt", _subtitles, lambda: [_SRT], SRT_WORDS),
        Reader("subtitles-vtt", ".vtt", _subtitles, lambda: [_VTT], VTT_WORDS),
        Reader("words-textgrid", ".TextGrid", _word_times, lambda: [_TEXTGRID, _SHORT_TEXTGRID], TEXTGRID_WORDS),
        Reader("words-ctm", ".ctm", _word_times, lambda: [_CTM]),
        Reader("words-align", ".align", _word_times, lambda: [_ALIGN]),
        Reader("words-json", ".json", _word_times, lambda: _WORD_JSON, JSON_WORDS, _dump_json),
        Reader("words-csv", ".csv", _word_times, lambda: [_WORD_TABLE]),
        Reader("words-srt", ".srt", _word_times, lambda: [_WORD_SRT], SRT_WORDS),
        Reader("words-vtt", ".vtt", _word_times, lambda: [_VTT], VTT_WORDS),
        Reader("stimuli", ".jsonl", _stimuli, _stimuli_lines, JSON_WORDS),
        Reader("configuration", ".toml", _configuration, lambda: [_TOML], TOML_WORDS),
        Reader("configuration-values", ".toml", _configuration, lambda: [{"lr": 0.1, "bs": 2, "bimodal": "auto"}],
               TOML_WORDS, _dump_toml),
        Reader("mmsa-pickle", ".pkl", _mmsa, _small_mmsa, dump=_pickle),
        Reader("utterances-parquet", ".parquet", _utterances, _utterance_tables),
        Reader("features-parquet", ".parquet", _modality, _modality_file),
        Reader("manifest-parquet", ".parquet", _manifest, _manifest_file),
        Reader("checkpoint", ".safetensors", _stage, _checkpoint, JSON_WORDS),
        Reader("history", ".json", _history, lambda: [{"best_epoch": 1, "epochs": []}], JSON_WORDS, _dump_json),
    )
}  # fmt: skip
