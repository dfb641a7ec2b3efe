from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import pytest

from fmltk.toolkit.errors import ConfigError, ProcessError
from fmltk.toolkit.media.process import FFMPEG_VARIABLE, find_ffmpeg, run_program
from fmltk.toolkit.media.program import Program, stderr_tail
from tests.processes import LIMIT_S, is_alive, wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SHELL = shutil.which("sh") or "/bin/sh"


def test_output_and_stderr_are_returned() -> None:
    result = run_program([SHELL, "-c", "printf out; printf err >&2"], timeout_s=LIMIT_S, what="sh")
    assert result.stdout == b"out"
    assert result.stderr == "err"


def test_arguments_are_never_read_by_a_shell(tmp_path: Path) -> None:
    text = f"$(touch {tmp_path}/made); `id` 'q' \"d\" *"
    assert run_program(["echo", text], timeout_s=LIMIT_S, what="echo").stdout.decode() == text + "\n"
    assert not (tmp_path / "made").exists()


def test_a_program_reads_no_stdin() -> None:
    assert run_program(["cat"], timeout_s=LIMIT_S, what="cat").stdout == b""


def test_each_run_has_a_folder_of_its_own_that_is_removed() -> None:
    folders = {run_program(["pwd"], timeout_s=LIMIT_S, what="pwd").stdout.decode().strip() for _ in range(2)}
    assert len(folders) == 2
    assert not any(Path(folder).exists() for folder in folders)


def test_a_failure_says_the_status_and_the_last_lines() -> None:
    script = "for i in 1 2 3 4 5; do echo line $i >&2; done; exit 7"
    with pytest.raises(ProcessError, match=r"^the script ended with status 7; it said: line 3 \| line 4 \| line 5$"):
        run_program([SHELL, "-c", script], timeout_s=LIMIT_S, what="the script")


def test_a_failure_says_the_same_on_every_run(tmp_path: Path) -> None:
    script = f'echo "[mov @ 0x$$abc] pid $$ in $PWD/x of {tmp_path}/clip.mp4" >&2; exit 1'
    messages = set()
    for _ in range(3):
        with pytest.raises(ProcessError) as caught:
            run_program([SHELL, "-c", script], timeout_s=LIMIT_S, what="x", hide=[tmp_path])
        messages.add(str(caught.value))
    assert messages == {"x ended with status 1; it said: [mov] pid PID in x of clip.mp4"}


def test_a_killed_program_names_the_signal() -> None:
    with pytest.raises(ProcessError, match="was killed by SIGSEGV"):
        run_program([SHELL, "-c", "kill -SEGV $$"], timeout_s=LIMIT_S, what="sh")


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(ProcessError, match="no-such-program"):
        run_program(["no-such-program"], timeout_s=LIMIT_S, what="it")


@linux
def test_a_hung_program_and_its_children_are_killed_in_time(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = f"sleep 3600 & echo $! $$ > {note}; wait"
    with pytest.raises(ProcessError, match="did not end within 5 s and was stopped"):
        run_program([SHELL, "-c", script], timeout_s=5, what="sh")
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in note.read_text().split()))


def test_a_program_that_closes_its_pipes_and_hangs_is_stopped() -> None:
    with pytest.raises(ProcessError, match="did not end within 5 s"):
        run_program([SHELL, "-c", "exec >&- 2>&-; exec sleep 3600"], timeout_s=5, what="sh")


def test_a_hung_writer_does_not_hang_its_reader() -> None:
    with Program([SHELL, "-c", "printf abc; exec sleep 3600"], timeout_s=5, what="sh") as program:
        assert program.read(3) == b"abc"
        with pytest.raises(ProcessError, match="did not end within 5 s"):
            program.read(1)


def test_the_caller_s_own_time_does_not_count() -> None:
    with Program([SHELL, "-c", "printf abc"], timeout_s=1, what="sh") as program:
        assert wait_until(lambda: not is_alive(program.process_id))
        time.sleep(1.5)
        assert program.read(9) == b"abc"
        program.finish()


def test_much_stderr_neither_blocks_nor_is_kept() -> None:
    script = "import sys\nfor i in range(200000): print('complaint', i, file=sys.stderr)\nprint('end')"
    result = run_program([sys.executable, "-c", script], timeout_s=LIMIT_S, what="python")
    assert result.stdout == b"end\n"
    assert len(result.stderr) <= 65_536
    assert result.stderr.endswith("complaint 199999\n")


