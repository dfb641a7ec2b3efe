"""Which clip a task is about: by the task's own number, and by the names of uploads."""

from __future__ import annotations

import pytest

from fmltk.annotation.importing.clip_ids import without_upload_prefixes
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.raters import RaterNames
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.documents import write_json

UPLOADS = ("/data/upload/3/1a2b3c4d-a.mp4", "/data/upload/3/00ff00ff-b.mp4")
AGAIN = ("/data/upload/4/9f8e7d6c-a.mp4", "/data/upload/4/12345678-b.mp4")


def clips(rows):
    return sorted({row["utterance_id"] for row in rows})


def uploaded(exports, names, *, condition="AT", rater=3):
    return [
        exports.task(exports.annotation(rater), data={"video": name, "condition": condition}, id=number)
        for number, name in enumerate(names)
    ]


def test_a_tasks_own_number_names_its_clip(exports, read):
    tasks = [exports.task(exports.annotation(), data={"condition": "AT"}, id=number) for number in (7, 12)]
    rows, report = read(tasks, options=ImportOptions(id_field="id"))
    assert clips(rows) == ["12$_$0", "7$_$0"]
    assert any("own numbers name the clips" in text for text in report.files[0].remarks)
    rows, _ = read(tasks, options=ImportOptions(id_field="id", names=RaterNames(source="lab1")))
    assert clips(rows) == ["lab1:12$_$0", "lab1:7$_$0"]  # task 7 of another server is another clip


def test_a_data_field_called_id_goes_before_the_tasks_own_number(exports, read):
    tasks = [exports.task(exports.annotation(), data={"id": name, "condition": "AT"}) for name in ("a.mp4", "b.mp4")]
    rows, report = read(tasks, options=ImportOptions(id_field="id"))
    assert clips(rows) == ["a$_$0", "b$_$0"]
    assert not any("own numbers" in text for text in report.files[0].remarks)


@pytest.mark.parametrize("name", ["flat.json", "flat.csv"])
def test_a_flat_exports_id_is_the_tasks_own(read, name):
    row = {"id": 7, "condition": "AT", "annotator": 3, "annotation_id": 1, "sentiment": "1"}
    text = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
    rows, _ = read(text if name.endswith("csv") else [row], name=name, options=ImportOptions(id_field="id"))
    assert clips(rows) == ["7$_$0"]


def test_tasks_without_a_number_are_dropped_with_their_reason(exports, read):
    tasks = [exports.task(exports.annotation(), data={"condition": "AT"}, id=number) for number in (7, None)]
    rows, report = read(tasks, options=ImportOptions(id_field="id"))
    assert (clips(rows), report.dropped) == (["7$_$0"], {"no clip": 1})


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("1a2b3c4d-film_01", "film_01"),
        ("12345678-a", "a"),
        ("1a2b3c4d-9f8e7d6c-a", "9f8e7d6c-a"),
        ("20261122-a", "20261122-a"),  # a date
        ("1a2b3c4d-", "1a2b3c4d-"),
        ("1A2B3C4D-a", "1A2B3C4D-a"),
        ("1a2b3c4-a", "1a2b3c4-a"),
        ("film-1a2b3c4d-a", "film-1a2b3c4d-a"),
    ],
)
def test_only_what_label_studio_puts_before_a_name_is_cut(name, cut):
    assert without_upload_prefixes((f"{name}$_$0", name, "0")) == (f"{cut}$_$0", cut, "0")
    assert without_upload_prefixes((f"v$_${name}", "v", name)) == (f"v$_${cut}", "v", cut)


def import_two(tmp_path, first, second, **options):
    write_json(tmp_path / "one.json", first)
    write_json(tmp_path / "two.json", second)
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    report = import_ratings(files, tmp_path / "r.parquet", ImportOptions(id_field="video", **options), overwrite=True)
    return read_ratings(tmp_path / "r.parquet").to_pylist(), report


def test_uploads_of_one_name_stay_two_clips_and_the_option_is_offered(exports, tmp_path):
    tasks = uploaded(exports, UPLOADS), uploaded(exports, AGAIN, condition="VT", rater=4)
    rows, report = import_two(tmp_path, *tasks)
    assert len(clips(rows)) == 4
    (said,) = report.as_dict()["remarks"]
    assert said.startswith("4 clips have names as Label Studio gives them to uploads, such as 00ff00ff-b$_$0")
    assert "2 of 2 names occur with several prefixes" in said
    assert "--cut-uploads" in said


def test_cut_uploads_join_the_conditions_of_a_clip(exports, tmp_path):
    tasks = uploaded(exports, UPLOADS), uploaded(exports, AGAIN, condition="VT", rater=4)
    rows, report = import_two(tmp_path, *tasks, cut_uploads=True)
    assert [(row["utterance_id"], row["condition"]) for row in rows] == [
        (f"{name}$_$0", condition) for name in "ab" for condition in ("AT", "VT")
    ]
    assert report.remarks == ["the prefixes of 4 uploads were cut: 2 clips"]


def test_two_uploads_of_one_name_for_one_condition_stop_in_a_file_and_are_said_in_two(exports, tmp_path, read):
    with pytest.raises(AnnotationError, match=r"1a2b3c4d-a.* would both be the clip a.*without --cut-uploads"):
        read(
            uploaded(exports, (AGAIN[0], UPLOADS[0])),
            options=ImportOptions(id_field="video", cut_uploads=True),
        )
    tasks = uploaded(exports, UPLOADS), uploaded(exports, AGAIN, rater=4)
    rows, report = import_two(tmp_path, *tasks, cut_uploads=True)
    assert clips(rows) == ["a$_$0", "b$_$0"]
    assert any("uploaded more than once for one condition count as one (2)" in text for text in report.remarks)


@pytest.mark.parametrize("names", [("a.mp4", "b.mp4"), ("20261122-a.mp4", "20261123-a.mp4"), ("v-1a2b3c4d-a.mp4",)])
def test_other_names_are_no_uploads(exports, read, names):
    rows, report = read(uploaded(exports, names), options=ImportOptions(id_field="video", cut_uploads=True))
    assert (len(clips(rows)), report.remarks) == (len(names), [])


def test_ids_of_a_table_are_cut_too(read):
    text = "file,condition,annotator,value\n1a2b3c4d-a.mp4,AT,ann,1\n9f8e7d6c-a.mp4,VT,bob,0\n"
    rows, report = read(text, name="long.csv", options=ImportOptions(cut_uploads=True))
    assert clips(rows) == ["a$_$0"]
    assert report.remarks == ["the prefixes of 2 uploads were cut: 1 clip"]
