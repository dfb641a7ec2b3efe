"""Every pitfall of Label Studio's exports, one test each."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.annotation.importing.import_files import dropped_path, import_ratings, report_path
from fmltk.annotation.raters import RaterNames, pseudonym, read_rater_list
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError
from tests.annotation.conftest import TIME
from tests.annotation.dropped import dropped_lines
from tests.spreadsheets import write_ods, write_xlsx

FILES = {
    "VT_sync_JSON_all.json": "JSON",
    "VT_snapshot_completedby_full.json": "JSON",
    "VT_sync_JSON_MIN_all.json": "JSON_MIN",
    "VT_sync_CSV_all.csv": "CSV",
    "VT_sync_TSV_all.tsv": "TSV",
}


def values(rows):
    return {(row["clip_id"], row["annotator"]): row["value"] for row in rows if row["status"] == "rated"}


def statuses(rows):
    return {row["annotator"]: row["status"] for row in rows}


@pytest.mark.parametrize("name", FILES)
def test_each_real_export_gives_the_nineteen_ratings(test_data, tmp_path, name):
    report = import_ratings([test_data / "labelstudio" / name], tmp_path / "r.parquet")
    rows = read_ratings(tmp_path / "r.parquet").to_pylist()
    rated = [row for row in rows if row["status"] == "rated"]
    assert report.files[0].format == FILES[name]
    assert len(rated) == 19
    first = {row["annotator"]: row["value"] for row in rated if row["utterance_id"] == "video_0001$_$0001"}
    assert first == {"3": 1, "4": 1, "5": 0, "6": 1, "7": -1}
    (again,) = (row for row in rated if row["annotator"] == "3" and row["utterance_id"] == "video_0002$_$0001")
    assert (again["value"], again["annotation_id"], again["flags"]) == (1, "14", "repeated")


def test_json_and_csv_of_one_project_agree_but_for_what_csv_lacks(test_data, tmp_path):
    kept = {}
    for name in ("VT_sync_JSON_all.json", "VT_sync_CSV_all.csv"):
        report = import_ratings([test_data / "labelstudio" / name], tmp_path / f"{name}.parquet")
        rows = read_ratings(tmp_path / f"{name}.parquet").to_pylist()
        kept[name] = rows
        lacks = report.as_dict()["files"][0]["lacks"]
    same = ("utterance_id", "condition", "annotator", "value", "status", "lead_time_s", "created_at", "updated_at")
    from_json, from_csv = ({tuple(row[key] for key in same) for row in rows} for rows in kept.values())
    assert from_csv < from_json
    assert {row[4] for row in from_json - from_csv} == {"skipped", "draft"}
    assert lacks == ["skipped annotations", "drafts", "changes by another than the rater"]
    edited = {row["annotation_id"]: row["edited_by"] for row in kept["VT_sync_JSON_all.json"] if row["edited_by"]}
    assert edited == {"16": "3", "20": "3", "21": "1"}
    assert not any(row["edited_by"] for row in kept["VT_sync_CSV_all.csv"])


def test_exports_before_1_0_import_with_the_rater_named(test_data, tmp_path):
    options = ImportOptions(condition="VT", rater="ann")
    report = import_ratings([test_data / "labelstudio" / "old_completions_handmade.json"], tmp_path / "r", options)
    (row,) = read_ratings(tmp_path / "r").to_pylist()
    assert (row["utterance_id"], row["video_id"], row["clip_id"], row["value"]) == ("u0$_$0", "u0", "0", -1)
    assert row["created_at"] == datetime.fromtimestamp(1590000000, tz=UTC)
    assert report.files[0].format == "JSON before 1.0"
    assert report.dropped == {"skipped too": 1}
    assert row["flags"] == "skipped_later"


def test_a_task_without_ids_imports_by_a_field_of_its_data(test_data, tmp_path):
    path = test_data / "labelstudio" / "v1_completedby_dict_handmade.json"
    with pytest.raises(AnnotationError, match=r"gives no rating.*no utterance_id"):
        import_ratings([path], tmp_path / "r")
    assert not (tmp_path / "r").exists()
    import_ratings([path], tmp_path / "r", ImportOptions(condition="AT", id_field="video"))
    (row,) = read_ratings(tmp_path / "r").to_pylist()
    assert (row["video_id"], row["condition"], row["annotator"], row["value"]) == ("v", "AT", "3", -1)


def test_skipped_empty_draft_and_missing_are_four_things(exports, read):
    draft = {"id": 9, "user": "e@x.org", "created_username": "e@x.org, 6", "result": [], "annotation": None}
    annotations = [
        exports.annotation(3, "0"),
        exports.annotation(4, "1", was_cancelled=True),
        exports.annotation(5, None),
    ]
    rows, report = read([exports.task(*annotations, drafts=[draft]), exports.task(clip="0002")])
    assert statuses(rows) == {"3": "rated", "4": "skipped", "5": "empty", "6": "draft"}
    assert [row["value"] for row in rows] == [0, None, None, None]
    answers = {"rated": 1, "skipped": 1, "empty": 1, "draft": 1, "rejected": 0}
    assert report.conditions["VT"] == {"clips": 1, "raters": 4, **answers}
    assert report.files[0].tasks_without_annotation == 1


def test_the_latest_rating_that_is_not_cancelled_wins(exports, read):
    annotations = [
        exports.annotation(3, "1", second=5),
        exports.annotation(3, "-1", second=7),
        exports.annotation(3, "0", second=6),
        exports.annotation(3, "1", second=9, was_cancelled=True),
    ]
    rows, report = read([exports.task(*annotations)])
    assert [(row["value"], row["flags"]) for row in rows] == [(-1, "repeated skipped_later")]
    assert report.dropped == {"repeated": 2, "skipped too": 1}


def test_a_rating_of_a_duplicated_task_counts_once(exports, read):
    rows, report = read(
        [exports.task(exports.annotation(3, "1", second=1)), exports.task(exports.annotation(3, "0", second=2), id=99)]
    )
    assert [row["value"] for row in rows] == [0]
    assert report.dropped == {"repeated": 1}


def test_a_change_by_another_is_flagged(exports, read):
    rows, report = read([exports.task(exports.annotation(3, "1", updated_by=8), exports.annotation(4, "1"))])
    assert [(row["edited_by"], row["flags"]) for row in rows] == [("8", "edited"), (None, "")]
    assert report.flags == {"edited": 1}


@pytest.mark.parametrize("label", ["2", "Negative", "", "1.5", " ", "²", "1e0", "<b>1</b>", True, {"a": 1}, 10**30])
def test_an_unknown_label_is_dropped_with_its_line(exports, read, tmp_path, label):
    rows, report = read([exports.task(exports.annotation(3, label), exports.annotation(4, "1"))])
    assert values(rows) == {("0001", "4"): 1}
    if label == "":
        assert statuses(rows)["3"] == "empty"
        return
    assert report.dropped == {"unknown label": 1}
    (line,) = dropped_lines(tmp_path / "out" / "ratings.parquet")
    assert (line["annotator"], line["label"], line["reason"]) == ("3", str(label), "unknown label")


@pytest.mark.parametrize(("label", "value"), [("+1", 1), ("−1", -1), ("1.0", 1), (0, 0), (" -1 ", -1), (1.0, 1)])
def test_a_number_is_read_however_it_is_written(exports, read, label, value):
    rows, _ = read([exports.task(exports.annotation(3, label))])
    assert values(rows) == {("0001", "3"): value}


def test_words_become_numbers_by_an_option(exports, read):
    options = ImportOptions(label_values={"消极": -1, "积极": 1})
    rows, _ = read([exports.task(exports.annotation(3, "消极"), exports.annotation(4, "积极"))], options=options)
    assert values(rows) == {("0001", "3"): -1, ("0001", "4"): 1}


def test_two_choices_are_no_rating(exports, read):
    two = exports.annotation(3)
    two["result"][0]["value"]["choices"] = ["1", "-1"]
    twice = exports.annotation(4)
    twice["result"] *= 2
    rows, report = read([exports.task(two, twice, exports.annotation(5))])
    assert values(rows) == {("0001", "5"): 1}
    assert report.dropped == {"two choices": 2}


def test_an_answer_to_another_control_is_no_rating(exports, read):
    wrong = exports.annotation(3)
    wrong["result"][0]["from_name"] = "quality"
    both = exports.annotation(4, "0")
    both["result"].append({"from_name": "comment", "type": "textarea", "value": {"text": ["1"]}})
    rows, report = read([exports.task(wrong, both)])
    assert values(rows) == {("0001", "4"): 0}
    assert report.dropped == {"wrong control": 1}


@pytest.mark.parametrize(("key", "kept"), [("rating", 2), ("number", 2.0), ("text", None)])
def test_stars_and_numbers_are_ratings_and_texts_are_none_in_every_format(exports, read, key, kept):
    options = ImportOptions(default_scale=Scale(1, 5))
    answer = exports.annotation(3)
    answer["result"][0] |= {"type": key, "value": {key: kept or ["2"]}}
    base = {"video_id": "v", "clip_id": "0001", "condition": "VT", "annotator": 3, "annotation_id": 1}
    cell = [{key: kept or ["2"]}]  # as Label Studio's converter writes what is no choice
    text = io.StringIO()
    csv.writer(text).writerows([[*base, "sentiment"], [*base.values(), json.dumps(cell)]])
    good = exports.annotation(4, "5")
    flat = {**base, "annotator": 4, "annotation_id": 2, "sentiment": "5"}
    csv.writer(text).writerow(flat.values())
    for content, name in (
        ([exports.task(answer, good)], "a.json"),
        ([{**base, "sentiment": cell}, flat], "a.json"),
        (text.getvalue(), "a.csv"),
    ):
        rows, report = read(content, name=name, options=options)
        assert values(rows) == {("0001", "4"): 5, **({("0001", "3"): 2} if kept else {})}
        assert report.dropped == ({} if kept else {"unsupported control": 1})


def test_an_annotation_without_a_rater_is_dropped_unless_one_is_named(exports, read):
    annotations = [exports.annotation(None), exports.annotation(4)]
    rows, report = read([exports.task(*annotations)])
    assert list(statuses(rows)) == ["4"]
    assert report.dropped == {"no rater": 1}
    rows, _ = read([exports.task(*annotations)], options=ImportOptions(rater="ann"))
    assert set(statuses(rows)) == {"4", "ann"}


def test_a_rater_who_is_not_on_the_list_is_refused(exports, read, tmp_path):
    (tmp_path / "map.csv").write_text("source,id,rater\n,3,ann\nlab2,3,bob\n", encoding="utf-8")
    listed = read_rater_list(tmp_path / "map.csv")
    content = [exports.task(exports.annotation(3), exports.annotation(99, "-1"))]
    rows, report = read(content, options=ImportOptions(names=RaterNames(listed=listed)))
    assert statuses(rows) == {"ann": "rated"}
    assert report.dropped == {"unlisted rater": 1}
    rows, _ = read(content, options=ImportOptions(names=RaterNames(source="lab2", listed=listed)))
    assert statuses(rows) == {"bob": "rated"}


def test_an_address_that_the_list_gives_as_a_name_becomes_a_pseudonym_too(exports, read, tmp_path):
    (tmp_path / "map.csv").write_text("id,rater\n3,ann@example.com\n", encoding="utf-8")
    listed, salt = read_rater_list(tmp_path / "map.csv"), tmp_path / "salt"
    for keep in (False, True):
        names = RaterNames(listed=listed, keep_identities=keep, salt_path=salt)
        rows, _ = read([exports.task(exports.annotation(3))], options=ImportOptions(names=names))
        key = bytes.fromhex(salt.read_text().strip())
        assert statuses(rows) == {"ann@example.com" if keep else pseudonym("ann@example.com", key): "rated"}


def test_an_address_on_the_list_is_found_however_it_is_written(exports, read, tmp_path):
    (tmp_path / "map.csv").write_text("id,rater\nAnn@Example.com,first\n", encoding="utf-8")
    names = RaterNames(listed=read_rater_list(tmp_path / "map.csv"))
    task = exports.task(exports.annotation({"email": "ann@example.COM"}, updated_by=None))
    rows, _ = read([task], options=ImportOptions(names=names))
    assert statuses(rows) == {"first": "rated"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("id\n3\n", "needs the columns"), ("id,rater\n3,\n", "line 2.*empty"), ("id,rater\n3,a\n3,b\n", "two annotators")],
)
def test_a_bad_list_of_raters_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message):
        read_rater_list(tmp_path / "map.csv")


def test_ids_stay_as_written(exports, read):
    clips = ("0001", "NA", "1e3", "nan", "TRUE", " 7", "视频")
    rows, _ = read([exports.task(exports.annotation(3), clip=clip) for clip in clips])
    assert {row["clip_id"] for row in rows} == set(clips)
    text = "annotation_id,annotator,clip_id,condition,sentiment,video_id\n" + "".join(
        f'{n},"3","{clip}","VT","1","007"\n' for n, clip in enumerate(clips)
    )
    rows, _ = read(text, name="export.csv")
    assert {row["clip_id"] for row in rows} == set(clips)
    assert {row["video_id"] for row in rows} == {"007"}


def test_a_decomposed_id_is_the_composed_one(exports, read):
    rows, _ = read([exports.task(exports.annotation(3), clip="cafe\u0301")])
    assert {row["clip_id"] for row in rows} == {"caf\u00e9"}


def test_ids_that_disagree_or_cannot_be_are_dropped(exports, read):
    wrong = exports.task(exports.annotation(3))
    wrong["data"]["utterance_id"] = "w$_$0001"
    escape = exports.task(exports.annotation(3), clip="\x1b[2J")
    rows, report = read([wrong, escape, exports.task(exports.annotation(3))])
    assert len(rows) == 1
    assert report.dropped == {"ids disagree": 1, "unusable id": 1}


def test_an_address_becomes_a_pseudonym_and_appears_nowhere(exports, read, tmp_path):
    salt = tmp_path / "elsewhere" / "salt"
    annotations = [
        exports.annotation({"email": "Ann@Example.com"}, updated_by={"email": "boss@example.com"}),
        exports.annotation({"email": "bob@example.com"}, "7"),
        exports.annotation({"email": "bob@example.com"}, "1"),
        exports.annotation({"id": 12, "email": "eve@example.com"}, "1"),
    ]
    for annotation in annotations[:3]:
        annotation.setdefault("updated_by", None)
    annotations[1]["updated_by"] = annotations[2]["updated_by"] = None
    rows, _ = read([exports.task(*annotations)], options=ImportOptions(names=RaterNames(salt_path=salt)))
    key = bytes.fromhex(salt.read_text().strip())
    assert set(statuses(rows)) == {pseudonym("ann@example.com", key), pseudonym("bob@example.com", key), "12"}
    assert salt.stat().st_mode & 0o077 == 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"example.com" not in written
    assert salt.read_text().strip().encode() not in written
    names = RaterNames(salt_path=salt, keep_identities=True)
    rows, _ = read([exports.task(*annotations)], options=ImportOptions(names=names))
    assert "bob@example.com" in statuses(rows)


def test_addresses_that_an_earlier_import_kept_go_when_they_are_no_longer_to_be_kept(exports, read, tmp_path):
    salt = tmp_path / "elsewhere" / "salt"
    kept, safe = (ImportOptions(names=RaterNames(salt_path=salt, keep_identities=keep)) for keep in (True, False))
    bob, eve = ({"email": f"{name}@example.com"} for name in ("bob", "eve"))
    task = exports.task(
        exports.annotation(bob, updated_by=eve),
        exports.annotation(bob, "7", updated_by=None),
        exports.annotation(4, "ask bob@example.com"),
    )
    read([task], options=kept)
    files = sorted((tmp_path / "out").iterdir())
    assert sum(b"bob@example.com" in path.read_bytes() for path in files) == 2  # the ratings and what was dropped
    copy = (tmp_path / "out" / "ratings.parquet").read_bytes()
    other = exports.task(exports.annotation(bob, updated_by=None), clip="0002")
    rows, _ = read([other], options=safe, overwrite=False)
    names = safe.names
    assert {row["annotator"] for row in rows} == {names.name("bob@example.com")}
    assert {row["edited_by"] for row in rows} == {names.name("eve@example.com"), None}
    assert b"example.com" not in b"".join(path.read_bytes() for path in files)
    assert [line["label"] for line in dropped_lines(tmp_path / "out" / "ratings.parquet")] == [
        "7",
        f"ask {names.name('bob@example.com')}",
    ]
    rows, _ = read(copy, name="copy.parquet", options=safe)
    assert {row["annotator"] for row in rows} == {names.name("bob@example.com")}


def test_the_salt_may_not_lie_beside_the_ratings(exports, read, tmp_path):
    names = RaterNames(salt_path=tmp_path / "out" / "salt")
    with pytest.raises(AnnotationError, match="lies next to the ratings"):
        read([exports.task(exports.annotation(3))], options=ImportOptions(names=names))


def test_a_damaged_salt_is_named(exports, read, tmp_path):
    (tmp_path / "salt").write_text("not hex")
    names = RaterNames(salt_path=tmp_path / "salt")
    with pytest.raises(ConfigError, match="is not a salt"):
        read(
            [exports.task(exports.annotation({"email": "a@b.c"}, updated_by=None))], options=ImportOptions(names=names)
        )


def test_data_fields_that_collide_with_the_servers_own_are_named(exports, read):
    task = exports.task(exports.annotation(3))
    task["data"].update({"sentiment": "-1", "annotator": "x", "id": 4})
    rows, report = read([task])
    assert values(rows) == {("0001", "3"): 1}
    assert {remark.split("'")[1] for remark in report.files[0].remarks} == {"id", "annotator", "sentiment"}


def test_a_colliding_column_of_a_csv_does_not_replace_the_answer(read, tmp_path):
    """Label Studio's own converter writes data called like the control as _data_<control>."""
    from label_studio_sdk.converter.exports import csv2

    item = {
        "id": 1,
        "input": {"video_id": "v", "clip_id": "1", "condition": "VT", "sentiment": "-1", "annotator": "nobody"},
        "output": {"sentiment": [{"choices": ["1"], "type": "Choices"}]},
        **dict.fromkeys(("created_at", "updated_at", "lead_time")),
        "completed_by": 3,
        "annotation_id": 5,
    }
    csv2.convert(lambda _: iter([item]), None, str(tmp_path / "x.csv"), sep=",")
    rows, _ = read((tmp_path / "x.csv").read_text(encoding="utf-8"), name="y.csv")
    assert values(rows) == {("1", "3"): 1}


