"""The torchvision guard where torchvision is broken, absent and usable; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
ENCODE = """
from fmltk.toolkit.text.bert import TextEncoder
print(TextEncoder("minilm").encode("good film").features.shape)
"""
HIDE = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchvision":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torchvision" else find_spec(name, package)
sys.meta_path.insert(0, Hide())
"""


def python(code: str, *, path: object = None, check: bool = True) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if check:
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()
    return answer.stderr


def stand_in(folder, body: str):
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(f"from torchvision import part\n{body}\n")
    (package / "part.py").write_text("")
    return folder


def test_a_broken_torchvision_breaks_transformers_and_the_guard_mends_it(tmp_path):
    path = stand_in(tmp_path, BROKEN)
    failure = python("from transformers import BertModel", path=path, check=False)
    assert "torchvision" in failure  # the fault is in force
    assert python(ENCODE, path=path) == "(4, 384)"


def test_the_torchvision_of_this_machine_does_no_harm():
    answer = python(
        "from fmltk.toolkit.compat import guard_torchvision; first, again = guard_torchvision(), guard_torchvision();"
        "assert first is again; print(first.value)" + ENCODE
    )
    assert answer.splitlines()[0] in {"usable", "absent", "hidden"}
    assert answer.splitlines()[1] == "(4, 384)"


def test_a_hidden_torchvision_counts_as_absent_and_leaves_nothing_behind(tmp_path):
    code = """
import importlib.util, sys
from fmltk.toolkit.compat import guard_torchvision
print(guard_torchvision().value, guard_torchvision().value, importlib.util.find_spec("torchvision"),
      [name for name in sys.modules if name.startswith("torchvision.")])
try:
    import torchvision
except ModuleNotFoundError:
    print("absent")
"""
    assert python(code, path=stand_in(tmp_path, BROKEN)) == "hidden hidden None []\nabsent"


def test_an_absent_torchvision_is_left_alone():
    code = "import sys; from fmltk.toolkit.compat import guard_torchvision\n"
    code += "print(guard_torchvision().value, 'torchvision' in sys.modules)"
    assert python(HIDE + code + ENCODE) == "absent False\n(4, 384)"


def test_a_usable_torchvision_is_left_alone(tmp_path):
    code = "from fmltk.toolkit.compat import guard_torchvision; print(guard_torchvision().value)\n"
    code += "import torchvision; print(torchvision.works)"
    assert python(code, path=stand_in(tmp_path, "works = 42")) == "usable\n42"


@pytest.mark.parametrize("error", ["ImportError", "OSError", "AttributeError"])
def test_every_way_in_which_a_binary_fails_to_load_is_hidden(tmp_path, error):
    code = "from fmltk.toolkit.compat import guard_torchvision; print(guard_torchvision().value)"
    assert python(code, path=stand_in(tmp_path, f"raise {error}('libcudart.so: cannot open')")) == "hidden"
