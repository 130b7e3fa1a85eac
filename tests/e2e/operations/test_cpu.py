"""Which CPUs: instructions that an old one lacks stand in one folder alone, so that it is told what is missing."""
import os
import re
import shutil
import subprocess

import pytest

from daemon import ADAPTERD, BUILD, model_path

EMULATOR = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
# What AVX, AVX2, FMA, F16C, BMI and later brought: vector instructions begin with v, and these do not.
LATER = re.compile(r"\t(v(?!err|erw|mcall)[a-z0-9]+|tile\w+|ldtilecfg|tdp\w+|mulx|shlx|shrx|sarx|rorx|pdep|pext|bzhi|andn|bls[a-z]+)\b")


def objects():
    for top in ("core", "adapters", "server", "cli", "gen"):
        for directory, _, names in os.walk(os.path.join(BUILD, top)):
            yield from (os.path.join(directory, name) for name in names if name.endswith(".o"))


def later_instructions(path):
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True).stdout
    return sorted(set(LATER.findall(listing)))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about x86-64")
def test_instructions_of_later_cpus_stand_in_one_folder():
    folder = os.path.join(BUILD, "core", "kernels", "x86") + os.sep
    inside = [path for path in objects() if path.startswith(folder)]
    outside = [path for path in objects() if not path.startswith(folder)]
    assert len(inside) >= 5 and len(outside) > 100
    assert all(later_instructions(path) for path in inside), "the search finds nothing where there is something"
    found = {path: some for path in outside if (some := later_instructions(path))}
    assert not found


def sanitized():
    return subprocess.run(["grep", "-qE", "__(asan|tsan)_init", ADAPTERD], check=False).returncode == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about x86-64")
@pytest.mark.skipif(not EMULATOR, reason="qemu-user is not installed: no CPU without AVX at hand")
def test_a_cpu_without_avx_is_told_so(tmp_path):
    if sanitized():
        pytest.skip("sanitizers do not run under qemu-user")
    command = [EMULATOR, "-cpu", "Nehalem", ADAPTERD, "--model", model_path("demo"), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == "adapterd: this CPU lacks AVX2, FMA or F16C (x86-64-v3), which adapterd needs\n"
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["", "avx3", "AVX2"])
def test_kernels_that_do_not_exist_are_refused(tmp_path, name):
    command = [ADAPTERD, "--model", model_path("demo"), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "ADAPTERD_KERNELS": name})
    assert done.returncode == 1
    assert done.stderr == f"adapterd: ADAPTERD_KERNELS={name}: no such kernels on this CPU\n"
