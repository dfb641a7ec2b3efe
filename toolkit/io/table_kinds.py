"""The columns of each kind of table, and the names under which people write them: this is their one owner.

Names are folded (see `columns.folded`): in lower case, of letters and digits alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TableKind:
    """The fields of a kind of table.

    Attributes
    ----------
    what
        Its name in messages.
    fields
        By field, the other names that it goes by, folded. The field's own name counts before these.
    expected
        A message's words for the columns that the table needs.
    weak
        By field, names that count where no other column is that field, and no other field has the name.
    times
        Whether it may say when a clip starts and ends, as start_s or start_ms, end_s or end_ms, duration_s or _ms.
    unread
        Names that are known and not read, so that they resemble nothing.
    has_others
        Whether the other columns mean something too, such as raters, so that none is refused.
    """

    what: str
    fields: Mapping[str, str]
    expected: str
    weak: Mapping[str, str] = field(default_factory=dict)
    times: bool = False
    unread: str = ""
    has_others: bool = False


_FILES = (
    "file filename filepath path videofile videofilename videopath clipfile clipfilename clippath mediafile mediapath "
    "audiofile audiopath audiofilepath wavfile recording datei dateiname dateipfad videodatei 文件 文件名 视频文件"
)
_OWN_IDS = {
    "utterance_id": "uttid utterancekey",
    "video_id": "vid videoname videokey",
    "clip_id": "clipname clipno clipnumber clipnr segmentid segmentno segmentnumber segment",
}
IDS = {**_OWN_IDS, "file": _FILES}
_WEAK_IDS = {"video_id": "video", "clip_id": "clip"}
LONE_IDS = ("id", "key", "name")  # an utterance_id where nothing else names the clip: else the number of a row
# What a row is called, folded, that was computed of the rows above it.
COMPUTED = frozenset(
    word
    for words in (
        "sum sums total totals grandtotal mean means average averages avg median std sd stdev stddev variance",
        "summe gesamt gesamtsumme mittelwert durchschnitt standardabweichung moyenne somme ecarttype promedio suma",
        "合计 总计 平均 平均值 均值",
    )
    for word in words.split()
)
_SPLIT = {"split": "mode set partition subset datasplit aufteilung 划分"}
_WORDS = {
    "text": (
        "transcript transcription transcripts utterance sentence subtitle subtitles caption captions rawtext "
        "transkript transkription äusserung satz untertitel "
        "文本 文字 台词 字幕 转写"
    ),
    "language": "lang",
    **_SPLIT,
}
_UNREAD = (
    "label labelt labela labelv labelm annotation speaker emotion sentiment score gender sex age model code state "
    "stars test season episode date comment note notes"
)
_EXPECTED_CLIP = "video_id and clip_id, utterance_id, or a file name (Filename, File, Video, Clip)"
_OTHER_LABELS = ("T", "A", "V", "AT", "VT", "AV")

TRANSCRIPTS = TableKind(
    "table of transcripts",
    {**IDS, **_WORDS},
    f"{_EXPECTED_CLIP}, and text (or Transcript, Utterance, Sentence, Subtitle)",
    weak=_WEAK_IDS,
    times=True,
    unread=_UNREAD,
)
WORDS = TableKind(
    "table of words",
    {**IDS, "word": "words token wordtext spokenword 词 单词 字", "type": "tier tiername"},
    f"{_EXPECTED_CLIP}, word, and start_s and end_s (or start_ms and end_ms, or a duration)",
    weak={**_WEAK_IDS, "word": "text label"},
    times=True,
    unread=f"{_UNREAD} channel probability confidence conf prob step index wordid tokenid",
)
VIDEOS = TableKind(
    "table of videos",
    {"path": _FILES, **_OWN_IDS, **_WORDS},
    "path (or Filename, File, Video), and perhaps video_id, clip_id, text, start_s, end_s; without it, "
    "--modalities text encodes a table of transcripts",
    weak={"path": "video clip url uri", **_WEAK_IDS},
    times=True,
    unread=_UNREAD,
)
EXCLUDED = TableKind(
    "table of excluded clips",
    {**IDS, "reason": "why", "decision": "verdict keeporexclude"},
    _EXPECTED_CLIP,
    weak=_WEAK_IDS,
    unread=f"{_UNREAD} detail",
)
CLIPS = TableKind("list of clips", IDS, _EXPECTED_CLIP, weak=_WEAK_IDS, has_others=True)
_SPEAKER = {"speaker": "speakername speakerid speakerlabel talker name who 说话人", "person": "personid personnumber"}
TURNS = TableKind(
    "table of turns",
    {**IDS, **_SPEAKER},
    f"{_EXPECTED_CLIP}, start_s, end_s and speaker (and perhaps person, the number in faces.parquet)",
    weak=_WEAK_IDS,
    times=True,
    unread=f"{_UNREAD} text transcript transcription utterance sentence language lang split mode",
)
TURN_PEOPLE = TableKind(
    "table of names",
    {**_SPEAKER, "utterance_id": _OWN_IDS["utterance_id"], "video_id": _OWN_IDS["video_id"]},
    "name and person, the number in faces.parquet (and perhaps utterance_id or video_id)",
    unread=_UNREAD,
)
LABELS = TableKind(
    "table of labels",
    {**IDS, **_SPLIT, "label_M": "label", **{f"label_{name}": "" for name in _OTHER_LABELS}},
    f"{_EXPECTED_CLIP}, and label (or Score, Sentiment, label_M, label_T, ...)",
    weak={
        **_WEAK_IDS,
        "label_M": "score sentiment sentimentscore rating valence polarity emotion sarcasm bewertung stimmung m",
        **{f"label_{name}": name.lower() for name in _OTHER_LABELS},
    },
    unread=f"{_UNREAD} text transcript",
)
RATINGS = TableKind(
    "table of ratings",
    {
        **IDS,
        "utterance_id": f"{IDS['utterance_id']} utterance",
        "condition": "modality modalities",
        "annotator": "rater annotatorid raterid coder judge",
        "value": "rating label score answer emotion",
        **dict.fromkeys(("status", "scale", "created_at", "updated_at", "annotation_id", "dimension", "word"), ""),
        "lead_time_s": "leadtime",
        "text": "transcript sentence",
    },
    "a clip (utterance_id, or video_id and clip_id), annotator and value, or one column per annotator",
    weak=_WEAK_IDS,
)
RATED_CLIPS = TableKind(  # and a column for each rater
    "wide table of ratings",
    {name: RATINGS.fields[name] for name in (*IDS, "condition", "scale", "dimension", "text")},
    "a clip (utterance_id, or video_id and clip_id) and one column per annotator",
    weak=_WEAK_IDS,
    has_others=True,
)
RATERS = TableKind(
    "list of annotators",
    {"id": "email emailaddress mail", "rater": "name annotator ratername", "source": "server"},
    "id and rater (and source)",
    has_others=True,
)
FRAMES = TableKind(  # what a program that looks at faces says of each frame of a video, and its features
    "table of video frames",
    {
        "frame": "frameid frameidx frameindex framenumber framenum frameno framenr 帧 帧号",
        "time_s": "seconds secs sec timeseconds timesec timeinseconds timestampseconds timestampsec",
        "time_ms": "milliseconds msec ms timestampms timemilliseconds timeinms frametimeinms posmsec",
        "face_id": "faceidx faceindex faceno facenumber personid person trackid identity",
        "success": "detected facedetected facefound isvalid",
        "confidence": "facescore facedetectionscore faceconfidence detectionconfidence detectionscore",
    },
    "frame, or time_s or time_ms",
    weak={"time_s": "timestamp timestamps time t 时间", "face_id": "face", "success": "valid"},
    unread="approxtime input frameheight framewidth videopath imagepath filename index utteranceid videoid clipid",
    has_others=True,
)
