"""Every target of fuzzing, for a moment: its corpus, every input that once found something, and what becomes of them when they are
damaged. `make fuzz` goes on for as long as one likes."""
import os
import subprocess
import sys

import pytest

from daemon import BUILD, ROOT

SOURCES = os.path.join(ROOT, "tests", "fuzz")
TARGETS = sorted(name.removesuffix("_fuzz.c") for name in os.listdir(SOURCES) if name.endswith("_fuzz.c"))
RUNS = 4000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    subprocess.run([sys.executable, os.path.join(SOURCES, "collect.py"), str(directory)], check=True)
    return directory


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_does_harm(target, corpus, tmp_path):
    inputs = sorted(os.listdir(corpus / target))
    assert inputs
    done = subprocess.run([os.path.join(BUILD, "tests", "fuzz", f"{target}_fuzz"), f"-runs={RUNS}", "-max_total_time=10", "-seed=1",
                           f"-artifact_prefix={tmp_path}/", str(corpus / target)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(inputs)} inputs of the corpus" in done.stdout


def test_the_driver_tells_what_a_target_dies_of(tmp_path):
    """An input that is not what the target needs it to be: the fixtures are looked for where there are none."""
    (tmp_path / "input").write_bytes(b"{}")
    done = subprocess.run([os.path.abspath(os.path.join(BUILD, "tests", "fuzz", "request_fuzz")), f"-artifact_prefix={tmp_path}/", "input"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "does not hold" in done.stderr and f"the input is in {tmp_path}/crash-request_fuzz" in done.stderr
    assert (tmp_path / "crash-request_fuzz").exists()
