"""tests/run.sh counts what the programs under it report, and takes a crash, a hang or silence for a failure."""
import os
import subprocess

import pytest

from client import SCALE
from daemon import ROOT

GOOD = "echo '[==========] 3 test(s) run.'; echo '[  PASSED  ] 3 test(s).'"
BAD = "echo '[  PASSED  ] 2 test(s).'; echo '[  FAILED  ] 1 test(s), listed below:'; echo '[  FAILED  ] one'; exit 1"
SKIPS = "echo 'skipped: no such folder'; echo '[  PASSED  ] 1 test(s).'; echo '[  SKIPPED ] 2 test(s), listed below:'"
CRASHES = "echo '[ RUN      ] one'; kill -SEGV $$"
SILENT = "exit 0"


@pytest.mark.parametrize("programs, last, status", [
    ([GOOD], "3 passed, 0 failed", 0),
    ([GOOD, GOOD], "6 passed, 0 failed", 0),
    ([GOOD, BAD], "5 passed, 1 failed", 1),
    ([GOOD, SKIPS], "4 passed, 0 failed, 2 skipped", 0),
    ([CRASHES, GOOD], "3 passed, 1 failed", 1),
    ([SILENT, GOOD], "3 passed, 1 failed", 1),
])
def test_counts(tmp_path, programs, last, status):
    paths = []
    for i, text in enumerate(programs):
        paths.append(tmp_path / f"{i}_test")
        paths[-1].write_text("#!/bin/bash\n" + text + "\n")
        paths[-1].chmod(0o755)
    done = subprocess.run(["tests/run.sh", str(tmp_path), *map(str, paths)], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "NO_E2E": "1"}, timeout=60 * SCALE)
    assert done.stdout.splitlines()[-1] == last, done
    assert done.returncode == status