def test_two_columns_of_one_name_are_refused(read):
    with pytest.raises(AnnotationError, match=r"two columns named 'id'.*import the JSON export"):
        read('"annotation_id","annotator","id","id","sentiment"\n', name="export.csv")


@pytest.mark.parametrize("cell", ['{"choices": ["1", "-1"]}', '["1", "-1"]', '[{"choices": ["1", "-1"]}]'])
def test_two_choices_in_a_flat_row_are_no_rating(read, cell):
    base = {"video_id": "v", "clip_id": "1", "condition": "VT", "annotator": 3, "annotation_id": 1}
    rows, report = read([{**base, "sentiment": json.loads(cell)}, {**base, "annotation_id": 2, "sentiment": "0"}])
    assert report.dropped == {"two choices": 1}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([[*base, "sentiment"], [*base.values(), cell], [*list(base.values())[:-1], 2, "0"]])
    rows, report = read(text.getvalue(), name="export.csv")
    assert values(rows) == {("1", "3"): 0}
    assert report.dropped == {"two choices": 1}


def test_tasks_without_an_annotation_are_counted_not_rated(read):
    base = {"video_id": "v", "clip_id": "1", "condition": "VT"}
    rows, report = read(
        [
            {**base, "annotator": None, "annotation_id": None},
            {**base, "annotator": 3, "annotation_id": 1, "sentiment": "0"},
        ]
    )
    assert len(rows) == 1
    assert report.files[0].tasks_without_annotation == 1


