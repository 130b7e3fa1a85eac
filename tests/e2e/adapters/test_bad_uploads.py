"""Uploads that must be refused: each with its status and code, and nothing is left of it."""
import glob
import json
import os
import subprocess
import sys

import pytest

from client import SCALE, eventually, form_body, read
from daemon import FIXTURES, ROOT, Daemon, model_path
from fixtures import adapter

# What does not get through the door at all, whatever is in it.
TOO_LARGE = {"config-huge": (413, ["body_too_large"])}
GROWTH_MAX = 8 << 20


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    d = Daemon(model_path("llama"), tmp_path_factory.mktemp("bad") / "data")
    yield d
    d.stop()


@pytest.fixture(scope="module")
def tenant(llama):
    t = llama.tenant("bad")
    assert t.upload(adapter("llama", "r8-all"), name="good").status == 201
    return t


def made(directory):
    """The cases of tests/fixtures/make_bad.py, made from a good adapter."""
    subprocess.run([sys.executable, os.path.join(FIXTURES, "make_bad.py"), adapter("llama", "r8-all"), directory], check=True)
    return directory, json.loads(read(os.path.join(directory, "cases.json")))


def kept():
    """Cases that somebody keeps beside the checkout, in some */fixtures/bad."""
    places = sorted(glob.glob(os.path.join(os.path.dirname(ROOT), "*", "fixtures", "bad", "cases.json")))
    if not places:
        pytest.skip("no directory fixtures/bad beside the checkout")
    # Their "dir" is relative to fixtures.
    return os.path.dirname(os.path.dirname(places[0])), json.loads(read(places[0]))


def refuse_all(tenant, directory, cases):
    """The cases that were not answered as they should be."""
    wrong = []
    for case in cases:
        assert case["base"] == "llama"
        answer = tenant.upload(os.path.join(directory, case["dir"]), name="bad-one")
        error = answer.json.get("error", {})
        status, codes = TOO_LARGE.get(case["dir"], (case["status"], case["code"]))
        if answer.status != status or answer.code not in codes or not error.get("message"):
            wrong.append(f"{case['dir']} ({case['why']}): expected {status} {codes}, found {answer}")
    return wrong


def everything_left(d, tenant):
    return d.files(), tenant.get("/adapters").json["data"], d.descriptors()


@pytest.mark.parametrize("source", [made, kept])
def test_refused_and_nothing_is_left(llama, tenant, source, tmp_path):
    directory, cases = source(tmp_path) if source is made else source()
    assert len(cases) >= 60
    before = everything_left(llama, tenant)
    assert refuse_all(tenant, directory, cases) == []
    eventually(lambda: everything_left(llama, tenant) == before)

    # Again and again, and memory stays where it is. A sanitizer keeps freed memory back.
    memory = llama.memory()
    assert refuse_all(tenant, directory, cases) == []
    eventually(lambda: everything_left(llama, tenant) == before)
    assert llama.memory() - memory < GROWTH_MAX or SCALE != 1

    answer = tenant.infer(adapter="good", prompt="still here", max_tokens=4)
    assert answer.status == 200 and answer.json["usage"]["completion_tokens"] <= 4


def test_what_is_refused_leaves_the_name_as_it_was(llama, tenant):
    """A bad second version of a name: the first one stays active."""
    before = tenant.get("/adapters/good").json
    config = read(os.path.join(adapter("llama", "r8-all"), "adapter_config.json"))
    answer = tenant.upload(config=config, weights=b"\x00" * 64, name="good")
    assert (answer.status, answer.code) == (422, "safetensors_malformed")
    assert tenant.get("/adapters/good").json == before


def test_an_adapter_of_another_base(llama, tenant):
    answer = tenant.upload(adapter("gpt2", "r8-conv1d"), name="other")
    assert answer.status == 422
    assert answer.code in ("adapter_unknown_module", "adapter_wrong_base")
    assert tenant.get("/adapters/other").status == 404


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.PT", "x.pkl"])
def test_a_pickle_is_refused_by_its_name(llama, tenant, name):
    good = adapter("llama", "r8-all")
    body, kind = form_body([("name", "pickled", None),
                            ("config", read(os.path.join(good, "adapter_config.json")), "adapter_config.json"),
                            ("weights", read(os.path.join(good, "adapter_model.safetensors")), name)])
    answer = tenant.request("POST", "/adapters", body, {"Content-Type": kind})
    assert (answer.status, answer.code) == (422, "pickle_refused")
    assert "safetensors" in answer.json["error"]["message"]
