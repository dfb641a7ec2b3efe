"""Run a command with an older processor's rounding: ``python tests/tools/rounding.py avx2 pytest -m numeric``.

Libraries choose their instructions by the processor that they find, and a sum in vectors of 16 numbers is rounded in
another way than one in vectors of 4. Each has a variable that makes it leave the newer instructions alone, on Intel's
processors and on AMD's. The libraries themselves are asked whether that is in force: the answer is printed, and the
command is not run if it is not what was asked for.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rounding:
    """The variables of each library; numpy's features to switch off, as a pattern; and how the libraries then answer.

    MKL_ENABLE_INSTRUCTIONS binds MKL on Intel's processors alone, so AVX2 is asked of MKL there alone.
    """

    variables: dict[str, str]
    numpy_without: str
    answers: dict[str, str]
    answers_on_intel: dict[str, str]


ROUNDINGS = {
    "avx2": Rounding(
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
        numpy_without=r"AVX512|AVX10|X86_V4",
        answers={"torch": r"AVX2$", "OpenBLAS": r"Haswell$", "oneDNN": r"AVX2$"},
        answers_on_intel={"MKL": r"\(Intel\(R\) AVX2\) enabled processors"},
    ),
    "plain": Rounding(
        {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
        numpy_without=r".",
        answers={"torch": r"DEFAULT$", "OpenBLAS": r"Nehalem$", "oneDNN": r"SSE4\.1$", "MKL": r"CNR:COMPATIBLE"},
        answers_on_intel={},
    ),
}
# MKL and oneDNN say what they use when they compute and are told to talk.
PROBE = """
import json, threadpoolctl, torch
with torch.no_grad():
    torch.nn.Conv2d(16, 32, 3)(torch.zeros(4, 16, 64, 64))
torch.zeros(64, 64) @ torch.zeros(64, 64)
blas = {one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"}
print(json.dumps({"torch": torch.backends.cpu.get_cpu_capability(), "OpenBLAS": " ".join(sorted(blas))}))
"""


def numpy_features(environment: dict[str, str]) -> list[str]:
    """Return the instructions beyond its baseline that numpy uses in that environment."""
    code = "import json, numpy; print(json.dumps(numpy.show_config(mode='dicts')['SIMD Extensions'].get('found', [])))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def in_force(environment: dict[str, str]) -> dict[str, str]:
    """Return what each library says of the instructions that it uses in that environment."""
    talking = {**environment, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    done = subprocess.run([sys.executable, "-c", PROBE], env=talking, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    found["numpy"] = " ".join(numpy_features(environment)) or "its baseline"
    found["oneDNN"] = "".join(re.findall(r"info,cpu,isa:(.*)", done.stdout))
    brand, deterministic = (re.search(word, done.stdout) for word in (r"64 architecture (.*), Lnx", r"CNR:\w+"))
    found["MKL"] = f"{brand[1] if brand else '?'}, {deterministic[0] if deterministic else '?'}"
    return found


def rounded(name: str) -> dict[str, str]:
    """Return the environment that makes the libraries round so; exit where they do not."""
    rounding = ROUNDINGS[name]
    features = [one for one in numpy_features(dict(os.environ)) if re.search(rounding.numpy_without, one)]
    environment = {**os.environ, **rounding.variables, "NPY_DISABLE_CPU_FEATURES": " ".join(features)}
    found = in_force(environment)
    print(f"rounding {name}: " + "; ".join(f"{library} {found[library]}" for library in sorted(found)), flush=True)
    is_intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    expected = rounding.answers | (rounding.answers_on_intel if is_intel else {})
    wrong = [library for library, pattern in expected.items() if not re.search(pattern, found[library])]
    if found["numpy"] != "its baseline" and re.search(rounding.numpy_without, found["numpy"]):
        wrong.append("numpy")
    if wrong:
        sys.exit(f"the rounding {name} is not in force in {', '.join(wrong)}: see the line above")
    return environment


def main() -> None:
    """Set the variables, check them, and become the command."""
    if len(sys.argv) < 3 or sys.argv[1] not in ROUNDINGS:
        sys.exit(f"usage: {Path(sys.argv[0]).name} {'|'.join(ROUNDINGS)} COMMAND...")
    if platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"):
        sys.exit(f"these roundings are those of x86 processors under Linux; this is {platform.machine()}")
    os.execvpe(sys.argv[2], sys.argv[2:], rounded(sys.argv[1]))


if __name__ == "__main__":
    main()
