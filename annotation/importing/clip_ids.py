"""The ids of a task's clip, from its data, a path, its own number or the name of an upload."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fmltk.annotation.raters import text_id
from fmltk.toolkit.clip import ID_SEPARATOR, WHOLE, split_utterance_id, utterance_id, without_ending
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fmltk.annotation.settings import ImportOptions

TASK_ID = "id"  # --id-field id: the task's own number, unless its data has such a field
# No id holds control characters, or halves of surrogate pairs, which are not text.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Label Studio puts the first eight digits of a random UUID before the name of an uploaded file; a date is not one.
_UPLOADED = re.compile(r"^(?!(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-)[0-9a-f]{8}-(?=.)", re.ASCII)


def without_upload_prefixes(ids: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return the ids of a clip without what Label Studio puts before the names of uploaded files.

    >>> without_upload_prefixes(("1a2b3c4d-film", "1a2b3c4d-film", "0"))
    ('film$_$0', 'film', '0')
    >>> without_upload_prefixes(("20261122-film", "20261122-film", "0"))[1]
    '20261122-film'
    """
    video_id, clip_id = (_UPLOADED.sub("", part) for part in ids[1:])
    return utterance_id(video_id, clip_id), video_id, clip_id


class ClipNames:
    """The names of each clip of a file in its tasks, so that two clips never become one."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], str] = {}
        self._uploads: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def check(self, utterance: str, condition: str, written: str, where: str, *, option: str = "--id-parts 2") -> None:
        """Raise AnnotationError where an id was made of another text before, for the same condition.

        option : what takes the folder into the id
        """
        first = self._written.setdefault((utterance, condition), written)
        if first != written:
            raise AnnotationError(
                f"{where}: {short_text(written)} and {short_text(first)} would both be the clip {utterance}; if the "
                f"folder is the video, take both parts by {option}, else name another field by --id-field (uploads of "
                "one name are several clips without --cut-uploads)"
            )

    def note_upload(self, utterance: str, condition: str, written: str) -> None:
        """Note an id whose upload prefix was cut."""
        self._uploads[utterance, condition].add(written)

    @property
    def uploads(self) -> Mapping[tuple[str, str], set[str]]:
        """By clip and condition, the ids whose upload prefix was cut."""
        return self._uploads


def clip_ids(data: Mapping[str, Any], options: ImportOptions) -> tuple[str, str, str] | str:
    """Return utterance_id, video_id and clip_id of a task, or the reason why it names no clip."""
    if options.id_field is not None:
        whole = text_id(data.get(options.id_field))
        video_id = clip_id = None
        parts = re.split(r"[/\\=]", whole or "")
        if options.id_parts == 2 and len(parts) > 1:
            whole, video_id, clip_id = None, parts[-2], without_ending(parts[-1])
        elif whole:
            whole = without_ending(parts[-1])
    else:
        whole, video_id, clip_id = (text_id(data.get(key)) for key in ("utterance_id", "video_id", "clip_id"))
    if video_id and clip_id:
        joined = utterance_id(video_id, clip_id)
        if whole and whole != joined:
            return "ids disagree"
    elif whole and ID_SEPARATOR in whole:
        video_id, clip_id = split_utterance_id(whole)
    elif whole or video_id:
        video_id, clip_id = whole or video_id, WHOLE
    else:
        return "no clip"
    if not video_id or not clip_id or CONTROL_CHARACTERS.search(video_id + clip_id):
        return "unusable id"
    return utterance_id(video_id, clip_id), video_id, clip_id


def upload_remarks(ids: Iterable[tuple[str, str, str]], files: Iterable[ClipNames]) -> Iterator[str]:
    """Yield what is to be said of the upload prefixes of an import: those that were cut, and those that were not.

    ids : of all clips, each once
    """
    cut: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for names in files:
        for key, written in names.uploads.items():
            cut[key] |= written
    if cut:
        n_uploads, n_clips = len(set().union(*cut.values())), len({utterance for utterance, _ in cut})
        yield f"the prefixes of {counted(n_uploads, 'upload')} were cut: {counted(n_clips, 'clip')}"
        several = sorted(utterance for (utterance, _), written in cut.items() if len(written) > 1)
        if several:
            yield (
                f"clips that were uploaded more than once for one condition count as one ({len(several)}), such as "
                f"{short_text(several[0])}; if they are different clips, leave out --cut-uploads"
            )
    names_of: defaultdict[str, list[str]] = defaultdict(list)
    for one in ids:
        name, *_ = without_upload_prefixes(one)
        if name != one[0]:
            names_of[name].append(one[0])
    if names_of:
        n_uploads, n_several = sum(map(len, names_of.values())), sum(len(names) > 1 for names in names_of.values())
        example = short_text(next(iter(names_of.values()))[0])
        yield (
            f"{n_uploads} clips have names as Label Studio gives them to uploads, such as {example}; {n_several} of "
            f"{len(names_of)} names occur with several prefixes, each of which is a clip of its own. If they are the "
            "same clips, import everything again with --cut-uploads --overwrite"
        )