def test_an_unfinished_change_leaves_the_answer(exports, read):
    draft = {"id": 1, "user": 3, "annotation": 1, "result": exports.annotation(3, "-1")["result"]}
    rows, report = read([exports.task(exports.annotation(3, "1"), drafts=[draft])])
    assert values(rows) == {("0001", "3"): 1}
    assert report.dropped == {"unfinished change": 1}


def test_things_that_are_no_annotations_are_dropped_and_predictions_counted(exports, read):
    task = exports.task(7, None, "x", exports.annotation(3), drafts=[4], predictions=[{"result": []}])
    rows, report = read([task])
    assert len(rows) == 1
    assert report.dropped == {"not an annotation": 3, "draft by id": 1}
    assert report.files[0].predictions == 1


def test_the_condition_comes_from_the_data_or_the_option_never_from_the_file_name(exports, read):
    content = [exports.task(exports.annotation(3), condition=None)]
    name = "project-5-at-2026-11-22-19-17-0.json"  # as the server names it: this "at" is a preposition
    with pytest.raises(AnnotationError, match="give it by --condition"):
        read(content, name=name)
    rows, _ = read(content, name=name, options=ImportOptions(condition="VT"))
    assert rows[0]["condition"] == "VT"
    with pytest.raises(AnnotationError, match="says condition AV, --condition says VT"):
        read([exports.task(exports.annotation(3), condition="VA")], options=ImportOptions(condition="VT"))


