"""`fmltk annotation import`, `aggregate`, `agreement` and `summary`, as a user runs them."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmltk.annotation.raters import pseudonym, read_salt
from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.classes import BINS
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.features.label_file import read_labels

CH_SIMS = "chsims_v1_label_recovered_notext.csv"
# Paper, table 2; its rows T and V are exchanged there, and right here.
TABLE_2 = {
    "M": [754, 484, 345, 346, 352],
    "T": [611, 502, 520, 366, 282],
    "A": [698, 499, 367, 483, 234],
    "V": [761, 436, 338, 290, 456],
}


NONE = {"skipped": 0, "empty": 0, "draft": 0, "rejected": 0}


@pytest.fixture
def ratings(tmp_path, exports, run_json):
    """Four videos of three clips, each rated by five raters on AT, one clip by four of them."""
    tasks = []
    for video in range(4):
        for clip in range(3):
            chosen = [(video + clip + rater) % 3 - 1 for rater in range(5)]
            annotations = [exports.annotation(rater, str(value)) for rater, value in enumerate(chosen)]
            if (video, clip) == (3, 2):
                annotations.pop()
            task = exports.task(*annotations, condition="AT")
            ids = {"utterance_id": f"v{video}$_${clip}", "video_id": f"v{video}", "clip_id": str(clip)}
            task["data"].update(ids)
            tasks.append(task)
    (tmp_path / "AT.json").write_text(json.dumps(tasks))
    document = run_json("import", tmp_path / "AT.json", "-o", tmp_path / "ratings.parquet")
    assert document["n_ratings"] == 59
    return tmp_path / "ratings.parquet"


def test_the_summary_of_ch_sims_is_the_papers(test_data, run_json):
    document = run_json("summary", test_data / "ch-sims" / CH_SIMS)
    assert document["sizes"] == {"train": 1368, "valid": 456, "test": 457, "total": 2281}  # table 1
    assert {name: [counts[word] for word in BINS] for name, counts in document["classes"].items()} == TABLE_2
    for condition, counts in document["classes"].items():  # figure 2 adds up to table 2
        for word in BINS:
            assert sum(document["by_split"][part][condition][word] for part in SPLITS) == counts[word]
    assert document["three_signs"] == 113  # paper, section 3
    assert document["signs"]["T-V"] == {"clips": 2281, "differ": 945}


def test_the_summary_as_tables(test_data, run):
    code, out, _ = run("annotation", "summary", test_data / "ch-sims" / CH_SIMS)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["M", *map(str, TABLE_2["M"]), "0"] in lines
    assert any(line[-1:] == ["113"] for line in lines)


def test_the_sizes_of_mosi_and_its_seven_classes(test_data, run_json):
    document = run_json("summary", test_data / "mosi" / "label.csv", "--preset", "mosi")
    assert document["sizes"] == {"train": 1284, "valid": 229, "test": 686, "total": 2199}  # table 1
    assert sum(document["classes"]["M"].values()) == 2199
    assert list(document["classes"]["M"]) == ["SN", "NG", "WN", "NU", "WP", "PS", "SP"]
    assert document["three_signs"] is None


def test_a_wrong_scale_is_one_line(test_data, run):
    code, out, err = run("annotation", "summary", test_data / "mosi" / "label.csv")
    assert (code, out) == (1, "")
    assert "which is not on the scale -1..1" in err
    assert "give their scale by --scale LOW..HIGH or --preset mosi" in err
    assert err.count("\n") == 1


def test_aggregate_gives_labels_reasons_and_a_grouped_split(ratings, run_json, tmp_path):
    document = run_json("aggregate", ratings, "-o", tmp_path / "labels.parquet", "--seed", 3)
    condition = document["conditions"]["AT"]
    assert (condition["labelled"], condition["null"]) == (11, 1)
    assert condition["reasons"] == {"too few ratings": 1}
    labels = read_labels(tmp_path / "labels.parquet")
    rows = {row["utterance_id"]: row for row in labels.table.to_pylist()}
    assert rows["v0$_$0"]["label_AT"] == (-1 + 0 + 1 - 1 + 0) / 5
    assert rows["v3$_$2"]["reason_AT"] == "4 of 5 ratings: 1 missing"
    assert all(len({row["split"] for row in rows.values() if row["video_id"] == video}) == 1 for video in ("v0", "v1"))
    assert labels.metadata["split"] == {"how": "video", "seed": 3}
    policy = {"panel": 5, "at_least": None, "more": "null", "nearest": True, "protocol_strict": False}
    policy |= {"adjudicators": [], "ground_truth": False, "replacements": []}
    assert labels.metadata["policy"] == policy
    first = (tmp_path / "labels.parquet").read_bytes()
    run_json("aggregate", ratings, "-o", tmp_path / "labels.parquet", "--seed", 3)
    assert (tmp_path / "labels.parquet").read_bytes() == first


def test_aggregate_joins_shipped_labels_and_their_split(ratings, run_json, run, tmp_path):
    (tmp_path / "label.csv").write_text("video_id,clip_id,label,mode\nv0,0,0.6,train\nv0,1,-1,dev\n")
    output = tmp_path / "labels.parquet"
    arguments = ("aggregate", ratings, "--labels", tmp_path / "label.csv", "-o", output, "--panel", "at-least-4")
    document = run_json(*arguments)
    assert document["conditions"]["M"]["labelled"] == 2
    assert document["conditions"]["AT"]["labelled"] == 12
    assert document["conditions"]["AT"]["between"] == 1
    rows = {row["utterance_id"]: row for row in read_labels(output).table.to_pylist()}
    assert [rows[f"v0$_${clip}"]["split"] for clip in range(3)] == ["train", "valid", None]
    code, _, err = run("annotation", *arguments)
    assert code == 0
    assert "Warning: 10 clips have no split" in err
    run_json(*arguments, "--split", "stratified")
    assert read_labels(output).metadata["split"]["how"] == "stratified by M"
    run_json(*arguments, "--split", "none")
    assert set(read_labels(output).splits) == {None}


def test_weighed_labels_stand_in_their_own_columns(ratings, run_json, tmp_path):
    also = ("--also", "dawid_skene", "--also", "evaluator_weighted")
    document = run_json("aggregate", ratings, "-o", tmp_path / "labels.parquet", *also)
    methods = {"median", "majority", "dawid_skene", "evaluator_weighted"}
    assert set(document["conditions"]["AT"]["beside_the_mean"]) == methods
    import pyarrow.parquet as pq

    assert {"dawid_skene_AT", "evaluator_weighted_AT"} <= set(pq.read_schema(tmp_path / "labels.parquet").names)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("aggregate", ("-o", "labels.parquet", "--split", "stratified", "--seed", "-1")),
        ("agreement", ("--seed", "-1")),
        ("agreement", ("--items", "-1")),
        ("status", ("--url", "http://127.0.0.1:9", "--timeout", "0")),
    ],
)
def test_a_number_that_cannot_be_is_wrong_usage(ratings, run, command, arguments):
    code, _, err = run("annotation", command, *(() if command == "status" else (ratings,)), *arguments)
    assert code == 2
    assert f"Invalid value for '{arguments[-2]}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give RATINGS, --labels label.csv, or both"),
        (("--panel", "some"), "neither strict nor at-least-N"),
        (("--split", "given"), "--split given needs --labels"),
        (("--scale", "XY=-1..1"), "names no condition"),
        (("--scale", "AT=3..1"), "is not LOW..HIGH"),
    ],
)
def test_what_cannot_be_aggregated_is_one_line(ratings, run, tmp_path, arguments, message):
    files = () if not arguments else (ratings,)
    code, _, err = run("annotation", "aggregate", *files, "-o", tmp_path / "labels.parquet", *arguments)
    assert code == 1
    assert message in err
    assert not (tmp_path / "labels.parquet").exists()


@pytest.mark.parametrize("split", [(), ("--split", "video"), ("--split", "stratified")])
@pytest.mark.parametrize(("panel", "said"), [("6", True), ("5", False)])
def test_a_condition_without_any_label_is_named(ratings, run, tmp_path, panel, said, split):
    labels = tmp_path / "labels.parquet"
    code, _, err = run("annotation", "aggregate", ratings, "-o", labels, "--panel-size", panel, *split)
    assert code == 0
    assert ("no clip has a label: no split was drawn" in err) == said
    assert ("no clip has a label for AT: too few ratings" in err) == said


def test_agreement_as_tables_and_json(ratings, run, run_json):
    document = run_json("agreement", ratings, "--bootstrap", 20)
    assert document["agreement"]["AT"]["fleiss_kappa"]["clips"] == 11
    assert len(document["raters"]["AT"]) == 5
    assert len(document["disputed"]["AT"]) == 12
    code, out, _ = run("annotation", "agreement", ratings, "--items", 2)
    assert code == 0
    assert out.count("v0$_$") + out.count("v1$_$") + out.count("v2$_$") + out.count("v3$_$") == 2


def test_import_shows_what_was_read_and_dropped(test_data, run, tmp_path):
    folder = test_data / "labelstudio"
    files = (folder / "VT_sync_JSON_all.json", folder / "VT_sync_CSV_all.csv")
    code, out, err = run("annotation", "import", *files, "-o", tmp_path / "ratings.parquet")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["read", "again", "21", "the", "same"] in [line[:5] for line in lines]
    assert ["repeated", "1", "an", "earlier"] in [line[:4] for line in lines]
    assert (
        "VT_sync_CSV_all.csv: CSV does not contain skipped annotations, drafts, changes by another than the rater"
        in err
    )


def test_import_takes_words_lists_and_conditions(run_json, run, tmp_path):
    (tmp_path / "a.csv").write_text("utterance_id,annotator,value\nv$_$1,3,Good\nv$_$1,4,Bad\n")
    (tmp_path / "map.csv").write_text("id,rater\n3,ann\n4,bob\n")
    arguments = ("import", tmp_path / "a.csv", "-o", tmp_path / "r.parquet", "--condition", "TA")
    document = run_json(
        *arguments, "--label", "Good=1", "--label", "Bad=-1", "--raters", tmp_path / "map.csv", "--scale", "AT=-2..2"
    )
    assert document["conditions"]["AT"] == {"clips": 1, "raters": 2, "rated": 2, **NONE}
    assert document["scales"] == {"AT": "-2..2"}
    code, _, err = run("annotation", *arguments, "--label", "Good")
    assert (code, "is not WORD=VALUE" in err) == (1, True)
    code, _, err = run("annotation", *arguments[:-1], "nose")
    assert (code, "'nose' is not a condition" in err) == (1, True)


def test_addresses_clip_names_and_a_new_start_by_options(run_json, tmp_path):
    (tmp_path / "a.csv").write_text("name,video_id,annotator,value\na/b.mp4,v,ann@example.com,1\n")
    arguments = ("import", tmp_path / "a.csv", "-o", tmp_path / "out" / "r.parquet", "--condition", "A")
    salt = tmp_path / "salt"
    run_json(*arguments, "--salt-file", salt)
    (first,) = read_ratings(tmp_path / "out" / "r.parquet").to_pylist()
    assert (first["video_id"], first["annotator"]) == ("v", pseudonym("ann@example.com", read_salt(salt)))
    run_json(*arguments, "--id-field", "name", "--keep-identities", "--overwrite")
    (second,) = read_ratings(tmp_path / "out" / "r.parquet").to_pylist()
    assert (second["video_id"], second["annotator"]) == ("b", "ann@example.com")


def test_one_condition_is_given_to_tasks_that_do_not_say_theirs(run, tmp_path):
    (tmp_path / "a.csv").write_text("utterance_id,annotator,value\nv$_$1,3,1\n")
    arguments = ("annotation", "import", tmp_path / "a.csv", "-o", tmp_path / "r.parquet", "--condition", "AT,VT")
    code, _, err = run(*arguments)
    assert (code, "--condition 'AT,VT' names several" in err) == (1, True)


def test_no_result_is_written_over_what_it_is_made_from(ratings, run, tmp_path):
    before = ratings.read_bytes()
    code, _, err = run("annotation", "aggregate", ratings, "-o", tmp_path / "." / "ratings.parquet")
    assert (code, "give another --out" in err, ratings.read_bytes()) == (1, True, before)
    export = tmp_path / "AT.json"
    before = export.read_bytes()
    code, _, err = run("annotation", "import", export, "-o", export, "--overwrite")
    assert (code, "let its name end in .parquet" in err, export.read_bytes()) == (2, True, before)
    named = tmp_path / "export.parquet"
    named.write_bytes(before)
    code, _, err = run("annotation", "import", named, "-o", named, "--overwrite")
    assert (code, "give another --out" in err, named.read_bytes()) == (1, True, before)


@pytest.mark.parametrize("command", ["import", "aggregate"])
def test_a_table_is_not_written_under_the_name_of_another_format(ratings, run, tmp_path, command):
    given = {"import": tmp_path / "AT.json", "aggregate": ratings}[command]
    code, _, err = run("annotation", command, given, "-o", tmp_path / "out.csv")
    assert (code, "out.csv is written as Parquet" in err, (tmp_path / "out.csv").exists()) == (2, True, False)


def test_a_scale_without_classes_shows_how_its_labels_are_spread(run, tmp_path):
    (tmp_path / "a.csv").write_text("utterance_id,condition,annotator,value\nv$_$1,AT,3,4\n")
    run("annotation", "import", tmp_path / "a.csv", "-o", tmp_path / "r.parquet", "--scale", "1..5")
    arguments = ("--panel-size", 1, "--split", "none")
    assert run("annotation", "aggregate", tmp_path / "r.parquet", "-o", tmp_path / "l.parquet", *arguments)[0] == 0
    code, out, _ = run("annotation", "summary", tmp_path / "l.parquet")
    assert (code, "table 2" in out, "figure 2" in out) == (0, False, False)
    assert re.search(r"labels +mean +spread +least .* no label\nAT +4 ", out)
    assert "differ in sign" not in out  # one condition has nothing to differ from


def test_a_table_without_ratings_is_said(run, tmp_path):
    (tmp_path / "a.csv").write_text("utterance_id,condition,annotator,value\n")
    code, _, err = run("annotation", "import", tmp_path / "a.csv", "-o", tmp_path / "r.parquet")
    assert (code, "r.parquet contains no rating" in err) == (0, True)


def test_labels_that_a_data_set_ships_are_summarised_as_they_were_imported(run, run_json, tmp_path):
    utterances = {"video_id": ["v"] * 3, "clip_id": ["1", "2", "3"], "label": [2.6, -0.2, None]}
    utterances |= {modality: [[0.5, 1.0]] * 3 for modality in ("text", "audio", "vision")}
    pq.write_table(pa.table(utterances), tmp_path / "u.parquet")
    assert run("dataset", "import", tmp_path / "u.parquet", "-o", tmp_path / "f", "--scale", "-3..3")[0] == 0
    document = run_json("summary", tmp_path / "f" / "labels.parquet")
    counted = {name: n for name, n in document["classes"]["M"].items() if n}
    assert (counted, document["null"], document["signs"]) == ({"NU": 1, "SP": 1}, {"M": 1}, {})
    labels = read_labels(tmp_path / "f" / "labels.parquet")
    assert labels.reasons("M") == [None, None, "no label in the data set"]
    assert "n_M" not in labels.table.column_names


def test_a_missing_file_is_wrong_usage(run, tmp_path):
    code, _, err = run("annotation", "import", tmp_path / "absent.json", "-o", tmp_path / "r.parquet")
    assert code == 2
    assert "does not exist" in err


def test_clips_that_nobody_rated_are_rows_of_the_labels(ratings, run, run_json, tmp_path):
    (tmp_path / "ids.csv").write_text("video_id,clip_id\n" + "".join(f"v{video},0\n" for video in range(9)))
    document = run_json("aggregate", ratings, "-o", tmp_path / "labels.parquet", "--clips", tmp_path / "ids.csv")
    assert (document["clips"], document["conditions"]["AT"]["null"]) == (17, 6)
    code, _, err = run(
        "annotation", "aggregate", ratings, "-o", tmp_path / "l.parquet", "--clips", tmp_path / "ids.csv"
    )
    assert (code, "not on the list of clips (8): v0$_$1" in err) == (0, True)
    code, _, err = run(
        "annotation", "aggregate", "--labels", tmp_path / "ids.csv", "-o", tmp_path / "l.parquet", "--clips", tmp_path
    )
    assert (code, "give RATINGS too" in err) == (1, True)


def test_what_was_adjudicated_and_completed_is_shown_and_in_the_rows(ratings, run, run_json, tmp_path):
    options = ["-o", tmp_path / "labels.parquet", "--adjudicator", "0", "--replacement", "3=4"]
    document = run_json("aggregate", ratings, *options, "--panel", "at-least-2")
    assert document["conditions"]["AT"]["noted"] == {"adjudicated": 12}
    labels = read_labels(tmp_path / "labels.parquet")
    assert labels.table["note_AT"].to_pylist()[0] == "adjudicated by 0: -1; the panel: 0 of 3 ratings"
    code, _, err = run("annotation", "aggregate", ratings, *options)
    assert (code, "AT, adjudicated: 12 labels (note_AT says by whom)" in err) == (0, True)
    code, _, err = run("annotation", "aggregate", ratings, "-o", tmp_path / "l.parquet", "--replacement", "3")
    assert (code, "is not OLD=NEW" in err) == (1, True)
