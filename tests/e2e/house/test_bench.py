"""The benchmark programs run: tiny random models that open, tables, a page with plots. What they measure is not looked at."""
import json
import os
import subprocess

import pytest

from daemon import BUILD, ROOT

ENVIRONMENT = {**os.environ, "BUILD": BUILD}


def program(name):
    return os.path.join(BUILD, "bench", name)


def run(*command, status=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A random model and an adapter for it, at the places where the scripts look for them."""
    directory = tmp_path_factory.mktemp("bench")
    run(program("make_model"), "--shape", "tiny", "--out", directory / "model", "--adapter", directory / "adapter", "--rank", 4)
    return directory


def test_engine_measures_a_random_model_with_an_adapter(made):
    text = run(program("engine"), "--model", made / "model", "--adapter", made / "adapter", "--quick", "--repeats", 1, "--sections",
               "prefill,adapters,cold")
    for title in ("Prefill of one sequence", "Decode with adapters", "A cold adapter"):
        assert f"### {title}" in text
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| all different")]
    assert len(rows) == 4 and all(float(row[3]) > 0 for row in rows)


def test_kernels_measures_every_family_of_this_cpu(made):
    text = run(program("kernels"), "--shape", "tiny", "--quick", "--tokens", "1,3")
    assert "| plain " in text and "lowrank_expand" in text and "attention, a page by" in text


def test_accuracy_finds_exact_equal_to_itself(made):
    text = run(program("accuracy"), "--model", made / "model", "--sample", 2)
    exact = next(line.split("|") for line in text.splitlines() if "| exact |" in " ".join(line.split()))
    assert exact[6].strip() == "+0.000 %" and exact[7].strip() == "100.00 %"


def test_structured_measures_schemas_streams_and_answers():
    text = run(os.path.join(ROOT, "bench", "structured"), "--schemas", 10, "--rounds", 1)
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for cells in (line.split("|") for line in text.splitlines()) if len(cells) > 3}
    assert 0 < float(rows["of 4096 bytes: compiled"][3]) < 1000 and float(rows["tokens/s"][1]) > 0
    assert rows["answers that are those of 8 requests with the same seeds"][0] == "8"
    assert int(rows["prompt tokens computed for n = 8, the last page again for each"][0]) <= 724


def test_packed_weights_cost_the_demo_little():
    """int8 loses at most half a percent of perplexity, int4 at most 3 %."""
    text = run(os.path.join(ROOT, "bench", "accuracy"), "--messages", 1)
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    lost = {(row[1], row[2]): float(row[6].rstrip(" %")) for row in rows if len(row) == 9 and row[2] in ("int8", "int4")}
    assert len(lost) == 2 * 4
    for (adapter, precision), percent in lost.items():
        assert percent <= {"int8": 0.5, "int4": 3}[precision], (adapter, precision)


def test_registered_counts_cold_adapters(made):
    text = run(program("registered"), "--directory", made, "--adapters", 20, "--tenants", 3)
    assert "20 registered adapters of 3 tenants" in text


def test_gguf_holds_all_tensors(made):
    run(program("make_gguf"), "--shape", "tiny", "--out", made / "m.gguf", "--adapter", made / "a.gguf", "--rank", 4)
    model, adapter = (made / "m.gguf").read_bytes(), (made / "a.gguf").read_bytes()
    assert model[:8] == b"GGUF\x03\0\0\0" and adapter[:8] == model[:8]
    assert int.from_bytes(model[8:16], "little") == 2 + 2 * 12  # embedding and norm; of each layer 7 matrices, 3 biases, 2 norms
    assert int.from_bytes(adapter[8:16], "little") == 2 * 14


def test_streams_over_http_are_counted(made):
    text = run(os.path.join(ROOT, "bench", "load"), "--shape", "tiny", "--directory", made, "--clients", 2, "--repeats", 1, "--tokens", 8)
    assert "### Streams over HTTP" in text and "### A cold adapter of " in text and "| cold " in text and "| warm " in text


def test_streams_says_what_the_server_refused(daemon):
    request = {"path": "/nowhere", "body": {}, "label": "x"}
    done = subprocess.run([program("streams"), "--address", daemon.address], input=json.dumps(request) + "\n", capture_output=True,
                          text=True, timeout=60)
    result = json.loads(done.stdout)
    assert result["status"] in (401, 404) and result["at_ms"] == [] and "HTTP 4" in result["error"]


@pytest.mark.parametrize("name, arguments, message", [
    ("make_model", ["--shape", "none", "--out", "x"], "--shape none"),
    ("make_model", ["--shape", "tiny", "--vocab", "100", "--out", "x"], "--vocab 100"),
    ("engine", [], "--model DIR"),
    ("engine", ["--model", "/nonexistent", "--precision", "int9"], "--precision int9"),
    ("accuracy", ["--model", "x"], "--texts"),
])
def test_wrong_options_are_named(name, arguments, message):
    assert message in run(program(name), *arguments, status=1)
