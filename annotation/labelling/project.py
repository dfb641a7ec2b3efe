"""The labelling projects: one labelling page per condition, with exactly that condition's modalities.

Pure text and dictionaries; `label_studio_client` sends them to Label Studio.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fmltk.annotation.labelling.stimuli import MEDIA_FOLDER, PARTS, TEXT, Stimulus
from fmltk.annotation.labelling.stimulus_files import FULL, SILENT, SOUND
from fmltk.annotation.settings import CONTROL
from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE, Scale
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fmltk.annotation.settings import ProjectOptions

VIDEO_HEIGHT_PX = 320  # with the choices below it, a page fits a laptop's screen
SOUND_HEIGHT_PX = 100  # a waveform with its controls takes this much from the video above it
# (English, Chinese) by value. Source: paper, section 3.
CHOICES: dict[Scale, dict[int | str, tuple[str, str]]] = {
    CH_SIMS_SCALE: {-1: ("Negative", "消极"), 0: ("Neutral", "中性"), 1: ("Positive", "积极")},
    MOSI_SCALE: {
        -3: ("Strongly negative", "强烈消极"),
        -2: ("Negative", "消极"),
        -1: ("Weakly negative", "弱消极"),
        0: ("Neutral", "中性"),
        1: ("Weakly positive", "弱积极"),
        2: ("Positive", "积极"),
        3: ("Strongly positive", "强烈积极"),
    },
}
_MATERIAL = {
    "M": ("the video with sound and its text", "有声视频和文本"),
    "T": ("the text alone", "仅文本"),
    "A": ("the sound alone", "仅声音"),
    "V": ("the silent video alone", "仅无声视频"),
    "AT": ("the sound and the text", "声音和文本"),
    "VT": ("the silent video and the text", "无声视频和文本"),
    "AV": ("the sound and the silent video", "声音和无声视频"),
}
_QUESTION = ("Which sentiment does the speaker express?", "说话人表达了什么情感？")
_JUDGE = ("Judge from {material} only.", "请只根据{material}判断。")
_KEYS = (
    "Keys: {keys} choose, Ctrl+Enter submits, Ctrl+Space skips.",
    "按键：{keys} 选择，Ctrl+Enter 提交，Ctrl+Space 跳过。",
)
_RULES = (
    "Rate every clip on its own, in the order given, without talking to other annotators. Skip a clip only if it "
    "cannot be heard, seen or read.",
    "请按给定顺序独立评价每个片段，不要与其他评价者讨论。只有在无法听到、看到或读懂时才跳过。",
)
_MEDIA_TAGS = {SILENT: ("Video", "video"), FULL: ("Video", "video"), SOUND: ("Audio", "audio"), TEXT: ("Text", "text")}


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """One Label Studio project: the condition, its scale, and the language of its captions."""

    condition: str
    scale: Scale
    language: str = "both"
    prefix: str = "fmltk"

    def __post_init__(self) -> None:
        if not _captions(self.scale):
            raise ConfigError(
                f"a page has choices, and the scale {self.scale} has none; name words by --scale 'happy|sad|angry', or "
                f"make the page in Label Studio and import its answers with --scale {self.scale}"
            )

    @property
    def title(self) -> str:
        """The project's name, whose last word is the condition."""
        return f"{self.prefix} {self.condition}"


def _in_language(pair: tuple[str, str], language: str, *, joint: str = " ") -> str:
    english, chinese = pair
    if english == chinese:
        return english
    return {"en": english, "zh": chinese}.get(language, f"{english}{joint}{chinese}")


def _judge(condition: str) -> tuple[str, str]:
    english, chinese = _MATERIAL[condition]
    return _JUDGE[0].format(material=english), _JUDGE[1].format(material=chinese)


def labelling_config(plan: ProjectPlan) -> str:
    """Return the page's XML: the condition's media, then one required choice with hotkeys 1, 2, ...

    Sound and silent video of AV play together. The chosen value is exported as a number, such as "-1".

    >>> "Video" in labelling_config(ProjectPlan("AT", CH_SIMS_SCALE))
    False
    """
    view = ET.Element("View")
    ET.SubElement(view, "Header", value=_in_language(_judge(plan.condition), plan.language), size="5")
    parts = PARTS[plan.condition]
    synchronised = SILENT in parts and SOUND in parts
    names = []
    for part in parts:
        tag, name = _MEDIA_TAGS[part]
        attributes = {"name": name, "value": f"${name}"}
        if tag == "Video":
            height = VIDEO_HEIGHT_PX - (SOUND_HEIGHT_PX if synchronised else 0)
            attributes |= {"framerate": str(FRAME_RATE_HZ), "height": str(height)}
        if synchronised and part != TEXT:
            attributes["sync"] = "clip"
        ET.SubElement(view, tag, attributes)
        names.append(name)
    ET.SubElement(view, "Header", value=_in_language(_QUESTION, plan.language), size="4")
    attributes = {
        "name": CONTROL,
        "toName": names[0],
        "choice": "single-radio",
        "required": "true",
        "showInline": "true",
    }
    choices = ET.SubElement(view, "Choices", attributes)
    for key, (value, caption) in enumerate(_captions(plan.scale).items(), start=1):
        text = _in_language(caption, plan.language)
        attributes = {"value": text, "alias": str(value)}
        if key <= 9:
            attributes["hotkey"] = str(key)
        ET.SubElement(choices, "Choice", attributes)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _captions(scale: Scale) -> Mapping[int | str, tuple[str, str]]:
    """Return each choice's caption; those of a scale that the paper does not have stand for themselves."""
    own: Mapping[int | str, tuple[str, str]] | None = CHOICES.get(scale)
    return own or {choice: (f"{choice}", f"{choice}") for choice in scale.names or scale.values}