def test_an_unknown_condition_is_dropped(exports, read):
    rows, report = read(
        [exports.task(exports.annotation(3), condition="smell"), exports.task(exports.annotation(3), condition="tv")]
    )
    assert [row["condition"] for row in rows] == ["VT"]
    assert report.dropped == {"unknown condition": 1}


def test_the_scale_comes_from_the_data_or_the_options(exports, read):
    task = exports.task(exports.annotation(3, "-3"))
    task["data"]["scale"] = "-3..3"
    rows, _ = read([task])
    assert (rows[0]["value"], rows[0]["scale"]) == (-3, "-3..3")
    with pytest.raises(AnnotationError, match=r"was rated on -3..3, --scale says VT=-1..1"):
        read([task], options=ImportOptions(scales={"VT": Scale(-1, 1)}))
    rows, _ = read([exports.task(exports.annotation(3, "2"))], options=ImportOptions(scales={"VT": Scale(-3, 3)}))
    assert rows[0]["value"] == 2


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 1e20, "soon", True])
def test_a_time_that_cannot_be_is_unknown(exports, read, moment):
    annotations = [exports.annotation(3, label, created_at=moment, updated_at=moment) for label in ("1", "0")]
    rows, report = read([exports.task(*annotations)])
    assert [(row["value"], row["created_at"], row["updated_at"]) for row in rows] == [(0, None, None)]
    assert report.dropped == {"repeated": 1}


def test_one_condition_on_two_scales_is_refused(exports, read):
    seven = exports.task(exports.annotation(4, "3"))
    seven["data"]["scale"] = "-3..3"
    with pytest.raises(AnnotationError, match="VT was rated on two scales"):
        read([seven, exports.task(exports.annotation(3))])


