"""The paper's protocols: who rates a clip in which conditions, and in which order."""

from __future__ import annotations

import json

import pytest

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.importing.progress import protocol_breaks
from fmltk.annotation.ratings import flagged_raters, read_protocol, read_ratings
from fmltk.annotation.settings import ImportOptions, Policy
from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE

PANEL = ("1", "2", "3", "4", "5")


def rated(exports, panels, *, clip="0001", times=None):
    """Return a task per condition, rated by its panel: "TAV", say, with the second of each condition's answers."""
    return [
        exports.task(
            *(exports.annotation(int(rater), second=(times or {}).get(condition, number)) for rater in panel),
            clip=clip,
            condition=condition,
        )
        for number, (condition, panel) in enumerate(panels.items())
    ]


def flagged(rows, flag):
    return {(row["condition"], row["annotator"]) for row in rows if flag in row["flags"].split()}


@pytest.mark.parametrize(
    ("panels", "expected"),
    [
        ({"T": PANEL, "A": PANEL, "V": PANEL}, set()),
        ({"T": PANEL}, set()),  # the others are still to come
        ({"T": "12345", "A": "12345", "V": "12346"}, {("T", "5"), ("A", "5"), ("V", "6")}),
        ({"T": "123", "A": "456"}, {("T", "1"), ("T", "2"), ("T", "3"), ("A", "4"), ("A", "5"), ("A", "6")}),
        ({"T": "123", "A": "12"}, set()),  # a rating is missing, or to come; nobody rated instead
        ({"T": "123", "A": "24", "V": "1"}, {("T", "1"), ("T", "3"), ("A", "4"), ("A", "2"), ("V", "1")}),
        ({"T": "12345", "A": "12345", "V": "12345", "M": "678"}, set()),
    ],
)
def test_mosi_has_the_same_people_for_text_audio_and_silent_video(exports, read, panels, expected):
    other = rated(exports, {"T": "67"}, clip="0002")  # another clip may have another panel
    rows, report = read([*rated(exports, panels), *other], options=ImportOptions(protocol="mosi"))
    assert flagged(rows, "other_panel") == expected
    assert (report.protocol, report.flags.get("other_panel", 0)) == ("mosi", len(expected))
    rows, report = read([*rated(exports, panels), *other], options=ImportOptions(protocol="ch-sims"))
    assert flagged(rows, "other_panel") == set()


@pytest.mark.parametrize("protocol", ["mosi", "ch-sims"])
@pytest.mark.parametrize(
    ("times", "is_wrong"),
    [({"T": 1, "A": 2, "V": 3}, False), ({"T": 3, "A": 2, "V": 4}, True), ({"T": 1, "A": 5, "V": 3}, True)],
)
def test_the_order_of_text_audio_and_silent_video_is_checked(exports, read, protocol, times, is_wrong):
    tasks = rated(exports, dict.fromkeys("VAT", "12"), times=times)
    rows, _ = read(tasks, options=ImportOptions(protocol=protocol))
    assert len(flagged(rows, "out_of_order")) == 6 * is_wrong


def test_an_order_is_wrong_whatever_lies_between(exports, read):
    tasks = rated(exports, dict.fromkeys("TAV", "1"), times={"T": 5, "V": 3})
    tasks[1]["annotations"][0] |= {"created_at": None, "updated_at": None}
    rows, _ = read(tasks)
    assert flagged(rows, "out_of_order") == {("T", "1"), ("V", "1")}


@pytest.mark.parametrize(
    ("conditions", "scale", "protocol"),
    [("TAV", MOSI_SCALE, "mosi"), ("TAV", None, "ch-sims"), (("AT", "VT"), MOSI_SCALE, "ch-sims")],
)
def test_the_protocol_is_by_default_that_of_the_scale(exports, read, conditions, scale, protocol):
    options = ImportOptions(default_scale=scale) if scale else ImportOptions()
    _, report = read(rated(exports, dict.fromkeys(conditions, "12")), options=options)
    assert report.protocol == protocol
    assert report.as_dict()["protocol"] == protocol


def test_ratings_that_are_added_keep_the_protocol(exports, tmp_path):
    target = tmp_path / "r.parquet"
    for name, panels, options in (
        ("a", {"T": "12"}, ImportOptions(protocol="mosi")),
        ("b", {"A": "13"}, ImportOptions()),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(rated(exports, panels)))
        import_ratings([tmp_path / f"{name}.json"], target, options)
    assert read_protocol(target) == "mosi"
    assert flagged(read_ratings(target).to_pylist(), "other_panel") == {("T", "2"), ("A", "3")}
    assert flagged_raters(read_ratings(target), "other_panel") == {"2": 1, "3": 1}
    import_ratings([target], tmp_path / "again.parquet", ImportOptions(protocol="ch-sims"))
    assert flagged_raters(read_ratings(tmp_path / "again.parquet"), "other_panel") == {}


@pytest.mark.parametrize("scales", [(None, None), (None, MOSI_SCALE), (MOSI_SCALE, MOSI_SCALE)])
def test_the_default_is_found_over_several_files(exports, tmp_path, scales):
    files = []
    for name, scale in zip(("T", "A"), scales, strict=True):
        (task,) = rated(exports, {name: "12"}, clip=f"clip_{name}")
        task["data"]["scale"] = str(scale or CH_SIMS_SCALE)
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps([task]))
    report = import_ratings(files, tmp_path / "r.parquet")
    assert report.protocol == ("mosi" if MOSI_SCALE in scales else "ch-sims")


def test_a_strict_aggregation_leaves_another_panel_out_with_the_reason(exports, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(rated(exports, {"T": "12345", "A": "12345", "V": "12346"})))
    import_ratings([tmp_path / "a.json"], tmp_path / "r.parquet", ImportOptions(protocol="mosi"))
    labels = aggregate_ratings(read_ratings(tmp_path / "r.parquet"), Policy(protocol_strict=True)).conditions
    assert [labels[name].reason[0] for name in "TAV"] == ["4 of 5 ratings: 1 out of protocol"] * 3
    labels = aggregate_ratings(read_ratings(tmp_path / "r.parquet"), Policy()).conditions
    assert [labels[name].label[0] for name in "TAV"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("panels", "protocol", "expected"),
    [
        ({"AT": "123", "VT": "345"}, None, [("two_bimodal", "AT", "3", 1), ("two_bimodal", "VT", "3", 1)]),
        ({"T": "12345", "A": "1"}, "mosi", []),  # raters are at work
        ({"T": "12", "A": "13"}, "mosi", [("other_panel", "A", "3", 1), ("other_panel", "T", "2", 1)]),
        ({"T": "12", "A": "13"}, None, []),
        ({"AT": ""}, None, []),
    ],
)
def test_a_servers_exports_show_who_does_not_follow_the_protocol(exports, tmp_path, panels, protocol, expected):
    files = {}
    for task in rated(exports, panels):
        path = tmp_path / f"{task['data']['condition']}.json"
        files[path] = task["data"].pop("condition")  # the project's title has it
        task["drafts"] = [{"id": 5, "created_username": "ann@example.com, 9", "result": []}]
        path.write_text(json.dumps([task]))
    breaks = protocol_breaks(files, protocol=protocol)
    assert [tuple(entry.values()) for entry in breaks] == expected