def instructions(plan: ProjectPlan) -> str:
    """Return the instructions that Label Studio shows before the first clip, as HTML."""
    n_keys = min(len(plan.scale.values), 9)
    lines = [
        _judge(plan.condition),
        (_KEYS[0].format(keys=f"1-{n_keys}"), _KEYS[1].format(keys=f"1-{n_keys}")),
        _RULES,
    ]
    return "".join(f"<p>{_in_language(line, plan.language, joint='<br>')}</p>" for line in lines)


def task_data(stimulus: Stimulus, plan: ProjectPlan, media_url: str) -> dict[str, Any]:
    """Return one task's data: what names the clip in every export, and only what the condition shows.

    media_url : what goes before a file's path below the media folder
    """
    data = {
        "utterance_id": stimulus.utterance_id,
        "video_id": stimulus.video_id,
        "clip_id": stimulus.clip_id,
        "condition": plan.condition,
        "scale": str(plan.scale),
    }
    for part in PARTS[plan.condition]:
        name = _MEDIA_TAGS[part][1]
        data[name] = (stimulus.text or "") if part == TEXT else media_address(media_url, stimulus.files[part])
    return data


def media_address(media_url: str, name: str) -> str:
    """Return the address of a file of the media folder, as tasks hold it.

    >>> media_address("https://host/media/", "audio/a b.wav")
    'https://host/media/audio/a%20b.wav'
    """
    return media_url + quote(name)


def media_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses of media in a task's data, by the field that holds them.

    >>> media_of({"utterance_id": "v$_$1", "audio": "/a.wav", "text": "t"})
    {'audio': '/a.wav'}
    """
    names = dict.fromkeys(name for part, (_, name) in _MEDIA_TAGS.items() if part != TEXT)
    return {name: data[name] for name in names if isinstance(data.get(name), str)}


def ordered_tasks(stimuli: Iterable[Stimulus], plan: ProjectPlan, media_url: str, *, seed: int) -> list[dict[str, Any]]:
    """Return the tasks of every clip that the condition can show, shuffled by the seed, another order per condition.

    The position of a clip is drawn from its own id: tasks that are added later do not change the order of the others.
    """

    def draw(stimulus: Stimulus) -> str:
        return hashlib.sha256(f"{seed}\0{plan.condition}\0{stimulus.utterance_id}".encode()).hexdigest()

    showable = sorted((stimulus for stimulus in stimuli if stimulus.shows(plan.condition)), key=draw)
    return [task_data(stimulus, plan, media_url) for stimulus in showable]


@dataclass(frozen=True, slots=True)
class MediaSource:
    """Addresses of stimuli for browsers: the prefix of a file's path, and the folder where Label Studio serves it."""

    url: str
    local_path: str | None = None


def media_source(stimuli: Path, options: ProjectOptions) -> MediaSource:
    """Return where browsers get the files of a stimuli folder.

    Raises ConfigError unless the options name either the server's folder above it or an address.
    """
    media = stimuli / MEDIA_FOLDER
    if options.document_root is not None and options.media_url is None:
        # The server compares names: the root is called as it is written, though it may lead over a symbolic link.
        root = options.document_root.absolute()
        root = root.resolve() if ".." in root.parts else root
        return MediaSource(local_media_url(media, root), str(root / _below(media, root)))
    if options.media_url is not None and options.document_root is None:
        return MediaSource(f"{options.media_url.rstrip('/')}/")
    raise ConfigError("say where browsers get the files: --document-root (local files) or --media-url (HTTP, S3), one")


def local_media_url(media: Path, document_root: Path) -> str:
    """Return what goes before a file's path where Label Studio serves `document_root`.

    Raises ConfigError if the media are not below it.
    """
    return f"/data/local-files/?d={quote(_below(media, document_root))}/"


def _below(media: Path, document_root: Path) -> str:
    try:
        below = media.resolve().relative_to(document_root.resolve())
    except ValueError as error:
        raise ConfigError(
            f"{media} is not below {document_root}, the folder that the server serves "
            "(LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT); prepare the stimuli there, or give --media-url"
        ) from error
    if not below.parts:
        raise ConfigError(f"{media} is the folder that the server serves itself; expected a folder below it")
    return below.as_posix()
