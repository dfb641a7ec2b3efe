"""The contents of text files next to videos: read together, since they tell each other's encoding."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.language_tags import language_of_tag, language_tag
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import FoundEncoding, encoding_of, is_legacy, lines_of, named_codec, read_text
from fmltk.toolkit.io.legacy import codecs_of_language, judge
from fmltk.toolkit.text.language import majority_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmltk.toolkit.catalog.sidecars import Sidecar
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import ReadingOptions

_SAMPLE_BYTES = 2048  # of each file, by which all of them are judged together
_JUDGED_BYTES = 16_384
_SIMPLIFIED, _TRADITIONAL = frozenset(("hans", "cn", "sg")), frozenset(("hant", "tw", "hk", "mo"))


def read_sidecars(
    sidecars: Sequence[Sidecar], reading: ReadingOptions, notes: list[str]
) -> dict[AnyPath, str | ConfigError]:
    """Return the content of each file, or why it cannot be read; which legacy encodings were found goes to `notes`.

    A file that is not Unicode is judged by its own bytes, with the language of its name, of `reading` or of the other
    files in mind. If all such files together are clearly in one encoding, it also settles those too short to tell.
    """
    contents: dict[AnyPath, str | ConfigError] = {}
    unclear: list[Sidecar] = []
    for sidecar in sidecars:
        try:
            if reading.encoding is None and _is_unclear(encoding_of(sidecar.path)):
                unclear.append(sidecar)
            else:
                contents[sidecar.path] = read_text(sidecar.path, encoding=reading.encoding)
        except ConfigError as error:
            contents[sidecar.path] = error
    codecs = _settled(unclear, reading, contents)
    taken: defaultdict[str, list[str]] = defaultdict(list)
    for sidecar in unclear:
        try:
            contents[sidecar.path] = read_text(sidecar.path, encoding=codecs.get(sidecar.path))
        except ConfigError as error:
            contents[sidecar.path] = error
        else:
            taken[codecs[sidecar.path]].append(sidecar.path.name)
    for codec, names in taken.items():
        which = names[0] if len(names) == 1 else f"{len(names)} text files, such as {names[0]},"
        verb = "is" if len(names) == 1 else "are"
        notes.append(f"{which} {verb} read as {named_codec(codec)}; if that is wrong, give --encoding")
    return contents


def _is_unclear(found: FoundEncoding) -> bool:
    return not found.damaged and (found.codec is None or is_legacy(found.codec))


def _settled(
    unclear: Sequence[Sidecar], reading: ReadingOptions, contents: Mapping[AnyPath, str | ConfigError]
) -> dict[AnyPath, str]:
    """Return the codec of each file for which one is clear."""
    if not unclear:
        return {}
    given = _codecs(language_tag(reading.language or "") or "")
    of_set = majority_language(text for text in contents.values() if isinstance(text, str)).language
    likely = given or codecs_of_language(of_set)
    together = judge(_sample(unclear), favoured=likely).codec
    codecs: dict[AnyPath, str] = {}
    for sidecar in unclear:
        named = _codecs(sidecar.tag) or given
        found = encoding_of(sidecar.path, favoured=(named or likely) | ({together} if together else set()))
        if found.codec is None:
            sure = {together} if together in found.candidates else named & {*found.candidates}
            found = FoundEncoding(*sure) if len(sure) == 1 else found
        if found.codec is not None:
            codecs[sidecar.path] = found.codec
    return codecs


def _codecs(tag: str) -> frozenset[str]:
    """Return the legacy encodings of a language tag; of Chinese, those of the writing that it names."""
    parts = {*tag.split("-")}
    other = "gb18030" if parts & _TRADITIONAL else "big5hkscs" if parts & _SIMPLIFIED else ""
    return codecs_of_language(language_of_tag(tag)) - {other}


def _sample(sidecars: Iterable[Sidecar]) -> bytes:
    sample = b""
    for sidecar in sidecars:
        sample += lines_of(sidecar.path, most=_SAMPLE_BYTES) + b"\n"
        if len(sample) > _JUDGED_BYTES:
            break
    return sample
