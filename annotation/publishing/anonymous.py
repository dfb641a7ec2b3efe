"""Labels and ratings without persons: raters are numbered in an order that a secret draws, and texts are searched."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fmltk.annotation.publishing.origin import policy_of
from fmltk.annotation.ratings import FLAGS, RATINGS_SCHEMA, memory_schema
from fmltk.toolkit.clip import ID_SEPARATOR, reading_order, split_utterance_id, utterance_id
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_table import REQUIRED_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fmltk.toolkit.features.label_table import LabelTable

IDS = ("utterance_id", "video_id", "clip_id")
_EMPTIED = ("created_at", "updated_at", "annotation_id", "edited_by")  # when people worked, and ids of the server
_SOURCE = "release"
_UNKNOWN_RATER = "another person"
_BY = re.compile(r"(adjudicated|ground truth) by (.+)(: [^:]*)")
_PANEL = re.compile(r"the panel: .*")
_INSTEAD = re.compile(r"(.+) (rated instead of) (.+)")
_LEAST_LETTERS = 3  # of a rater's name that is searched for in texts: shorter ones are parts of words
# Texts that may say who somebody is, or let somebody in.
_PERSONAL = {
    "an e-mail address": re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.\w+"),
    "an address of a server": re.compile(r"\w+://|\bwww\.|\blocalhost\b|\b\d{1,3}(?:\.\d{1,3}){3}\b", re.IGNORECASE),
    "a token": re.compile(r"\beyJ[\w-]{8,}|\b[0-9a-f]{40}\b|\b(?:hf|ghp|sk|pat)_\w{16,}|\bsk-\w{16,}", re.IGNORECASE),
}
_PATH = re.compile(r"[/\\]")
_FREE_TEXTS = ("word", "scale", "dimension")  # columns of ratings that may hold anything


def number_raters(names: Iterable[str], salt: bytes) -> dict[str, str]:
    """Return what each rater is called in a release: rater-01, rater-02, in an order that only the salt explains.

    >>> sorted(number_raters(["ann@example.com", "7"], b"salt").values())
    ['rater-1', 'rater-2']
    """

    def drawn(name: str) -> bytes:
        return hmac.new(salt, b"release\0" + name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    ordered = sorted(set(names), key=drawn)
    width = len(str(len(ordered)))
    return {name: f"rater-{number:0{width}d}" for number, name in enumerate(ordered, start=1)}


def number_clips(utterances: Iterable[str], salt: bytes) -> dict[str, str]:
    """Return new ids: videos in an order that the salt draws, the clips of each in the order of their names.

    >>> number_clips(["li/talk$_$b", "li/talk$_$a"], b"salt")
    {'li/talk$_$a': 'video-1$_$1', 'li/talk$_$b': 'video-1$_$2'}
    """
    clips: dict[str, list[str]] = {}
    for name in sorted(set(utterances), key=reading_order):
        clips.setdefault(split_utterance_id(name)[0], []).append(name)
    videos = {name: new.replace("rater", "video") for name, new in number_raters(clips, salt).items()}
    return {
        name: utterance_id(videos[video], f"{number:0{len(str(len(own)))}d}")
        for video, own in clips.items()
        for number, name in enumerate(own, start=1)
    }


@dataclass(frozen=True)
class Anonymous:
    """Turns what one has into what one publishes.

    Attributes
    ----------
    raters
        Each annotator's name in the release, by their own.
    clips
        New utterance ids by old one; none where ids stay.
    """

    raters: Mapping[str, str]
    clips: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _names(self) -> frozenset[str]:
        return spoken_names(self.raters)

    def ratings(self, table: pa.Table) -> pa.Table:
        """Return the ratings as they are published, in memory: the same columns, those about persons empty.

        Raises AnnotationError if a text holds what may say who somebody is.
        """
        columns: dict[str, Any] = {name: table.column(name) for name in RATINGS_SCHEMA.names}
        columns["annotator"] = _renamed(columns["annotator"], self.raters)
        columns["source"] = pa.array([_SOURCE] * len(table), pa.string())
        columns["flags"] = _renamed(columns["flags"], {}, known=FLAGS)
        for name in _EMPTIED:
            columns[name] = pa.nulls(len(table), RATINGS_SCHEMA.field(name).type)
        if self.clips:
            columns |= self._new_ids(columns["utterance_id"])
        for name in (*IDS, *_FREE_TEXTS):
            self._search(name, columns[name].unique().to_pylist(), "RATINGS")
        schema = memory_schema()
        arrays = [
            pa.chunked_array([columns[one.name]]) if isinstance(columns[one.name], pa.Array) else columns[one.name]
            for one in schema
        ]
        encoded = [
            array.dictionary_encode() if pa.types.is_dictionary(one.type) and array.type == pa.string() else array
            for array, one in zip(arrays, schema, strict=True)
        ]
        return pa.table(encoded, names=schema.names).cast(schema)

    def labels(self, labels: LabelTable) -> LabelTable:
        """Return the labels as they are published: notes and policy name raters as the release does.

        Raises AnnotationError if a text holds what may say who somebody is.
        """
        table = labels.table
        for place, one in enumerate(table.schema):
            if one.name.startswith("note_"):
                notes = [None if text is None else self._note(text) for text in table.column(place).to_pylist()]
                table = table.set_column(place, one, pa.array(notes, pa.string()))
        metadata = {key: labels.metadata[key] for key in ("split", "dimension") if key in labels.metadata}
        if policy_of(labels) is not None:
            metadata["policy"] = self._policy(labels.metadata["policy"])
        own = replace(labels, table=table.replace_schema_metadata(None), metadata=metadata, notes=())
        own = _with_used_columns(own.with_ids(self.clips) if self.clips else own)
        for one in own.table.schema:
            if pa.types.is_string(one.type) and not one.name.startswith("note_"):
                self._search(one.name, own.table[one.name].unique().to_pylist(), "LABELS")
        stated = [*map(str, own.scales.values()), str(metadata.get("dimension", "")), str(metadata.get("split", ""))]
        self._search("the metadata", stated, "LABELS")
        return own

    def _new_ids(self, utterances: pa.ChunkedArray) -> dict[str, Any]:
        new = [self.clips[name] for name in utterances.to_pylist()]
        parts = [split_utterance_id(name) for name in new]
        columns = (new, *map(list, zip(*parts, strict=True))) if new else ([], [], [])
        return {name: pa.array(own, pa.string()) for name, own in zip(IDS, columns, strict=True)}

    def _rater(self, name: str) -> str:
        return self.raters.get(name, _UNKNOWN_RATER)

    def _note(self, note: str) -> str:
        """Return a note of `aggregate` with the names of the release."""
        parts = []
        for part in note.split("; "):
            by, instead = _BY.fullmatch(part), _INSTEAD.fullmatch(part)
            self._search("a note", [by[3] if by else part if _PANEL.fullmatch(part) else None], "LABELS")
            if by:
                parts.append(f"{by[1]} by {self._rater(by[2])}{by[3]}")
            elif instead:
                parts.append(f"{self._rater(instead[1])} {instead[2]} {self._rater(instead[3])}")
            elif _PANEL.fullmatch(part):
                parts.append(part)
            else:
                parts.append(f"corrected by {_UNKNOWN_RATER}")
        return "; ".join(parts)

    def _policy(self, policy: Mapping[str, Any]) -> dict[str, Any]:
        named = {
            "adjudicators": [self._rater(str(name)) for name in policy.get("adjudicators") or ()],
            "replacements": [[self._rater(str(name)) for name in pair] for pair in policy.get("replacements") or ()],
        }
        figures = {key: value for key, value in policy.items() if key not in named}
        self._search("the policy", map(str, figures.values()), "LABELS")
        return figures | {key: value for key, value in named.items() if value}

    def _search(self, column: str, texts: Iterable[str | None], table: str) -> None:
        """Raise AnnotationError for the first text that may say who somebody is."""
        is_id = column in IDS
        for text in texts:
            found = personal(text, self._names, is_id=is_id) if text else None
            if found is not None:
                remedy = (
                    "give --new-ids names.csv to publish numbered clips and keep the list of their names"
                    if is_id
                    else f"correct it in {table} first"
                )
                raise AnnotationError(
                    f"{column} {text!r} of {table} holds {found}, which a release must not have; {remedy}"
                )


def personal(text: str, names: Collection[str], *, is_id: bool) -> str | None:
    """Return what a text holds that may say who somebody is, or None.

    names : what `spoken_names` gives of the raters
    is_id : whether it names a clip: then a path is personal too, whose folders are often people's names

    >>> names = spoken_names(["Ann Li"])
    >>> personal("/home/li/talk", names, is_id=True), personal("talk_01", names, is_id=True)
    ('a path', None)
    >>> personal("ann_li says so", names, is_id=False), personal("x@y.org", names, is_id=False)
    ('the name of an annotator', 'an e-mail address')
    """
    for kind, pattern in _PERSONAL.items():
        if pattern.search(text):
            return kind
    if is_id and _PATH.search(text.replace(ID_SEPARATOR, "")):
        return "a path"
    words = f" {_spaced(text)} "
    return "the name of an annotator" if any(f" {name} " in words for name in names) else None


def spoken_names(raters: Iterable[str]) -> frozenset[str]:
    """Return the raters' names that are searched for, in words: an address gives what stands before its @."""
    names = {_spaced(name.partition("@")[0]) for name in raters}
    return frozenset(name for name in names if sum(letter.isalpha() for letter in name) >= _LEAST_LETTERS)


def _spaced(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _with_used_columns(labels: LabelTable) -> LabelTable:
    """Return labels without the columns that say nothing: empty ones, and those of conditions that nobody rated."""
    table = labels.table
    absent = {name for name in CONDITIONS if name not in labels.scales}
    kept = [
        name
        for name in table.column_names
        if name in REQUIRED_COLUMNS or (name.rpartition("_")[2] not in absent and table[name].null_count < len(table))
    ]
    return replace(labels, table=table.select(kept))


def _renamed(column: pa.ChunkedArray, names: Mapping[str, str], *, known: Iterable[str] | None = None) -> pa.Array:
    """Return a column of dictionaries as texts with other names; or with those of their words that are `known`."""
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], column.type)
    words = encoded.dictionary.to_pylist()
    if known is not None:
        kept = set(known)
        names = {text: " ".join(word for word in text.split() if word in kept) for text in words}
    return pa.array([names[word] for word in words], pa.string()).take(encoded.indices)
