"""Wrong uses of every command, as people make them, and the one line that each is answered by.

A row is the command line and a part of its answer: the value found, what was expected, or what to do. What click finds
wrong on the command line has exit code 2, all else 1; nothing is written, and no traceback is shown.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path

import pytest

from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.run import train
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.errors import TrainingError
from tests.model.folders import planted, small_settings, write_clips
from tests.test_docs import all_commands

DEMO_CLIP = Path(__file__).parents[3] / "toolkit" / "demo" / "videos" / "video_0001" / "0001.mp4"
FILES = {
    "notes.txt": "hello\n",
    "broken.json": '[{"id": 1, "annotations": [',
    "text.csv": "video_id,clip_id,text\nv000,0000,A good day.\n",
    "odd.csv": "a;b;c\n1;2;3\n",
    "fake.pkl": "not a pickle",
    "plain.csv": "utterance_id,condition,annotator,value\n"
    + "".join(f"v000$_$0000,AT,r{k},{k % 3 - 1}\n" for k in range(5)),
}

# The command line, and a part of what is said.
USAGE = """
extract | Missing argument 'VIDEOS'
extract clip.mp4 clip.mp4 | unexpected extra argument
extract clip.mp4 --modalities audio,video | 'video' is not one of text, audio, vision
extract clip.mp4 --preset chsims | 'chsims' is not one of 'ch-sims', 'mosi'
extract clip.mp4 --workers 0 | 0 is not in the range x>=1
extract clip.mp4 --lambda -1 | -1.0 is not in the range x>=0
extract clip.mp4 --engine spark | 'spark' is not one of 'local', 'ray'
extract clip.mp4 --lengths 39/400 | '39/400' is not text/audio/vision in steps, such as 39/400/55
extract clip.mp4 --max-length short | 'short' is not a number of steps, such as 600 or vision=600
extract clip.mp4 --min-face 0 | 0 is not in the range x>=12
extract clip.mp4 --transcript text.csv | Did you mean one of: '--transcribe', '--transcribe-logprob', '--transcripts'
pad features --lambda two | 'two' is not a valid float range
curate features --crop-speaker crops | --crop-speaker and --videos go together
align features | give either --words, which says when words are spoken, or --aligner
annotation import nosuch.json -o r.parquet | 'nosuch.json' does not exist
annotation import plain.csv | Missing option '--out' / '-o'
annotation import plain.csv -o r.csv | let its name end in .parquet
annotation import plain.csv -o empty | 'empty' is a directory
annotation import plain.csv -o r.parquet --raters nosuch.csv | 'nosuch.csv' does not exist
annotation aggregate ratings.parquet -o l.csv | let its name end in .parquet
annotation aggregate ratings.parquet -o l.parquet --panel-size 0 | 0 is not in the range x>=1
annotation aggregate ratings.parquet -o l.parquet --also dawid | 'dawid' is not one of 'evaluator_weighted', 'dawid_skene'
annotation agreement ratings.parquet --bootstrap 0 | 0 is not in the range x>=1
annotation publish features/labels.parquet -o rel | Missing argument 'RATINGS'
annotation publish features/labels.parquet ratings.parquet -o notes.txt | 'notes.txt' is a file
annotation status | Missing option '--url'
annotation prepare nosuch -o stimuli | 'nosuch' does not exist
annotation agregate ratings.parquet | Did you mean 'aggregate'?
dataset export features -o out.csv | let its name end in .pkl
train features --model bert | 'bert' is not one of 'bc-lstm'
train features --seeds 0 | 0 is not in the range x>=1
train features --modalities T A | unexpected extra argument (A)
train features --seed 1 | Did you mean one of: '--seeds'
train features --bimodal none | 'none' is not one of 'auto', 'labels', 'multimodal', 'mean-unimodal'
train features --jobs -1 | -1 is not in the range x>=0
evaluate | Missing argument 'RUN'
evaluate run --split dev | 'dev' is not one of 'train', 'valid', 'test'
evaluate run --noise loud | 'loud' is not a valid float range
evaluate run --ensemble --drop A | leave out --drop and --noise
predict run | Missing argument 'SOURCE'
cases run --limit 0 | 0 is not in the range x>=1
cases run --sort worst | 'worst' is not one of 'disagreement', 'error', 'id'
report | Missing argument 'PATHS...'
report features --embed-mb -1 | -1.0 is not in the range x>=0
benchmark features --models | Option '--models' requires an argument
benchmark features --variant fixed | 'fixed' is not one of 'published', 'corrected'
tune features --trials 0 | 0 is not in the range x>=1
ablate features --model x | 'x' is not one of 'bc-lstm'
doctor now | unexpected extra argument (now)
trian features | Did you mean 'train'?
--versoin | Did you mean '--version'?
"""  # noqa: E501 - a row is a line
ERRORS = """
extract nosuch.mp4 -o f | nosuch.mp4 does not exist; give a video, a folder of videos or a table with a path column
extract empty -o f | no video in empty; expected files such as clip.mp4
extract notes.txt -o f | notes.txt does not end as a video does; give a video
extract text.csv -o f | without it, --modalities text encodes a table of transcripts
extract empty -o empty | name another, such as empty/features
extract clip.mp4 -o f --openface nosuch/ | --openface nosuch/: expected a folder of OpenFace CSVs, 'auto' or 'none'
extract clip.mp4 -o f --transcripts nosuch.csv | cannot read nosuch.csv: No such file or directory
extract clip.mp4 -o f --transcripts odd.csv | odd.csv names no clip: its columns are 'a', 'b', 'c'
extract clip.mp4 -o f --exclude nosuch.csv | cannot read nosuch.csv: No such file or directory
extract clip.mp4 -o f --audio egmaps | 'egmaps' is not one of the audio sets: compare, egemaps
extract clip.mp4 -o f --vision csv:nosuch | nosuch is not a folder; expected one with a table for each clip
extract clip.mp4 -o f --transcribe whisper | expected hf:NAME or hf:FOLDER of a Whisper
extract clip.mp4 -o f --device gpu | 'gpu' is not a device; use cpu, cuda or cuda:1
extract clip.mp4 -o f --lengths-from train | give --transcripts with a column mode or split
extract clip.mp4 -o f --add --audio egemaps | --add: f has no run.json; run the same command without --add first
pad run | run is not a features folder: it has no manifest.parquet; make one with `fmltk extract`
curate nosuch | nosuch is not a features folder
curate features -o features | a folder lies there; name a file, such as one in it
align features --words nosuch | cannot read nosuch: No such file or directory
align features --words text.csv | 'A good day.' is more than one word; expected the time of each word
align features --aligner mfa | unknown aligner 'mfa'; expected pocketsphinx, or hf:FOLDER
annotation import broken.json -o r.parquet | broken.json is not a whole JSON export: the file ends inside a value
annotation import notes.txt -o r.parquet | notes.txt is neither an export nor a table of ratings
annotation import features/labels.parquet -o r.parquet | is a table of labels; give the ratings that `fmltk annotation import` wrote
annotation import plain.csv -o r.parquet --condition TX | 'TX' is not a condition; expected some of M,T,A,V,AT,VT,AV
annotation import plain.csv -o r.parquet --scale 1-5 | scale '1-5' is not LOW..HIGH in whole numbers
annotation import plain.csv -o r.parquet --scale QQ=-1..1 | names no condition; expected one of M, T, A, V
annotation import plain.csv -o r.parquet --time-zone Beijing | 'Beijing' is not a time zone, such as Asia/Shanghai
annotation import plain.csv -o r.parquet --label Good | 'Good' is not WORD=VALUE with a whole number
annotation import plain.csv -o r.parquet --raters odd.csv | odd.csv needs the columns id and rater
annotation aggregate -o l.parquet | give RATINGS, --labels label.csv, or both
annotation aggregate features/labels.parquet -o l.parquet | is a table of labels; give the ratings
annotation aggregate plain.csv -o l.parquet | plain.csv is not Parquet: `fmltk annotation import plain.csv
annotation aggregate ratings.parquet -o ratings.parquet | would be written over what is read from it; give another --out
annotation aggregate ratings.parquet -o l.parquet --panel most | 'most' is neither strict nor at-least-N, such as at-least-3
annotation aggregate ratings.parquet -o l.parquet --panel at-least-9 | at least 9 ratings of a panel of 5 cannot be; see --panel-size
annotation aggregate ratings.parquet -o l.parquet --dimension joy | no rating is of the dimension 'joy'
annotation aggregate ratings.parquet -o l.parquet --adjudicator zoe | 'zoe' is not among the annotators: r0, r1
annotation aggregate ratings.parquet -o l.parquet --replacement r0 | 'r0' is not OLD=NEW with two annotators
annotation aggregate ratings.parquet -o l.parquet --split given | or draw one with --split video
annotation agreement plain.csv | plain.csv is not Parquet: `fmltk annotation import plain.csv
annotation summary ratings.parquet | is a table of ratings: `fmltk annotation aggregate ratings.parquet
annotation summary text.csv | text.csv has no column of labels; expected label
annotation publish ratings.parquet features/labels.parquet -o rel | is a table of ratings: `fmltk annotation aggregate
annotation publish features/labels.parquet ratings.parquet -o rel --date 27.11.2026 | is not a day; expected one such as 2026-11-27
annotation publish features/labels.parquet ratings.parquet -o . | lies in ., which is written to be published
annotation push empty --url http://127.0.0.1:9 | make it with `fmltk annotation prepare`
annotation status --url localhost:8080 | 'localhost:8080' is not the address of a server; expected http(s)://host:port
annotation pull --url http://127.0.0.1:9 -o r.parquet | is Label Studio running there?
annotation prepare empty -o stimuli | no video in empty
annotation prepare clip.mp4 -o stimuli --conditions AT,XY | 'XY' is not a condition
annotation prepare clip.mp4 -o features | features is a feature folder; stimuli have a folder of their own
dataset import nosuch.pkl -o f | cannot read nosuch.pkl: No such file or directory
dataset import fake.pkl -o f | fake.pkl is not a pickle of protocol 2 or later; expected an MMSA file (.pkl)
dataset import ratings.parquet -o f | ratings.parquet lacks the columns label, text, audio, vision
dataset import features -o f | features is a folder; give an MMSA pickle (.pkl) or a Parquet table
dataset export empty -o out.pkl | labels.parquet is not in empty or next to it; name a table of labels with --labels
dataset check features --labels nosuch.parquet | cannot read nosuch.parquet: No such file or directory
dataset encode-text run | expected a folder that `fmltk dataset import` wrote
train nosuch | nosuch is not a folder; name what `fmltk extract` or `fmltk dataset import` wrote
train features --labels ratings.parquet | is a table of ratings: `fmltk annotation aggregate ratings.parquet
train features --preset mosi | fmlmsn has no preset 'mosi'; the nearest is 'mosi-aligned'
train features --set lr | 'lr' is not KEY=VALUE, such as lr=0.002
train features --set lr=fast | lr is 'fast'; it must be a number
train features --set learning_rate=0.1 | no setting 'learning_rate'; the nearest is 'lr'
train features --set batch_size=4 | no setting 'batch_size'; the nearest is 'bs'
train features --set Epochs=4 | no setting 'Epochs'; the nearest is 'max_epochs'
train features --set bs=0 | bs is 0; it must be a whole number of 1 or more
train features --stages AX | fmlmsn has no stage 'AX'; its stages: AV, AT, VT, fusion
train features --device gpu | 'gpu' is not a device; use cpu, cuda or cuda:1
train features --modalities X | 'X' is not one of T, A, V (text, audio, vision)
train features --config nosuch.toml | cannot read nosuch.toml: No such file or directory
train features --config notes.txt | notes.txt is not TOML
train features --reuse run | --reuse needs --stages fusion (train only the fusion) or --retrain auto
train features --variant corrected | fmlmsn does not have it: leave it out
train features --align ctc | --align is of mctn, raven; fmlmsn does not have it
train features --text-model minilm | fmlmsn trains no text model; leave out --text-model
train features --use text.bert | features has no text.bert features (it has: text, audio, vision)
train features --exclude odd.csv | odd.csv names no clip
train features -o features | a run has a folder of its own: choose another -o
evaluate features | features is a feature folder, not a run folder; `fmltk train features` makes one of it
evaluate run --drop X | 'X' is not one of T, A, V
compare run | compare needs a run, and one or more runs or predictions files
compare run plain.csv | a predictions file has the columns utterance_id (or video_id and clip_id) and prediction
predict run nosuch | nosuch does not exist; name a feature folder, a video or a folder of videos
predict features run | features is a feature folder, not a run folder
predict run features -o scores.xlsx | scores.xlsx must end in .csv, .json, .parquet
predict run features --seed 7 | run has no seed 7; its seeds: 0
cases nosuch | nosuch is not a run folder
report nosuch | nosuch does not exist; name feature folders, ratings, labels or runs
report empty | neither a feature folder, ratings.parquet, labels.parquet
report run -o empty | a folder lies there; name a file, such as one in it
report run --videos nosuch | --videos nosuch does not exist; give the folder that `fmltk extract` read
benchmark features --models lfdnn | 'lfdnn' is not a model; the nearest is 'lf-dnn'
benchmark features --cv 5 | '5' is not video:K with K of 2 or more, such as video:5
benchmark features --config lmf | 'lmf' is not MODEL=FILE, such as fmlmsn=tuned.toml
benchmark features -o features | a benchmark has a folder of its own: choose another -o
tune features --space nosuch.toml | cannot read nosuch.toml: No such file or directory
tune features -o features | a search has a folder of its own: choose another -o
ablate run | labels.parquet is not in run or next to it
demo -o notes.txt | a file lies where a folder was expected
demo -o features | features is a feature folder; the demo has a folder of its own
"""  # noqa: E501 - a row is a line


def rows(table: str) -> list[tuple[str, str]]:
    pairs = [line.split(" | ") for line in table.strip().splitlines()]
    return [(command, said) for command, said in pairs]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What people have: features with labels, a run, ratings, a clip, and files that are something else."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "empty").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    shutil.copy(DEMO_CLIP, folder / "clip.mp4")
    features = write_clips(planted(60, n_videos=10), folder / "features")
    config = load_config("ch-sims", settings=small_settings("max_epochs=2"))
    with contextlib.suppress(TrainingError):  # two epochs may teach nothing; the run's files are kept
        train(features, out=folder / "run", config=config, options=RunOptions(jobs=0))
    with pytest.raises(SystemExit):
        main(["annotation", "import", str(folder / "plain.csv"), "-o", str(folder / "ratings.parquet"), "--quiet"])
    return folder


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock"}


def answer(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, list[str]]:
    """Run a command; return its exit code and what it says on stderr, with nothing on stdout."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(command))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return caught.value.code, captured.err.splitlines()


@pytest.mark.parametrize(("command", "said"), rows(USAGE))
def test_a_wrong_command_line_is_answered_by_what_is_right(
    command: str, said: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    code, lines = answer(command, capsys)
    assert code == 2
    assert lines[-1].startswith("Error: ")
    assert said in lines[-1]


@pytest.mark.parametrize(("command", "said"), rows(ERRORS))
def test_a_wrong_input_is_one_line_and_changes_nothing(
    command: str, said: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    before = contents(place)
    code, lines = answer(command, capsys)
    assert code == 1
    assert [line for line in lines if line.startswith("Error: ")] == lines[-1:]
    assert said in lines[-1]
    assert {name for name in contents(place) - before if (place / name).is_file()} == set()


def test_the_table_has_every_command() -> None:
    commands = [f"{command} " for command, _ in (*rows(USAGE), *rows(ERRORS))]
    assert len(commands) > 150
    assert [name for name, _ in all_commands() if not any(one.startswith(f"{name} ") for one in commands)] == []
