"""croissant.json: a release described for programs, in JSON-LD.

Source: Croissant format specification 1.0, MLCommons, http://mlcommons.org/croissant/1.0.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fmltk.annotation.publishing.terms import Terms

_VERSION = "http://mlcommons.org/croissant/1.0"
# The terms that the specification asks every document to define.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
            *("repeated", "replace", "separator", "source", "subField", "transform"),
        )
    },
}
_FORMATS = {".parquet": "application/x-parquet", ".csv": "text/csv"}


def croissant(folder: Path, tables: Mapping[str, pa.Schema], terms: Terms) -> dict[str, Any]:
    """Return the document of a release.

    folder : holds NAME.parquet and NAME.csv of each of `tables`
    """
    optional = {
        "license": terms.licence,
        "url": terms.address,
        "citeAs": terms.citation,
        "datePublished": terms.date,
        "creator": [{"@type": "Person", "name": name} for name in terms.creators],
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": terms.title,
        "description": terms.description or terms.title,
        "version": terms.version,
        **{name: value for name, value in optional.items() if value},
        "distribution": [_file(folder / f"{name}{ending}") for name in tables for ending in _FORMATS],
        "recordSet": [_record_set(name, schema) for name, schema in tables.items()],
    }


def _file(path: Path) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": _FORMATS[path.suffix],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _record_set(name: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{one.name}",
            "name": one.name,
            "dataType": _data_type(one.type),
            "source": {"fileObject": {"@id": f"{name}.parquet"}, "extract": {"column": one.name}},
        }
        for one in schema
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _data_type(type_: pa.DataType) -> str:
    if pa.types.is_integer(type_):
        return "sc:Integer"
    if pa.types.is_timestamp(type_):
        return "sc:DateTime"
    return "sc:Float" if pa.types.is_floating(type_) else "sc:Text"
