"""Each file format has one reader and one writer: no other module calls the libraries that read and write it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PACKAGES = ("toolkit", "annotation", "model")

# Calls by their full name, or a method by its name alone, with the module that owns them.
TABLES, SHEETS, PARQUET, FILES, DOCUMENTS, ENCODINGS = (
    f"toolkit/io/{name}.py" for name in ("tables", "sheets", "parquet", "files", "documents", "encodings")
)
ARROW = "toolkit/io/arrow.py"
TENSORS = "model/tensors.py"
OWNERS = {
    **dict.fromkeys(("csv.reader", "csv.writer", "csv.DictReader", "csv.DictWriter"), TABLES),
    **dict.fromkeys(("pyarrow.csv.open_csv", "pyarrow.csv.read_csv", "pandas.read_csv", ".to_csv"), TABLES),
    **dict.fromkeys(("python_calamine.load_workbook", "pandas.read_excel"), SHEETS),
    "zipfile.ZipFile": "toolkit/io/sheet_archive.py",
    **dict.fromkeys(("numpy.loadtxt", "numpy.genfromtxt", "numpy.savetxt"), TABLES),
    **dict.fromkeys((f"pyarrow.parquet.{name}" for name in ("write_table", "ParquetWriter", "ParquetFile")), PARQUET),
    **dict.fromkeys((f"pyarrow.parquet.{name}" for name in ("read_table", "read_schema", "read_metadata")), PARQUET),
    **dict.fromkeys(("pandas.read_parquet", ".to_parquet"), PARQUET),
    **dict.fromkeys(("pyarrow.ipc.new_file", "pyarrow.ipc.open_file", "pyarrow.feather.read_table"), ARROW),
    **dict.fromkeys(("os.replace", "os.rename", "os.fsync", "os.umask", ".replace(path)", ".rename"), FILES),
    **dict.fromkeys(("tempfile.mkstemp", "tempfile.NamedTemporaryFile"), FILES),
    **dict.fromkeys((".write_bytes", ".write_text", ".open to write", "open"), FILES),
    **dict.fromkeys(("json.load", "json.loads", "json.dump", "json.dumps"), DOCUMENTS),
    **dict.fromkeys(("tomllib.load", "tomllib.loads"), DOCUMENTS),
    **dict.fromkeys(
        ("pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps"), "toolkit/interchange/safe_pickle.py"
    ),
    **dict.fromkeys(("safetensors.safe_open", "safetensors.torch.save", "safetensors.torch.save_file"), TENSORS),
    **dict.fromkeys(("safetensors.torch.load", "safetensors.torch.load_file", "torch.save"), TENSORS),
    "torch.load": "toolkit/vision/mtcnn/networks.py",
    **dict.fromkeys(("numpy.load", "numpy.save", "numpy.savez"), "model/prepared.py"),
    "wave.open": "toolkit/media/audio.py",
    **dict.fromkeys((".read_text", ".open as text", "io.TextIOWrapper", "codecs.getincrementaldecoder"), ENCODINGS),
}
ALLOWED = {
    # toolkit
    ("toolkit/io/tables.py", ".open to write"): "write_csv, below atomic_path",
    ("toolkit/io/tables.py", "json.dumps"): "a JSONL or Parquet value as the text that was written, NaN included",
    ("toolkit/io/standard_streams.py", "io.TextIOWrapper"): "stdout and stderr",
    ("toolkit/io/paths.py", ".write_bytes"): "an object of a store, which the store itself writes whole",
    ("toolkit/io/paths.py", ".open to write"): "a download to a temporary folder",
    ("toolkit/text/plain_bert.py", "safetensors.safe_open"): "a published model's weights; toolkit imports no model",
    ("toolkit/features/shards.py", "json.dumps"): "bytes that shards are named by: the same in every version",
    (
        "toolkit/interchange/mmsa_extras.py",
        "json.dumps",
    ): "cells of mmsa.parquet keep NaN, since the export gives it back",
    ("toolkit/interchange/safe_pickle.py", ".open to write"): "write_pickle, below atomic_path",
    ("toolkit/interchange/pickle_child.py", "json.dumps"): "between two processes, with NaN; not a file",
    ("toolkit/interchange/safe_pickle.py", "json.loads"): "the same answer",
    ("toolkit/media/audio.py", ".open to write"): "sound, written by the module wave, in a temporary folder",
    ("toolkit/machine.py", ".read_text"): "what the kernel says of memory",
    ("toolkit/machine.py", ".write_text"): "what the kernel is asked to count from now on",
    ("toolkit/extractors/catalog.py", "pickle.dumps"): "whether a set can be sent to the workers; nothing is kept",
    ("toolkit/run/inputs.py", ".open to write"): "a clip's face crops, in a temporary folder",
    ("toolkit/report/cases.py", "json.dumps"): "a script element of an HTML page, with escapes of its own",
    ("toolkit/report/render.py", ".read_text"): "the package's own templates",
    ("toolkit/vision/active_speaker/weights.py", "torch.load"): "weights that the user brings, with weights_only",
    # annotation
    ("annotation/json_stream.py", "codecs.getincrementaldecoder"): "a JSON array of any length, element by element",
    ("annotation/importing/import_files.py", ".open to write"): "lines written one by one, below atomic_path",
    ("annotation/labelling/label_studio_client.py", ".open to write"): "a download, below atomic_path",
    ("annotation/labelling/stimuli.py", ".open to write"): "a log: a line is added as soon as a clip is done",
    ("annotation/raters.py", ".read_text"): "the salt: a secret of its user alone, drawn once and never replaced",
    # model
    ("model/commands.py", "json.loads"): "pandas' own JSON, read back for its numbers of 15 digits",
    ("model/config.py", "tomllib.loads"): "a value of the command line, not a file",
    ("model/prepared.py", "json.dumps"): "bytes for a checksum, not a file",
    ("model/stages.py", "json.dumps"): "how far a job is: written again each epoch, and too often for a flushed file",
    ("model/stages.py", ".write_text"): "the same note",
}


def calls_of(source: str) -> Iterator[str]:
    """Yield every call of a module, by its full name, or as `.name` where what it belongs to is not an import."""
    names: dict[str, str] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name.partition(".")[0]: one.name if one.asname else one.name.partition(".")[0]
                      for one in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _names_of(node, names)


def _names_of(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    if isinstance(call.func, ast.Name):
        yield names.get(call.func.id, call.func.id)
        return
    if not isinstance(call.func, ast.Attribute):
        return
    method = call.func.attr
    base = ast.unparse(call.func.value)
    first, _, rest = base.partition(".")
    if first in names:
        yield ".".join(part for part in (names[first], rest, method) if part)
    if method == "replace":
        if len(call.args) == 1 and not call.keywords:  # of a path: a text's takes two, a dataclass's takes keywords
            yield ".replace(path)"
    elif method == "open" and first not in names:
        modes = [ast.unparse(one) for one in (*call.args, *(k.value for k in call.keywords if k.arg == "mode"))]
        if any(mode[:1] in "'\"" and set("wax+") & set(mode[1:-1]) for mode in modes):
            yield ".open to write"
        elif any(keyword.arg == "encoding" for keyword in call.keywords):
            yield ".open as text"
    else:
        yield f".{method}"


def owned_calls() -> set[tuple[str, str]]:
    """Every (module, call) of the three packages that some module owns."""
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = path.relative_to(ROOT).as_posix()
            found |= {(module, call) for call in calls_of(path.read_text(encoding="utf-8")) if call in OWNERS}
    return found


def test_only_the_owner_of_a_format_reads_and_writes_it() -> None:
    foreign = {(module, call) for module, call in owned_calls() if module != OWNERS[call]}
    assert {f"{module} calls {call}; use {OWNERS[call]}" for module, call in foreign - set(ALLOWED)} == set()
    assert set(ALLOWED) - foreign == set(), "an exception that is no longer needed"


def test_nothing_asks_for_the_umask() -> None:
    assert {module for module, call in owned_calls() if call == "os.umask"} == set()


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("import csv\ncsv.reader(file)", "csv.reader"),
        ("from csv import reader as rows\nrows(file)", "csv.reader"),
        ("from pyarrow import csv as arrow\narrow.open_csv(path)", "pyarrow.csv.open_csv"),
        ("import pyarrow.parquet as pq\npq.write_table(table, path)", "pyarrow.parquet.write_table"),
        ("import pyarrow.parquet\npyarrow.parquet.ParquetFile(path)", "pyarrow.parquet.ParquetFile"),
        ("frame.to_csv(path)", ".to_csv"),
        ("temporary.replace(path)", ".replace(path)"),
        ("path.open('wb')", ".open to write"),
        ("path.open(mode='a', encoding='utf-8')", ".open to write"),
        ("path.open(encoding='utf-8')", ".open as text"),
        ("open(path)", "open"),
        ("import json\ndef read():\n    return json.loads(path.read_text())", "json.loads"),
    ],
)
def test_the_walk_sees_a_call_however_it_is_written(source: str, call: str) -> None:
    assert call in OWNERS
    assert call in set(calls_of(source))


def test_the_walk_leaves_other_calls_alone() -> None:
    source = "from dataclasses import replace\n'a'.replace('b', 'c')\nreplace(row, a=1)\npath.open('rb')\nav.open(path)"
    assert set(calls_of(source)).isdisjoint(OWNERS)
