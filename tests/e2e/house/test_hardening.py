"""The programs as they are built: what the kernel and the C library can do for them is switched on."""
import glob
import os
import subprocess

import pytest

from daemon import ADAPTERCTL, ADAPTERD, BUILD


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def ordinary_build():
    if "__asan_init" in readelf("--dyn-syms", ADAPTERD) or "__tsan_init" in readelf("--dyn-syms", ADAPTERD):
        pytest.skip("a build with sanitizers has their protection instead")


@pytest.mark.parametrize("program", [ADAPTERD, ADAPTERCTL])
def test_the_programs_are_hardened(program):
    assert "DYN (Position-Independent Executable" in readelf("-h", program) or "Type:                              DYN" in readelf("-h", program)
    headers = readelf("-l", program)
    assert "GNU_RELRO" in headers
    stack = next(line for line in headers.splitlines() if "GNU_STACK" in line)
    assert " RW " in stack and " RWE " not in stack
    assert "BIND_NOW" in readelf("-d", program) or "NOW" in readelf("-d", program)
    symbols = readelf("--dyn-syms", program)
    assert "__stack_chk_fail" in symbols and "_chk@" in symbols
    assert "RPATH" not in readelf("-d", program) and "RUNPATH" not in readelf("-d", program)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="control-flow protection as x86 has it")
@pytest.mark.parametrize("program", [ADAPTERD, ADAPTERCTL])
def test_the_programs_ask_for_a_shadow_stack(program):
    assert "SHSTK" in readelf("-n", program)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="control-flow protection as x86 has it")
def test_every_object_has_control_flow_protection():
    objects = [o for top in ("core", "adapters", "server", "cli", "gen") for o in glob.glob(f"{BUILD}/{top}/**/*.o", recursive=True)]
    assert len(objects) > 100
    lacking = [o for o in objects if not {"IBT", "SHSTK"} <= set(readelf("-n", o).replace(",", " ").split())]
    assert not lacking