def test_what_is_written_arrives_whole() -> None:
    data = bytes(range(256)) * 20_000
    with Program(["wc", "-c"], timeout_s=LIMIT_S, what="wc", feed=True) as program:
        assert program.write(memoryview(data))
        program.finish()
    with Program(["true"], timeout_s=LIMIT_S, what="true", feed=True) as program:
        assert not program.write(memoryview(data))


@linux
def test_leaving_early_kills_the_program() -> None:
    with Program(["yes"], timeout_s=LIMIT_S, what="yes") as program:
        assert program.read(4) == b"y\ny\n"
        assert is_alive(program.process_id)
    assert not is_alive(program.process_id)


ORPHAN_MAKER = """
import sys, time
from fmltk.toolkit.media.process import find_ffmpeg, run_program
from fmltk.toolkit.media.program import Program
if sys.argv[1] == "stream":
    argv = [find_ffmpeg().path, "-v", "error", "-f", "lavfi", "-i", "testsrc=s=320x240", "-f", "rawvideo", "pipe:1"]
    with Program(argv, timeout_s=3600, what="ffmpeg") as program:
        program.read(1000)
        print(program.process_id, flush=True)
        time.sleep(3600)
else:
    script = "echo $$ > " + sys.argv[2] + "; exec sleep 3600"
    run_program(["sh", "-c", script], timeout_s=3600, what="sh")
"""


@linux
@pytest.mark.parametrize("kind", ["stream", "run"])
def test_no_program_outlives_a_killed_worker(kind: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    worker = subprocess.Popen([sys.executable, "-c", ORPHAN_MAKER, kind, str(note)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    if kind == "stream":
        process_id = int(worker.stdout.readline())
    else:
        assert wait_until(lambda: note.exists() and note.read_text().strip())
        process_id = int(note.read_text())
    assert is_alive(process_id)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert wait_until(lambda: not is_alive(process_id))


@linux
def test_an_orphan_s_processor_time_is_bounded() -> None:
    script = "ulimit -t"
    limit = int(run_program([SHELL, "-c", script], timeout_s=LIMIT_S, what="sh").stdout)
    assert limit == LIMIT_S * (os.cpu_count() or 1) + 120


def test_the_tail_keeps_the_cause_and_drops_what_follows_from_it() -> None:
    said = (
        "[mjpeg @ 0x5581] bad header\nError while decoding stream #0:0: Invalid data\n"
        "    Last message repeated 24 times\nConversion failed!\n"
    )
    assert stderr_tail(said) == "[mjpeg] bad header"
    assert stderr_tail("Conversion failed!\n") == "Conversion failed!"
    assert stderr_tail("") == ""


def test_ffmpeg_is_taken_from_the_variable_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "my ffmpeg"
    fake.write_text("#!/bin/sh\necho ffmpeg version 7.1-mine Copyright\n")
    fake.chmod(0o755)
    monkeypatch.setenv(FFMPEG_VARIABLE, str(fake))
    assert (find_ffmpeg().path, find_ffmpeg().version) == (str(fake), "7.1-mine")


def test_ffmpeg_comes_from_the_package_where_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FFMPEG_VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    assert find_ffmpeg().path == imageio_ffmpeg.get_ffmpeg_exe()


def test_no_ffmpeg_at_all_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FFMPEG_VARIABLE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"no ffmpeg was found; install it.*fmltk\[ffmpeg\].*FMLTK_FFMPEG"):
        find_ffmpeg()


def test_a_wrong_variable_is_an_error_not_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FFMPEG_VARIABLE, "/no/such/ffmpeg")
    with pytest.raises(ConfigError, match=r"FMLTK_FFMPEG is '/no/such/ffmpeg', which is not a program"):
        find_ffmpeg()
    monkeypatch.setenv(FFMPEG_VARIABLE, "true")
    with pytest.raises(ConfigError, match="is not an ffmpeg"):
        find_ffmpeg()


def test_no_report_file_is_written_by_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/report.log")
    run_program([find_ffmpeg().path, "-version"], timeout_s=LIMIT_S, what="ffmpeg")
    assert list(tmp_path.iterdir()) == []