@pytest.mark.parametrize(
    ("times", "flagged"),
    [
        ({"T": (1, 1), "A": (2, 2), "V": (3, 3)}, False),
        ({"T": (3, 3), "A": (2, 2), "V": (4, 4)}, True),
        ({"T": (1, 5), "A": (2, 2), "V": (6, 6)}, True),  # the text was rated again after the sound was heard
        ({"T": (1, 1), "V": (3, 3)}, False),
        ({"T": (4, 4), "V": (3, 3)}, True),
        ({"V": (3, 3)}, False),
    ],
)
def test_a_rater_whose_times_are_out_of_order_is_flagged(exports, read, times, flagged):
    stamp = "2026-11-22T19:17:{:02d}Z"
    tasks = [
        exports.task(
            exports.annotation(3, created_at=stamp.format(first), updated_at=stamp.format(last)), condition=condition
        )
        for condition, (first, last) in times.items()
    ]
    tasks.append(exports.task(exports.annotation(4), condition="T"))
    rows, report = read(tasks)
    assert {row["flags"] for row in rows if row["annotator"] == "3"} == {"out_of_order" if flagged else ""}
    assert report.flags.get("out_of_order", 0) == (len(times) if flagged else 0)
    assert [row["flags"] for row in rows if row["annotator"] == "4"] == [""]


@pytest.mark.parametrize(
    ("conditions", "flagged"),
    [
        (("AT", "VT"), True),
        (("AT", "VT", "AV"), True),
        (("AT", "T"), False),
        (("T", "A", "V"), False),
        (("AV",), False),
    ],
)
def test_one_person_in_two_bimodal_conditions_of_a_clip_is_flagged(exports, read, conditions, flagged):
    tasks = []
    for number, condition in enumerate(conditions):
        task = exports.task(exports.annotation(3, second=number), exports.annotation(40 + number, second=30 + number))
        task["data"]["condition"] = condition
        tasks.append(task)
    other = exports.task(exports.annotation(3, second=50), clip="0002")
    rows, report = read([*tasks, other])
    own = [row for row in rows if row["annotator"] == "3" and row["clip_id"] == "0001"]
    assert len(own) == len(conditions)
    assert {("two_bimodal" in row["flags"].split()) for row in own} == {flagged}
    assert not any("two_bimodal" in row["flags"] for row in rows if row not in own)
    assert report.flags.get("two_bimodal", 0) == (len(own) if flagged else 0)


def test_all_conditions_on_one_page_are_imported_control_by_control(exports, read):
    answer = exports.annotation(3)
    region = answer["result"][0]
    answer["result"] = [
        {**region, "from_name": f"rate_{name}", "value": {"choices": [value]}}
        for name, value in (("T", "1"), ("V", "-1"))
    ]
    task = exports.task(answer)
    del task["data"]["condition"]
    for name in ("T", "V", "T"):
        options = ImportOptions(control=f"rate_{name}", condition=name)
        rows, _ = read([task], options=options, overwrite=False)
    assert {(row["condition"], row["annotator"]): row["value"] for row in rows} == {("T", "3"): 1, ("V", "3"): -1}


def test_the_same_export_twice_gives_the_same_bytes(test_data, tmp_path):
    path, output = test_data / "labelstudio" / "VT_sync_JSON_all.json", tmp_path / "r.parquet"
    import_ratings([path], output)
    first = output.read_bytes(), dropped_path(output).read_bytes()
    report = import_ratings([path], output)
    assert (output.read_bytes(), dropped_path(output).read_bytes()) == first
    assert report.read_again == 22
    import_ratings([path, path], output, overwrite=True)
    assert output.read_bytes() == first[0]


def test_what_is_known_of_an_answer_outlives_an_export_that_says_less(exports, read, tmp_path):
    task = exports.task(
        exports.annotation(3, "0"),
        exports.annotation(3, "1", second=1),
        exports.annotation(3, "1", second=2, was_cancelled=True),
        exports.annotation(4, "-1", updated_by=5),
    )
    (tmp_path / "whole.json").write_text(json.dumps([task]))
    less = {**task, "annotations": [{**task["annotations"][k], "updated_by": None} for k in (1, 3)]}
    (tmp_path / "less.json").write_text(json.dumps([less]))
    found = []
    for names in (("whole.json",), ("whole.json", "less.json"), ("less.json", "whole.json")):
        import_ratings([tmp_path / name for name in names], tmp_path / "r.parquet", overwrite=True)
        found.append((tmp_path / "r.parquet").read_bytes())
    assert found[1:] == found[:1] * 2
    flags = {row["annotator"]: row["flags"] for row in read_ratings(tmp_path / "r.parquet").to_pylist()}
    assert flags == {"3": "repeated skipped_later", "4": "edited"}


def test_a_later_export_of_the_project_replaces_older_states(exports, read):
    annotation = exports.annotation(3, "1", second=1)
    read([exports.task(annotation)], name="old.json")
    annotation = {**annotation, "updated_at": "2026-11-22T20:00:00Z"}
    annotation["result"][0]["value"]["choices"] = ["-1"]
    rows, report = read([exports.task(annotation)], name="new.json", overwrite=False)
    assert [row["value"] for row in rows] == [-1]
    assert report.dropped == {"same annotation": 1}
    rows, _ = read([exports.task(exports.annotation(3, "0"), condition="AT")], overwrite=False)
    assert {row["condition"]: row["value"] for row in rows} == {"VT": -1, "AT": 0}


def test_ids_of_two_servers_collide_loudly_unless_each_has_its_name(exports, read):
    annotation = exports.annotation(3, "1")
    read([exports.task(annotation)])
    other = [exports.task({**annotation, "created_at": TIME.format(7)}, condition="AT")]
    with pytest.raises(AnnotationError, match=r"two different ones.*--source NAME"):
        read(other, name="b.json", overwrite=False)
    options = ImportOptions(names=RaterNames(source="lab2"))
    rows, _ = read(other, name="b.json", options=options, overwrite=False)
    assert {(row["condition"], row["annotator"], row["source"]) for row in rows} == {
        ("AT", "lab2:3", "lab2"),
        ("VT", "3", "label-studio"),
    }


