"""Files of word times: each kind as its programs write it, and refused by line where it is something else."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.alignment.sources import SourceOptions, read_words
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# What GRID says of grid_id2_swwp2s.mpg.
WORDS = [("set", 0.49, 0.77), ("white", 0.77, 1.09), ("with", 1.09, 1.22), ("p", 1.22, 1.44), ("two", 1.44, 1.73)]
SILENT = [("", 0.0, 0.49), *WORDS, ("", 1.73, 2.98)]


def long_textgrid(tiers: dict[str, list[tuple[str, float, float]]]) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", "xmax = 2.98 "]
    lines += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (name, items) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier" ', f'        name = "{name}" ']
        lines += ["        xmin = 0 ", "        xmax = 2.98 ", f"        intervals: size = {len(items)} "]
        for place, (text, start, end) in enumerate(items, start=1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {start} ", f"            xmax = {end} "]
            lines += [f'            text = "{quoted}" ']
    return "\n".join(lines) + "\n"


def short_textgrid(items: list[tuple[str, float, float]], name: str = "words") -> str:
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "2.98", "<exists>", "1"]
    head += ['"IntervalTier"', f'"{name}"', "0", "2.98", str(len(items))]
    return "\n".join([*head, *(line for text, start, end in items for line in (str(start), str(end), f'"{text}"'))])


def read(path: Path, **options: Any) -> list[tuple[str, float | None, float | None]]:
    """The words of a file of one recording."""
    (recording,) = read_words(path, SourceOptions(**options)).recordings
    return [(word.text, word.start_s, word.end_s) for word in recording.words]


def written(folder: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_words(path, SourceOptions(**options))
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("form", ["long", "short", "crlf"])
def test_a_textgrid_is_read_in_every_form_and_encoding_of_praat(tmp_path: Path, form: str, encoding: str) -> None:
    content = short_textgrid(SILENT) if form == "short" else long_textgrid({"words": SILENT})
    content = content.replace("\n", "\r\n") if form == "crlf" else content
    assert read(written(tmp_path, "a.TextGrid", content, encoding)) == WORDS


def test_the_tier_of_words_is_found_by_its_name_or_named(tmp_path: Path) -> None:
    phones = [("s", 0.49, 0.6), ("eh", 0.6, 0.7), ("t", 0.7, 0.77)]
    path = written(tmp_path, "a.TextGrid", long_textgrid({"anna - phones": phones, "anna - words": SILENT}))
    assert read(path) == WORDS
    assert [text for text, *_ in read(path, tier="anna - phones")] == ["s", "eh", "t"]
    path = written(tmp_path, "b.textgrid", long_textgrid({"KAN-MAU": phones, "ORT-MAU": SILENT}))
    assert read(path) == WORDS


def test_tiers_of_which_several_or_none_may_be_of_words_are_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "a.TextGrid", long_textgrid({"A - words": SILENT, "B - words": SILENT}))
    assert "its interval tiers are 'A - words', 'B - words'" in refused(path)
    assert "--tier" in refused(path)
    path = written(tmp_path, "b.TextGrid", long_textgrid({"one": SILENT, "two": SILENT}))
    assert "expected one tier named 'three'" in refused(path, tier="three")


def test_points_comments_and_quotes_of_a_textgrid_are_understood(tmp_path: Path) -> None:
    content = short_textgrid([('say ""hi""'.replace(" ", "-"), 0.0, 1.0)]).replace("<exists>\n1", "<exists> ! flags\n2")
    content += '\n"TextTier"\n"bell"\n0\n2.98\n1\n0.5\n"ding"\n'
    assert read(written(tmp_path, "a.TextGrid", content)) == [('say-"hi"', 0.0, 1.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "ends before its kind"),
        ('"Praat chronological TextGrid text file"\n0 2', "is not a TextGrid"),
        (short_textgrid(SILENT)[:-30], "ends before the"),
        (short_textgrid([("set", 0.77, 0.49)]), "a.TextGrid line 15: 'set' ends at 0.49 s, before it begins at 0.77 s"),
        (short_textgrid([("set white", 0.4, 0.9)]), "line 15: 'set white' is more than one word"),
        (short_textgrid(SILENT).replace("0.49\n", "x\n"), "is not a number"),
        (short_textgrid([("set", -0.1, 0.9)]), "expected times of 0 s or later"),
    ],
)
def test_what_is_not_a_textgrid_of_words_is_refused_by_line(tmp_path: Path, content: str, said: str) -> None:
    assert said in refused(written(tmp_path, "a.TextGrid", content))


def test_a_ctm_holds_the_words_of_many_recordings(tmp_path: Path) -> None:
    lines = [";; CATEGORY", *(f"talk 1 {start} {end - start:.2f} {text} 0.9" for text, start, end in WORDS)]
    lines += ["other A 0.10 0.20 hello", "other A 0.30 0.00 <eps>", ""]
    first, second = read_words(written(tmp_path, "all.ctm", "\n".join(lines)), SourceOptions()).recordings
    assert [(word.text, word.start_s, word.end_s) for word in first.words] == WORDS
    assert (second.name, [word.text for word in second.words]) == ("other", ["hello"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("talk 0.49 0.28 set", "all.ctm line 2 has 4 columns"),
        ("talk 1 0,49 0.28 set", "line 2: '0,49' is not a number of seconds"),
        ("talk 1 0.49 -0.1 set", "lasts -0.1 s"),
        ("talk 1 nan 0.28 set", "expected times of 0 s or later"),
        ("talk 1 * * <ALT>", "is not a number of seconds"),
    ],
)
def test_a_line_that_is_not_of_a_ctm_is_refused_by_number(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(written(tmp_path, "all.ctm", f"talk 1 0 0.1 a\n{line}\n"))


def test_grids_times_are_samples_of_25_khz(tmp_path: Path) -> None:
    lines = [f"{round(start * 25_000)} {round(end * 25_000)} {text or 'sil'}" for text, start, end in SILENT]
    assert read(written(tmp_path, "a.align", "\n".join(lines))) == WORDS
    for line in ("0.49 0.77 set", "12250 19250", "12250 19250 set it", "19250 12250 set"):
        assert "a.align line 2" in refused(written(tmp_path, "a.align", f"0 12250 sil\n{line}\n"))


def as_json(kind: str) -> Any:
    own = [{"word": f" {text}", "start": start, "end": end, "probability": 0.9} for text, start, end in WORDS]
    if kind == "whisper":
        return {"text": "...", "language": "en", "segments": [{"words": own[:2]}, {"words": own[2:]}]}
    if kind == "whisperx":
        words = [{"word": text, "start": start, "end": end, "score": 0.5} for text, start, end in WORDS]
        return {"segments": [{"start": 0.4, "end": 1.7, "text": "set ...", "words": words}], "word_segments": words}
    if kind == "transformers":
        return {"text": "", "chunks": [{"text": f" {text}", "timestamp": [start, end]} for text, start, end in WORDS]}
    if kind == "timestamped":
        words = [{"text": text, "start": start, "end": end, "confidence": 1.0} for text, start, end in WORDS]
        return {"segments": [{"words": words}]}
    return {"openai": {"words": own}, "faster-whisper": own, "segments": [{"words": own}]}[kind]


@pytest.mark.parametrize(
    "kind", ["whisper", "whisperx", "transformers", "timestamped", "openai", "faster-whisper", "segments"]
)
def test_json_of_whisper_and_its_kin_is_read(tmp_path: Path, kind: str) -> None:
    assert read(written(tmp_path, "a.json", json.dumps(as_json(kind)))) == WORDS


@pytest.mark.parametrize("absent", [{}, {"start": None, "end": None}, {"start": float("nan"), "end": float("nan")}])
def test_words_without_times_as_whisperx_writes_numerals_stay_without(tmp_path: Path, absent: dict[str, Any]) -> None:
    words = [{"word": "in", "start": 0.1, "end": 0.3}, {"word": "2014", **absent}, {"word": "we", "start": 1, "end": 2}]
    path = written(
        tmp_path, "a.json", json.dumps({"segments": [{"words": words}, {"text": "not aligned", "words": []}]})
    )
    assert read(path) == [
        ("in", 0.1, 0.3), ("2014", None, None), ("we", 1.0, 2.0), ("not", None, None), ("aligned", None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"segments": [{"text": "hello", "start": 0, "end": 1}]}, "run whisper with --word_timestamps True"),
        ({"words": [{"word": "a"}, {"word": "b"}]}, "none of its 2 words has a time"),
        ({"words": [{"start": 0, "end": 1}]}, "a.json word 1 has no text"),
        (
            {"segments": [{"words": [{"word": "a", "start": "0:01", "end": 2}]}]},
            "segment 1 word 1: a time of 'a' is '0:01'",
        ),
        ({"words": [{"word": "a", "start": 2, "end": 1}]}, "word 1: 'a' ends at 1 s, before it begins at 2 s"),
        ({"words": ["a"]}, "word 1 is not an object"),
        ("hello", "is not a file of words"),
    ],
)
def test_json_that_is_not_of_words_is_refused_by_place(tmp_path: Path, document: Any, said: str) -> None:
    assert said in refused(written(tmp_path, "a.json", json.dumps(document)))


def clock(seconds: float, mark: str) -> str:
    return f"00:00:{int(seconds):02d}{mark}{round(seconds % 1 * 1000):03d}"


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_subtitles_of_one_word_per_cue_are_read(tmp_path: Path, suffix: str) -> None:
    mark = "," if suffix == "srt" else "."
    cues = [f"{n}\n{clock(a, mark)} --> {clock(b, mark)}\n{text}\n" for n, (text, a, b) in enumerate(WORDS, start=1)]
    content = ("WEBVTT\n\n" if suffix == "vtt" else "") + "\n".join(cues)
    assert read(written(tmp_path, f"a.{suffix}", content)) == WORDS


def test_a_word_said_twice_in_a_row_stands_twice(tmp_path: Path) -> None:
    cues = [
        f"{n}\n{clock(n / 2, ',')} --> {clock(n / 2 + 0.4, ',')}\n{text}\n"
        for n, text in enumerate(["no", "no", "no", "yes"])
    ]
    assert [text for text, *_ in read(written(tmp_path, "a.srt", "\n".join(cues)))] == ["no", "no", "no", "yes"]


def test_times_within_a_cue_last_until_the_next(tmp_path: Path) -> None:
    content = (
        "WEBVTT\n\n00:01.000 --> 00:03.000\n<00:01.000><c>we</c><00:01.500><c> really do</c><00:02.500><c> walk</c>\n"
    )
    assert read(written(tmp_path, "a.vtt", content)) == [
        ("we", 1.0, 1.5), ("really", 1.5, 2.5), ("do", 1.5, 2.5), ("walk", 2.5, 3.0)
    ]  # fmt: skip


def test_subtitles_of_sentences_are_refused_by_cue(tmp_path: Path) -> None:
    path = written(tmp_path, "a.srt", "1\n00:00:01,000 --> 00:00:02,000\nset white with\n")
    assert "the cue at 1.000 s has several words and no times of them: 'set white with'" in refused(path)
    path = written(tmp_path, "b.srt", "1\n00:00:01,000 --> 00:00:02,000\n我今天真的很喜欢这部电影\n")
    assert "is more than one word" in refused(path)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (("utterance_id", "word", "start_s", "end_s"), ("talk$_$3", "{word}", "{start}", "{end}")),
        (("Video ID", "Clip", "Token", "Start (ms)", "End (ms)"), ("talk", "3", "{word}", "{ms}", "{end_ms}")),
        (("file", "word", "onset", "duration"), ("talk_3.wav", "{word}", "{start}", "{length}")),
        (("video_id", "clip_id", "label", "start", "end", "conf"), ("talk", "3", "{word}", "{start}", "{end}", "0.9")),
    ],
)
def test_a_table_may_call_its_columns_as_tables_do(
    tmp_path: Path, header: tuple[str, ...], row: tuple[str, ...]
) -> None:
    with (tmp_path / "words.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for word, start, end in WORDS:
            known = {"word": word, "start": start, "end": end, "ms": round(start * 1000), "end_ms": round(end * 1000)}
            writer.writerow([cell.format(**known, length=round(end - start, 3)) for cell in row])
    source = read_words(tmp_path / "words.csv", SourceOptions())
    (recording,) = source.recordings
    assert [(word.text, word.start_s, pytest.approx(word.end_s)) for word in recording.words] == WORDS
    assert any("as word" in note or "read " in note for note in source.notes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("utterance_id,word,start_s,end_s\n,set,0,1\n", "words.csv line 2 names no clip"),
        ("utterance_id,start_s,end_s\na$_$0,0,1\n", "names no words"),
        ("utterance_id,word,start_s,end_s\na$_$0,set,soon,1\n", "words.csv line 2: 'soon' is not a time"),
        ("utterance_id,word,start_s,end_s\na$_$0,set,2,1\n", "words.csv line 2: 'set' ends at 1 s"),
        ("utterance_id,word,start_frame,end_frame\na$_$0,set,1,2\n", "counts video frames"),
        ("utterance_id,word,strat_s,end_s\na$_$0,set,1,2\n", "resembles"),
    ],
)
def test_a_table_that_is_not_of_words_is_refused_by_line(tmp_path: Path, content: str, said: str) -> None:
    assert said in refused(written(tmp_path, "words.csv", content))


@pytest.mark.parametrize(
    "content",
    [
        "word,start_s,end_s\nset,0.49,0.77\nwhite,0.77,1.09\n",
        "Begin,End,Label,Type,Speaker\n0.49,0.77,set,words,anna\n0.77,1.09,white,words,anna\n0.49,0.6,S,phones,anna\n",
        "onset;offset;token\n0,49;0,77;set\n0,77;1,09;white\n",
    ],
)
def test_a_table_without_ids_is_of_the_clip_that_it_is_named_as(tmp_path: Path, content: str) -> None:
    (tmp_path / "talk").mkdir()
    written(tmp_path / "talk", "0001.csv", content)
    (recording,) = read_words(tmp_path, SourceOptions()).recordings
    assert (recording.name, recording.forms) == ("talk/0001", ((("talk", "0001"), 1),))
    assert [(word.text, word.start_s, word.end_s) for word in recording.words] == WORDS[:2]


def test_a_language_in_a_name_is_not_of_the_clips_name(tmp_path: Path) -> None:
    path = written(tmp_path, "talk.en-GB.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nset\n")
    (recording,) = read_words(path, SourceOptions()).recordings
    assert [form for form, _ in recording.forms] == [("talk.en-GB",), ("talk",)]
    path = written(tmp_path, "talk.v2.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nset\n")
    (recording,) = read_words(path, SourceOptions()).recordings
    assert [form for form, _ in recording.forms] == [("talk.v2",)]


def test_a_table_may_have_words_without_times(tmp_path: Path) -> None:
    path = written(tmp_path, "w.csv", "utterance_id,word,start_s,end_s\na$_$0,in,0.1,0.3\na$_$0,2014,,\n")
    assert read(path) == [("in", 0.1, 0.3), ("2014", None, None)]


def test_of_a_folder_each_file_is_read_and_a_bad_one_is_a_fault_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "talk").mkdir()
    written(tmp_path / "talk", "0001.TextGrid", long_textgrid({"words": SILENT}))
    written(tmp_path / "talk", "0002.TextGrid", "nothing")
    written(tmp_path, "saved.txt", long_textgrid({"words": SILENT}), "utf-16")
    written(tmp_path, "readme.txt", "words by hand")
    (tmp_path / "__MACOSX").mkdir()
    written(tmp_path / "__MACOSX", "0001.TextGrid", "junk")
    found = read_words(tmp_path, SourceOptions())
    assert [(one.name, len(one.words)) for one in found.recordings] == [
        ("saved", 5), ("talk/0001", 5), ("talk/0002", 0)
    ]  # fmt: skip
    assert "0002.TextGrid" in (found.recordings[2].fault or "")
    assert "Praat TextGrid (3)" in found.notes[0]


def test_of_the_files_that_whisper_writes_of_one_recording_the_json_is_read(tmp_path: Path) -> None:
    written(tmp_path, "a.json", json.dumps(as_json("whisper")))
    written(tmp_path, "a.srt", "1\n00:00:01,000 --> 00:00:02,000\nset white with\n")
    written(tmp_path, "a.tsv", "start\tend\ttext\n0\t1000\tset white\n")
    found = read_words(tmp_path, SourceOptions())
    assert [(one.file, one.fault, len(one.words)) for one in found.recordings] == [("a.json", None, 5)]
    assert "2 files were not read" in found.notes[-1]


def test_an_encoding_of_before_unicode_is_read_and_said_once(tmp_path: Path) -> None:
    words = ("这部", "电影", "的", "故事", "非常", "感人", "我们", "都", "很", "喜欢")
    lines = "\n".join(f"talk 1 {n} 0.5 {one}" for n, one in enumerate(words))
    for name in ("a", "b"):
        written(tmp_path, f"{name}.ctm", lines, "gb18030")
    found = read_words(tmp_path, SourceOptions())
    assert [len(one.words) for one in found.recordings] == [10, 10]
    assert [note for note in found.notes if "gb18030" in note] == [
        "a.ctm is read as gb18030 (Chinese); if that is wrong, give --encoding"
    ]
    assert read(written(tmp_path, "c.ctm", "talk 1 0 0.5 caf\xe9", "latin-1"), encoding="latin-1") == [
        ("café", 0.0, 0.5)
    ]


def test_other_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    assert "holds no file of words" in refused(tmp_path)
    assert "is not a file of words by its name" in refused(written(tmp_path, "a.docx", "x"))
    assert "No such file" in refused(tmp_path / "absent.json")
