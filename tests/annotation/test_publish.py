"""`fmltk annotation publish`: what a release holds, who can open it, and that it names nobody."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmltk.annotation.publishing.anonymous import number_clips, number_raters, personal, spoken_names
from fmltk.annotation.ratings import read_ratings, write_ratings
from fmltk.toolkit.features.label_file import read_labels, write_labels

NAMES = ("ann", "bob", "cho", "dee", "eve")
ADDRESS = re.compile(rb"[\w.]+@[\w.]+\.\w+")


@pytest.fixture
def made(tmp_path, exports, run):
    """Return a function that imports five raters' answers and aggregates them: the labels and the ratings."""

    def make(raters=NAMES, *, clips=("0001", "0002", "0003"), video="v", importing=(), aggregating=()):
        tasks = []
        for number, clip in enumerate(clips):
            answers = [exports.annotation(rater, str((number + k) % 3 - 1)) for k, rater in enumerate(raters)]
            task = exports.task(*answers, condition="AT")
            task["data"] |= {"utterance_id": f"{video}$_${clip}", "video_id": video, "clip_id": clip}
            tasks.append(task)
        (tmp_path / "AT.json").write_text(json.dumps(tasks))
        ratings, labels = tmp_path / "ratings.parquet", tmp_path / "labels.parquet"
        code, _, err = run("annotation", "import", tmp_path / "AT.json", "-o", ratings, "--overwrite", *importing)
        assert code == 0, err
        code, _, err = run("annotation", "aggregate", ratings, "-o", labels, *aggregating)
        assert code == 0, err
        return labels, ratings

    return make


@pytest.fixture
def publish(tmp_path, run):
    """Publish into release/; return the exit code, what was said, and the folder."""

    def publish_into(labels, ratings, *options):
        code, out, err = run("annotation", "publish", labels, ratings, "-o", tmp_path / "release", *options)
        return code, out + err, tmp_path / "release"

    return publish_into


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_release_opens_with_datasets_and_with_fmltk(made, publish, tmp_path):
    import datasets

    code, said, release = publish(*made())
    assert code == 0, said
    for name, n_rows in (("labels", 3), ("ratings", 15)):
        table = datasets.load_dataset(str(release), name, cache_dir=str(tmp_path / "cache"))["train"]
        assert table.num_rows == n_rows == len(rows(release / f"{name}.csv"))
    labels, ratings = read_labels(release / "labels.parquet"), read_ratings(release / "ratings.parquet")
    assert labels.scales.keys() == {"AT"}
    by_clip = {row["utterance_id"]: float(row["label_AT"]) for row in rows(release / "labels.csv")}
    assert by_clip == dict(zip(labels.utterance_ids, labels.values("AT").tolist(), strict=True))
    assert set(ratings.column("annotator").to_pylist()) == {f"rater-{number}" for number in range(1, 6)}


def test_the_answers_are_those_of_the_ratings(made, publish):
    labels, ratings = made()
    _, _, release = publish(labels, ratings)

    def answers(table):
        return sorted((row["utterance_id"], row["value"], row["lead_time_s"]) for row in table.to_pylist())

    assert answers(read_ratings(release / "ratings.parquet")) == answers(read_ratings(ratings))