def test_what_is_written_beside_the_ratings_accounts_for_every_annotation(test_data, tmp_path):
    output = tmp_path / "r.parquet"
    report = import_ratings([test_data / "labelstudio" / "VT_sync_JSON_all.json"], output)
    document = json.loads(report_path(output).read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.as_dict()))
    lines = list(dropped_lines(output))
    assert len(lines) == sum(document["dropped"].values())
    assert document["files"][0]["annotations"] == document["n_ratings"] + len(lines)


def test_ratings_that_cannot_be_written_leave_nothing_beside_them(exports, read, tmp_path):
    (tmp_path / "out" / "ratings.parquet").mkdir(parents=True)
    with pytest.raises(AnnotationError, match=r"writing .*ratings.parquet: a folder lies there"):
        read([exports.task(exports.annotation(3), exports.annotation(None))])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ratings.parquet"]


def test_annotations_that_nothing_tells_apart_have_a_line_each(exports, read, tmp_path):
    unnamed = {**exports.annotation(None), "id": None}
    task = exports.task(exports.annotation(3), unnamed, unnamed)
    for _ in range(2):
        _, report = read([task], overwrite=False)
        assert report.dropped == {"no rater": 2}
        assert len(list(dropped_lines(tmp_path / "out" / "ratings.parquet"))) == 2


def test_a_damaged_list_of_what_was_dropped_is_named(exports, read, tmp_path):
    read([exports.task(exports.annotation(3))])
    (tmp_path / "out" / "ratings.dropped.jsonl").write_text("{")
    with pytest.raises(AnnotationError, match=r"dropped.jsonl line 1 is not JSON.*--overwrite"):
        read([exports.task(exports.annotation(3))], overwrite=False)


@pytest.mark.parametrize(
    ("field", "clip"),
    [
        ("v.1", "v.1"),
        ("film.v2", "film.v2"),
        ("a/b/clip_1.mp4", "clip_1"),
        ("/data/local-files/?d=a/c.1.webm", "c.1"),
        ("x.3gp", "x"),
        ("a\\b\\talk.WAV", "talk"),
    ],
)
def test_a_field_that_names_the_clip_loses_its_folder_and_ending_alone(exports, read, field, clip):
    task = exports.task(exports.annotation(3))
    task["data"] = {"condition": "VT", "name": field}
    rows, _ = read([task], options=ImportOptions(id_field="name"))
    assert rows[0]["video_id"] == clip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Raw/video_0001/0001.mp4", "Raw/video_0002/0001.mp4"),
        ("/data/local-files/?d=a/0001.mp4", "/data/local-files/?d=b/0001.mp4"),
        ("a\\clip.avi", "b\\clip.avi"),
        ("talk.mp4", "talk.wav"),
    ],
)
def test_two_clips_never_become_one(exports, read, first, second):
    tasks = [exports.task(exports.annotation(3)), exports.task(exports.annotation(4))]
    for task, name in zip(tasks, (first, second), strict=True):
        task["data"] = {"condition": "VT", "name": name}
    with pytest.raises(AnnotationError, match=r"would both be the clip .* --id-parts 2, else name another field"):
        read(tasks, options=ImportOptions(id_field="name"))
    if "." in first and ("/" in first or "\\" in first):
        rows, _ = read(tasks, options=ImportOptions(id_field="name", id_parts=2))
        assert len({row["utterance_id"] for row in rows}) == 2
        assert all(row["video_id"] and row["clip_id"] in ("0001", "clip") for row in rows)


def test_one_clip_in_two_conditions_may_have_two_names(exports, read):
    tasks = [exports.task(exports.annotation(3)), exports.task(exports.annotation(4))]
    for task, condition, name in zip(tasks, ("VT", "AT"), ("video/clip_1.mp4", "audio/clip_1.wav"), strict=True):
        task["data"] = {"condition": condition, "name": name}
    rows, _ = read(tasks, options=ImportOptions(id_field="name"))
    assert {row["video_id"] for row in rows} == {"clip_1"}


def test_a_flat_taxonomy_is_a_choice_and_a_deep_one_is_named(exports, read):
    answer = exports.annotation(3)
    answer["result"][0] |= {"type": "taxonomy", "value": {"taxonomy": [["1"]]}}
    rows, _ = read([exports.task(answer)])
    assert values(rows) == {("0001", "3"): 1}
    answer["result"][0]["value"] = {"taxonomy": [["people", "happy"]]}
    with pytest.raises(AnnotationError, match=r"a kind that is not read .*; found sentiment \(taxonomy\)"):
        read([exports.task(answer)])


def test_json_lines_wrapped_tasks_and_files_of_a_target_storage_are_read(exports, read):
    tasks = [exports.task(exports.annotation(rater), clip=f"000{rater}") for rater in (3, 4)]
    expected, _ = read(tasks)
    lines, report = read("\n".join(json.dumps(task) for task in tasks) + "\n", name="tasks.jsonl")
    assert lines == expected
    assert report.files[0].format == "JSON"
    wrapped, _ = read({"project": {"id": 3}, "tasks": tasks})
    assert wrapped == expected
    stored = {**tasks[0]["annotations"][0], "task": {name: tasks[0][name] for name in ("id", "data")}}
    rows, _ = read(stored)
    assert rows == expected[:1]


def test_a_draft_by_its_number_has_its_clip_and_condition(exports, read, tmp_path):
    task = exports.task(exports.annotation(3))
    task["drafts"] = [7]
    _, report = read([task])
    assert report.dropped == {"draft by id": 1}
    (line,) = dropped_lines(tmp_path / "out" / "ratings.parquet")
    assert (line["condition"], line["label"]) == ("VT", "7")
    assert line["utterance_id"].endswith("0001")


def test_another_tools_lines_are_refused_with_the_way_to_convert(read):
    with pytest.raises(
        AnnotationError, match=r"it has the fields 'id', 'text', 'label', 'username'; .* make a long table"
    ):
        read('{"id": 1, "text": "good", "label": ["1"], "username": "ann"}\n', name="doccano.jsonl")


