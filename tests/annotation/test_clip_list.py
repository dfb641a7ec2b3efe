"""The clips that raters were given, next to those that were rated."""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.clip_list import read_clip_list
from fmltk.annotation.importing.import_files import import_ratings, report_path
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.labelling.stimuli import Stimulus
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import Policy
from fmltk.toolkit.errors import AnnotationError

GIVEN = [f"v{number}$_${number:04d}" for number in range(1, 7)]


def write_list(folder, kind, utterances=GIVEN):
    """Write the clips as `prepare`, `extract` or people write them; return what --clips gets."""
    ids = [name.split("$_$") for name in utterances]
    rows = [{"utterance_id": name, "video_id": a, "clip_id": b} for name, (a, b) in zip(utterances, ids, strict=True)]
    folder.mkdir(exist_ok=True)
    if kind in ("stimuli", "stimuli.jsonl"):
        lines = [json.dumps(asdict(Stimulus(**row, files={"audio": "audio/1.wav"}))) for row in rows]
        (folder / "stimuli.jsonl").write_text("\n".join([*lines, lines[0]]) + "\n")  # a clip that was prepared twice
        return folder if kind == "stimuli" else folder / "stimuli.jsonl"
    if kind == "features":
        pq.write_table(pa.Table.from_pylist([{**row, "source": "a.mp4"} for row in rows]), folder / "manifest.parquet")
        return folder
    lines = {
        "ids.csv": ["video_id,clip_id,group", *(f"{a},{int(b)},x" for a, b in ids)],  # a spreadsheet's numbers
        "ids.tsv": ["Utterance_ID\tspeaker", *(f"{name}\t1" for name in utterances)],
        "labels.csv": ["video_id,clip_id,text,label,mode", *(f"{a},{b},hello,,train" for a, b in ids)],
    }[kind]
    (folder / kind).write_text("\n".join(lines) + "\n")
    return folder / kind


@pytest.fixture
def ratings(tmp_path):
    """Four clips, of which two were rated by five on AT, one by two on AT, one by five on VT."""
    rows = ["utterance_id,condition,annotator,value"]
    for name, condition, n_raters in zip(GIVEN, ("AT", "AT", "AT", "VT"), (5, 5, 2, 5), strict=False):
        rows += [f"{name},{condition},r{rater},1" for rater in range(n_raters)]
    (tmp_path / "long.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "long.csv"


@pytest.mark.parametrize("kind", ["stimuli", "stimuli.jsonl", "features", "ids.csv", "ids.tsv", "labels.csv"])
def test_every_clip_that_raters_were_given_has_a_row_and_a_reason(tmp_path, ratings, kind):
    import_ratings([ratings], tmp_path / "r.parquet")
    table = read_ratings(tmp_path / "r.parquet")
    listed = read_clip_list(write_list(tmp_path / "list", kind), set(GIVEN[:4]))
    labels = join_labels(aggregate_ratings(table, Policy(), clips=listed.ids), None)
    rows = {row["utterance_id"]: row for row in labels.table.to_pylist()}
    assert len(rows) == 6
    assert [rows[name]["label_AT"] for name in GIVEN[:2]] == [1.0, 1.0]
    reasons = {name: row["reason_AT"] for name, row in rows.items() if row["label_AT"] is None}
    assert reasons.pop(GIVEN[2]) == "2 of 5 ratings: 3 missing"
    assert set(reasons.values()) == {"0 of 5 ratings: 5 missing"}
    assert len(reasons) == 3
    assert {row["reason_AV"] for row in rows.values()} == {"no ratings"}
    assert listed.unlisted == ()


def test_the_import_says_which_clips_have_no_rating(tmp_path, ratings):
    given = write_list(tmp_path / "list", "stimuli")
    report = import_ratings([ratings], tmp_path / "r.parquet", clips=given)
    assert report.unrated == {"AT": GIVEN[3:], "VT": [*GIVEN[:3], *GIVEN[4:]]}
    (said,) = report.remarks
    assert said.startswith("clips without a rating, of the 6 on the list: AT 3, VT 5;")
    assert json.loads(report_path(tmp_path / "r.parquet").read_text())["unrated"]["AT"] == GIVEN[3:]


@pytest.mark.parametrize("kind", ["stimuli", "features", "ids.csv"])
def test_clips_that_were_rated_and_are_not_listed_are_said(tmp_path, ratings, kind):
    given = write_list(tmp_path / "list", kind, GIVEN[1:])
    report = import_ratings([ratings], tmp_path / "r.parquet", clips=given)
    assert report.unlisted == GIVEN[:1]
    assert f"not on the list of clips (1): {GIVEN[0]}" in report.remarks[0]
    assert GIVEN[0] in read_ratings(tmp_path / "r.parquet").column("utterance_id").to_pylist()


def test_a_list_of_other_clips_stops_before_anything_is_written(tmp_path, ratings):
    others = write_list(tmp_path / "list", "ids.csv", ["w1$_$1", "w2$_$2"])
    with pytest.raises(AnnotationError, match=r"none of the clips of .* was rated: it lists w1\$_\$1, w2"):
        import_ratings([ratings], tmp_path / "r.parquet", clips=others)
    assert not (tmp_path / "r.parquet").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "neither stimuli.jsonl nor manifest.parquet"), ("a,b\n1,2\n", "names no clip"), ("video_id\n", "no clip")],
)
def test_what_is_no_list_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "folder"
    path.mkdir()
    if text is not None:
        path = path / "list.csv"
        path.write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_clip_list(path, {"v$_$1"})