def test_croissant_is_valid_and_knows_its_files(made, publish):
    mlcroissant = pytest.importorskip("mlcroissant")
    options = ("--title", 'Tones "2"', "--licence", "CC-BY-4.0", "--creator", "A group", "--date", "2026-11-27")
    _, _, release = publish(*made(), *options, "--address", "https://example.org/tones", "--citation", "A group, 2026")
    document = json.loads((release / "croissant.json").read_text())
    for entry in document["distribution"]:
        assert entry["sha256"] == hashlib.sha256((release / entry["contentUrl"]).read_bytes()).hexdigest()
    dataset = mlcroissant.Dataset(jsonld=str(release / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    records = list(dataset.records("labels"))
    assert len(records) == 3
    assert {record["labels/clip_id"] for record in records} == {b"0001", b"0002", b"0003"}


def test_table_2_and_figure_2_are_the_papers(test_data, made, publish):
    shipped = test_data / "ch-sims" / "chsims_v1_label_recovered_notext.csv"
    _, ratings = made(video="video_0001")
    code, said, release = publish(shipped, ratings)
    assert code == 0, said
    table = {row["Condition"]: row for row in rows(release / "table2.csv")}
    assert [int(table["M"][name]) for name in ("NG", "WN", "NU", "WP", "PS")] == [754, 484, 345, 346, 352]
    figure = rows(release / "figure2.csv")
    assert sum(int(row["NG"]) for row in figure if row["Condition"] == "M") == 754
    assert {row["Split"] for row in figure} == {"train", "valid", "test"}
    assert "M & 754 & 484" in (release / "table2.tex").read_text()
    for name in ("table2.svg", "figure2.svg"):
        drawing = (release / name).read_text()
        assert "var(" not in drawing
        assert "#c4561a" in drawing  # negative, in the colours of the light page
    assert re.search(r"labels without a rating in RATINGS: M \d+, T \d+, A \d+, V \d+", said)


def test_the_datasheet_says_what_a_reader_needs(made, publish):
    _, _, release = publish(*made(), "--licence", "CC-BY-4.0", "--description", "To learn.")
    text = (release / "README.md").read_text()
    assert text.startswith('---\npretty_name: "Multimodal sentiment labels"\nlicense: "cc-by-4.0"\n')
    for part in (
        "3 clips of 1 videos",
        "AT: audio and text, on the scale -1..1",
        "5 annotators gave 15 answers",
        "To learn.",
    ):
        assert part in text
    interval = re.search(r"\| AT \| 3 \| 5 \| 15 \| -?\d\.\d{3} \(-?\d\.\d{3} to -?\d\.\d{3}\)", text)
    assert interval, text
    assert "Made by: *not stated*" in text


def test_what_is_not_stated_is_said(made, publish):
    _, said, _ = publish(*made(), "--creator", "A group")
    assert "not stated: give --licence, --description" in said


@pytest.mark.parametrize("keep", [(), ("--keep-identities",)])
@pytest.mark.parametrize("name", ["VT_snapshot_completedby_full.json", "v1_completedby_dict_handmade.json"])
def test_no_address_of_an_export_is_published(name, keep, test_data, tmp_path, run, publish):
    source = test_data / "labelstudio" / name
    known = set(ADDRESS.findall(source.read_bytes()))
    assert known, "the export names people"
    ratings, labels = tmp_path / "ratings.parquet", tmp_path / "labels.parquet"
    options = ("--condition", "VT", "--id-field", "video") if name.startswith("v1") else ()
    assert run("annotation", "import", source, "-o", ratings, *keep, *options)[0] == 0
    assert run("annotation", "aggregate", ratings, "-o", labels, "--panel", "at-least-1")[0] == 0
    code, said, release = publish(labels, ratings)
    assert code == 0, said
    content = b"".join(path.read_bytes() for path in release.iterdir())
    content += b"".join(repr(pq.read_table(path).to_pylist()).encode() for path in release.glob("*.parquet"))
    content += b"".join(repr(pq.read_schema(path).metadata).encode() for path in release.glob("*.parquet"))
    for address in known:
        assert address not in content
        if len(address.partition(b"@")[0]) > 1:
            assert address.partition(b"@")[0] not in content
    assert not ADDRESS.search(content)
    for rater in read_ratings(ratings).column("annotator").unique().to_pylist():
        if any(letter.isalpha() for letter in rater):
            assert rater.encode() not in content
    for row in read_ratings(release / "ratings.parquet").to_pylist():
        assert [row[key] for key in ("created_at", "updated_at", "annotation_id", "edited_by")] == [None] * 4


def test_the_order_of_raters_says_nothing():
    raters = [f"user{number:02d}" for number in range(20)]
    orders = [[number_raters(raters, salt)[name] for name in raters] for salt in (b"one", b"two", b"three")]
    assert all(order != sorted(order) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert number_raters(raters[::-1], b"one") == number_raters(raters, b"one")  # nor does the order of the table


def test_notes_and_policy_name_raters_as_the_release_does(made, publish, run):
    options = ("--adjudicator", "eve", "--replacement", "zoe=bob", "--panel", "at-least-1")
    labels, ratings = made(raters=(*NAMES, "zoe"), aggregating=options)
    table = read_ratings(ratings)  # of zoe's ratings only the first is left, so that bob's count
    is_left = [not (row["annotator"] == "zoe" and row["clip_id"] != "0001") for row in table.to_pylist()]
    write_ratings(table.filter(is_left), ratings)
    assert run("annotation", "aggregate", ratings, "-o", labels, *options)[0] == 0
    _, said, release = publish(labels, ratings)
    notes = [row["note_AT"] for row in rows(release / "labels.csv")]
    adjudicated = r"adjudicated by (rater-\d): -?\d; the panel: .* of 4 ratings"
    assert re.fullmatch(adjudicated, notes[0]), said
    assert re.fullmatch(r"(rater-\d) rated instead of (rater-\d); " + adjudicated, notes[1]), notes
    policy = read_labels(release / "labels.parquet").metadata["policy"]
    assert policy["adjudicators"] == [re.fullmatch(adjudicated, notes[0])[1]]
    assert policy["replacements"] == [re.findall(r"rater-\d", notes[1])[1::-1]]
    content = b"".join(path.read_bytes() for path in release.iterdir())
    assert not any(re.search(rb"\b" + name.encode() + rb"\b", content) for name in (*NAMES, "zoe"))


@pytest.mark.parametrize(
    ("video", "found"),
    [
        ("/home/li/videos/talk", "a path"),
        ("C:\\Users\\li\\talk", "a path"),
        ("data/upload/5/3fa85f64-talk", "a path"),
        ("http://labels.lab.edu:8080/talk", "an address of a server"),
        ("li@lab.edu-talk", "an e-mail address"),
        ("talk-of-ANN", "the name of an annotator"),
        ("0123456789abcdef0123456789abcdef01234567", "a token"),
    ],
)
def test_an_id_that_may_name_somebody_is_refused_and_can_be_numbered(video, found, made, publish, tmp_path):
    labels, ratings = made(video=video)
    code, said, release = publish(labels, ratings)
    assert code == 1
    assert found in said
    assert "--new-ids" in said
    assert not list(release.glob("*.*"))
    code, said, release = publish(labels, ratings, "--new-ids", tmp_path / "kept.csv")
    assert code == 0, said
    content = b"".join(path.read_bytes() for path in release.iterdir())
    assert video.encode() not in content
    kept = {row["utterance_id"]: row["old_utterance_id"] for row in rows(tmp_path / "kept.csv")}
    before = dict(zip(read_labels(labels).utterance_ids, read_labels(labels).values("AT"), strict=True))
    for row in rows(release / "labels.csv"):
        assert before[kept[row["utterance_id"]]] == float(row["label_AT"])


@pytest.mark.parametrize("answer", ["ask li@lab.edu", "see http://lab.edu/x", "as Bob said"])
def test_a_free_text_that_may_name_somebody_is_refused(answer, tmp_path, run, publish):
    table = tmp_path / "plain.csv"
    lines = [f'c{clip},AT,{name},"{answer if clip == 2 else "calm"}"' for clip in range(3) for name in NAMES]
    table.write_text("utterance_id,condition,annotator,value\n" + "\n".join(lines) + "\n")
    ratings, labels = tmp_path / "ratings.parquet", tmp_path / "labels.parquet"
    code, _, err = run("annotation", "import", table, "-o", ratings, "--scale", "nominal")
    assert code == 0, err
    assert run("annotation", "aggregate", ratings, "-o", labels)[0] == 0
    code, said, _ = publish(labels, ratings)
    assert code == 1
    assert repr(answer) in said
    assert "correct it in RATINGS first" in said


def test_shorter_names_and_numbers_are_not_searched_for():
    names = spoken_names(["7", "a", "r2", "li", "Ann Li", "cho@x.org"])
    assert names == {"ann li", "cho"}
    assert personal("take_7_a", names, is_id=True) is None
    assert personal("cho_1", names, is_id=True) == "the name of an annotator"


def test_numbered_clips_keep_the_order_within_their_video():
    new = number_clips([f"w$_${number}" for number in (10, 9, 1)] + ["x$_$1"], b"salt")
    assert [new[f"w$_${number}"].rpartition("$")[2] for number in (1, 9, 10)] == ["1", "2", "3"]
    assert len({name.partition("$")[0] for name in new.values()}) == 2


def test_again_gives_the_same_bytes_and_removes_what_is_old(made, publish):
    labels, ratings = made()
    _, _, release = publish(labels, ratings)
    first = {path.name: path.read_bytes() for path in release.iterdir()}
    (release / "table2-2.svg").write_text("of an earlier release")
    (release / ".gitattributes").write_text("kept")
    (release / "LICENSE").write_text("kept")
    assert publish(labels, ratings)[0] == 0
    again = {path.name: path.read_bytes() for path in release.iterdir()}
    assert again == first | {".gitattributes": b"kept", "LICENSE": b"kept"}


@pytest.mark.parametrize("name", ["notes.txt", "raters.csv", "labels.xlsx"])
def test_a_folder_with_other_files_is_refused_and_left_as_it_is(name, made, publish, tmp_path):
    labels, ratings = made()
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / name).write_text("private")
    code, said, release = publish(labels, ratings)
    assert code == 1
    assert name in said
    assert [path.name for path in release.iterdir()] == [name]


def test_a_release_that_was_interrupted_is_not_one_that_looks_whole(made, publish, monkeypatch):
    from fmltk.annotation.publishing import release as module

    labels, ratings = made()
    _, _, release = publish(labels, ratings)

    def fails(written, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace_file", fails)
    code, said, _ = publish(labels, ratings)
    assert code == 1
    assert "Traceback" not in said
    assert not (release / "croissant.json").exists()
    monkeypatch.undo()
    assert publish(labels, ratings)[0] == 0
    assert (release / "croissant.json").exists()


def test_what_is_secret_may_not_lie_in_the_release(made, publish, tmp_path):
    labels, ratings = made()
    for option in ("--new-ids", "--salt-file"):
        code, said, _ = publish(labels, ratings, option, tmp_path / "release" / "secret.csv")
        assert code == 1
        assert "is written to be published" in said


def test_ratings_of_other_clips_are_refused(made, publish, tmp_path):
    labels, _ = made()
    kept = labels.rename(tmp_path / "kept.parquet")
    _, ratings = made(video="w")
    code, said, _ = publish(kept, ratings)
    assert code == 1
    assert "no clip of LABELS is in RATINGS" in said


def changed(path, column, change):
    """Write a table again with another column."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    values = [change(one) for one in table[column].to_pylist()]
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(values, table.schema.types[place])), path
    )


@pytest.mark.parametrize("name", ["LABELS", "RATINGS"])
def test_labels_that_these_ratings_do_not_give_are_refused(made, publish, name):
    labels, ratings = made()
    path, column = {"LABELS": (labels, "label_AT"), "RATINGS": (ratings, "value")}[name]
    changed(path, column, lambda value: -value)
    code, said, release = publish(labels, ratings)
    assert code == 1
    assert re.search(
        r"\d of 3 labels are not what RATINGS give: AT of v\$_\$000\d is \S+ in LABELS, and \S+ by its", said
    )
    assert not (release / "labels.csv").exists()


def test_a_rating_that_is_gone_is_a_difference(made, publish):
    labels, ratings = made()
    table = pq.read_table(ratings)
    pq.write_table(table.slice(1), ratings)
    code, said, _ = publish(labels, ratings)
    assert (code, "and missing by its ratings" in said) == (1, True)


@pytest.mark.parametrize(
    "aggregating", [("--panel", "at-least-3", "--more", "first"), ("--adjudicator", "ann", "--panel-size", 4)]
)
def test_labels_are_made_again_by_their_own_policy(made, publish, aggregating):
    code, said, release = publish(*made(aggregating=aggregating))
    assert code == 0, said
    assert "compared" not in said
    sentence = "3 or more" if "at-least-3" in aggregating else r"The answer of rater-\d is the label"
    assert re.search(sentence, (release / "README.md").read_text())


def test_labels_that_came_with_the_data_set_are_named(made, publish, tmp_path):
    (tmp_path / "label.csv").write_text("video_id,clip_id,label,mode\nv,0001,0.6,train\nv,0002,-1,test\n")
    labels, ratings = made(aggregating=("--labels", tmp_path / "label.csv"))
    code, said, _ = publish(labels, ratings)
    assert code == 0, said
    assert "labels without a rating in RATINGS: M 2" in said
    assert publish(tmp_path / "label.csv", ratings)[1].count("do not say how they were made") == 1


@pytest.mark.parametrize("policy", [{"panel": "five"}, {"more": "some"}, {"replacements": [1]}, {"panel": None}])
def test_a_policy_that_nobody_understands_is_said(made, publish, policy):
    labels, ratings = made()
    stored = read_labels(labels)
    write_labels(replace(stored, metadata={**stored.metadata, "policy": policy}), labels)
    code, said, release = publish(labels, ratings)
    assert (code, "do not say how they were made" in said) == (0, True), said
    assert "made of ratings is the" not in (release / "README.md").read_text()