BAD_FILES = {
    "quote.csv": (
        b'utterance_id,text,annotator,value\nu,a,b,1\nu,"a,c,1\nu,a,d,1\n',
        "unexpected end of data; .*quote",
    ),
    "labels.csv": (b"video_id,clip_id,text,label,label_T,mode\n1,1,x,0,0,train\n", "--labels"),
    "twice.csv": (b"utterance_id,annotator,Rating,score\nu,a,1,0\n", "'Rating' and 'score' both may be value"),
    "clips.csv": (b"utterance_id,Sentence,Transcript,ann\nu,a,b,1\n", "'Sentence' and 'Transcript' both may be text"),
    "empty.json": (b"", "is empty"),
    "cut.json": (b'[{"id": 1, "annotations": [', "file ends inside"),
    "text.json": (b"[1, 2]", "element 0 is '1'"),
    "list.json": (b'[{"id": 1}]', "is not a task of an export"),
    "deep.json": (b"[" * 200_000, "nested too deeply"),
    "extra.json": (b"[] []", "after the end"),
    "bytes.json": (b'["\xff"]', "not UTF-8"),
    "zip.json": (b"PK\x03\x04", "zip archive"),
    "cp1252.csv": (
        "utterance_id,annotator,value\ncafé,a,1\n".encode("cp1252"),
        "is not clear: it could be .*--encoding",
    ),
    "zero.csv": (b"utterance_id,annotator,value\n" + b"u,a,1\n" * 2000 + b"u,\0,1\n", "line 2002 holds a zero byte"),
    "odd.csv": (b"a,b\n1,2\n", "neither an export nor a table of ratings"),
    "short.csv": (b"utterance_id,annotator,value\nu,1\n", "line 2 has 2 columns"),
    "control.csv": (b"annotator,annotation_id,quality\n", "no column 'sentiment'"),
    "damaged.parquet": (b"PAR1 and no more", "is damaged or not a Parquet file"),
    "number.json": (b"[{" + b'"annotations": ' + b"1" * 5000 + b"}]", "not a whole JSON export"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_clear_line(read, tmp_path, name):
    content, message = BAD_FILES[name]
    with pytest.raises(AnnotationError, match=message) as caught:
        read(content, name=name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_csv_in_another_encoding_reads_by_its_name(read):
    text = "utterance_id,condition,annotator,value\ncafé,AT,Zoë,1\n".encode("cp1252")
    rows, _ = read(text, name="western.csv", options=ImportOptions(encoding="cp1252"))
    assert (rows[0]["video_id"], rows[0]["annotator"]) == ("café", "Zoë")


def test_a_byte_order_mark_and_nan_are_read(exports, read):
    task = exports.task(exports.annotation(3))
    task["data"]["text"] = float("nan")
    rows, _ = read(b"\xef\xbb\xbf" + json.dumps([task]).encode())
    assert len(rows) == 1


RATINGS = st.dictionaries(
    st.tuples(
        st.sampled_from(["0001", "NA", "7", "视频"]), st.sampled_from(["AT", "V"]), st.sampled_from(["3", "4", "ann"])
    ),
    st.sampled_from([-1, 0, 1, None]),
    min_size=1,
)


@given(RATINGS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_what_is_exported_and_imported_is_the_same(tmp_path_factory, ratings, random):
    """The same ratings as a JSON export (None is a skip), a long and a wide table, in any order."""
    folder = tmp_path_factory.mktemp("r")
    entries = list(ratings.items())
    random.shuffle(entries)
    tasks = [
        {
            "id": number,
            "data": {"video_id": "v", "clip_id": clip, "condition": condition},
            "annotations": [
                {
                    "id": number,
                    "completed_by": rater,
                    "was_cancelled": value is None,
                    "result": [{"from_name": "sentiment", "type": "choices", "value": {"choices": [str(value)]}}],
                }
            ],
        }
        for number, ((clip, condition, rater), value) in enumerate(entries)
    ]
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    with (folder / "long.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "clip_id", "condition", "annotator", "value", "status"])
        for (clip, condition, rater), value in entries:
            writer.writerow(
                ["v", clip, condition, rater, "" if value is None else value, "skipped" if value is None else ""]
            )
    with (folder / "wide.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "clip_id", "condition", "3", "4", "ann"])
        for clip, condition in {key[:2] for key in ratings}:
            cells = (ratings.get((clip, condition, rater)) for rater in ("3", "4", "ann"))
            writer.writerow(["v", clip, condition, *("" if value is None else value for value in cells)])
    for name in ("export.json", "long.csv", "wide.csv"):
        import_ratings([folder / name], folder / f"{name}.parquet")
        rows = read_ratings(folder / f"{name}.parquet").to_pylist()
        found = {(row["clip_id"], row["condition"], row["annotator"]): row["value"] for row in rows}
        kept = ratings.items() if name != "wide.csv" else ((key, v) for key, v in ratings.items() if v is not None)
        assert found == dict(kept)
        assert all((row["status"] == "skipped") == (row["value"] is None) for row in rows)


JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["VT", "1", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
PLACES = (
    *(("task", name) for name in ("id", "data", "annotations", "drafts", "predictions")),
    *(("data", name) for name in ("utterance_id", "video_id", "clip_id", "condition", "scale")),
    *(("annotation", name) for name in ("id", "completed_by", "result", "was_cancelled", "created_at", "updated_at")),
    *(("annotation", name) for name in ("lead_time", "updated_by")),
    *(("result", name) for name in ("from_name", "value")),
    *(("draft", name) for name in ("id", "user", "created_username", "annotation", "created_at")),
)


@given(st.dictionaries(st.sampled_from(PLACES), JSON_VALUE, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_an_export_holds_it_is_read_dropped_or_refused_in_one_line(tmp_path_factory, changes):
    result = {"from_name": "sentiment", "type": "choices", "value": {"choices": ["1"]}}
    annotation = {"id": 1, "completed_by": 3, "result": [result], "created_at": "2026-01-01T00:00:00Z"}
    draft = {"id": 1, "user": "a@b.c", "created_username": "a@b.c, 4", "annotation": None}
    data = {"utterance_id": "v$_$1", "condition": "VT"}
    task = {"id": 1, "data": data, "annotations": [annotation], "drafts": [draft], "predictions": []}
    objects = {"task": task, "data": data, "annotation": annotation, "result": result, "draft": draft}
    for (name, key), value in changes.items():
        objects[name][key] = value
    good = {"id": 2, "data": {"utterance_id": "v$_$2", "condition": "VT"}, "annotations": [{**annotation, "id": 2}]}
    good["annotations"][0] |= {"completed_by": 5, "result": [{**result, "from_name": "sentiment"}], "updated_by": 5}
    good["annotations"][0]["result"][0]["value"] = {"choices": ["0"]}
    good["annotations"][0] |= {"was_cancelled": False, "lead_time": 1.0}
    folder = tmp_path_factory.mktemp("r")
    (folder / "export.json").write_text(json.dumps([task, good]), encoding="utf-8")
    options = ImportOptions(names=RaterNames(salt_path=folder / "elsewhere" / "salt"))
    try:
        import_ratings([folder / "export.json"], folder / "out" / "ratings.parquet", options)
    except (AnnotationError, ConfigError) as error:
        assert "\n" not in str(error)  # noqa: PT017 - most examples are not refused
        return
    rows = read_ratings(folder / "out" / "ratings.parquet").to_pylist()
    assert ("v$_$2", 0) in {(row["utterance_id"], row["value"]) for row in rows}
    assert all(json.loads(json.dumps(line)) for line in dropped_lines(folder / "out" / "ratings.parquet"))


# ---- plain tables as laboratories have them


LONG = [["Video ID", "Clip ID", "Modality", "Rater", "Score"], ["film", "0001", "AT", "ann", "-1,0"],
        [" film\u00a0", "0002", "AT", "ann", "n/a"], ["film", "0001", "AT", "bob", 1.0]]  # fmt: skip
WIDE = [["Filename", "Condition", "ann", "bob", None], ["clips/film.mp4", "AT", "-1,0", 1.0],
        ["other.MOV", "AT", "n/a", "#N/A"], ["third", "AT", "1,0", "-"]]  # fmt: skip


def write_ratings_table(path, rows):
    if path.suffix in (".xlsx", ".ods"):
        return (write_ods if path.suffix == ".ods" else write_xlsx)(path, rows)
    separator = "\t" if path.suffix == ".tsv" else ";"
    cells = [["" if cell is None else f"{cell}".replace("1.0", "1,0") for cell in row] for row in rows]
    width = max(map(len, cells))
    lines = [separator.join(row + [""] * (width - len(row))) for row in cells]
    path.write_text("\r\n".join(["sep=;", *lines] if separator == ";" else lines) + "\r\n", encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".xlsx", ".ods"])
def test_a_long_table_of_a_laboratory_is_read(tmp_path, kind):
    report = import_ratings([write_ratings_table(tmp_path / f"t{kind}", LONG)], tmp_path / "r")
    rows = {(row["utterance_id"], row["annotator"]): row for row in read_ratings(tmp_path / "r").to_pylist()}
    assert {key: (row["value"], row["status"]) for key, row in rows.items()} == {
        ("film$_$0001", "ann"): (-1, "rated"),
        ("film$_$0001", "bob"): (1, "rated"),
        ("film$_$0002", "ann"): (None, "empty"),
    }
    (file,) = report.files
    assert file.columns.startswith(f"t{kind}: read 'Video ID' as video_id") or "'Score' as value" in file.columns
    assert file.remarks == ["cells that say n/a, - or the like hold no rating (1)"]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".xlsx", ".ods"])
def test_a_wide_table_of_a_laboratory_is_read(tmp_path, kind):
    report = import_ratings([write_ratings_table(tmp_path / f"t{kind}", WIDE)], tmp_path / "r")
    rows = {(row["video_id"], row["annotator"]): row["value"] for row in read_ratings(tmp_path / "r").to_pylist()}
    assert rows == {("film", "ann"): -1, ("film", "bob"): 1, ("third", "ann"): 1}
    (file,) = report.files
    assert file.remarks == ["cells that say n/a, - or the like hold no rating (3)"]
    assert file.columns.endswith("the other columns are taken for annotators (2: ann, bob)")


@pytest.mark.parametrize("kind", [".csv", ".xlsx", ".ods"])
def test_a_list_of_raters_may_be_a_spreadsheet(tmp_path, kind):
    rows = [["E-mail", "Rater", "Note"], [" Ann@x.org ", "ann", "first"], [7, "bob", None]]
    assert read_rater_list(write_ratings_table(tmp_path / f"map{kind}", rows)) == {
        ("", "ann@x.org"): "ann", ("", "7"): "bob",
    }  # fmt: skip


@pytest.mark.parametrize("header", ["ann,,cat", "ann,bob,", ",ann,cat"])
def test_ratings_under_no_name_are_not_passed_over(tmp_path, header):
    path = tmp_path / "wide.csv"
    path.write_text(f"video_id,clip_id,condition,{header}\nv,1,M,1,0,1\nv,2,M,0,-1,1\n")
    with pytest.raises(AnnotationError, match=r"stands in a column without a name|has \d columns"):
        import_ratings([path], tmp_path / "r.parquet", ImportOptions())


def test_a_first_column_without_a_name_counts_the_rows(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(",video_id,clip_id,condition,ann,bob\n0,v,1,M,1,0\n1,v,2,M,0,-1\n")
    import_ratings([path], tmp_path / "r.parquet", ImportOptions())
    assert read_ratings(tmp_path / "r.parquet").num_rows == 4
