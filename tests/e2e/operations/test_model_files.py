"""The base's files under the daemon: what is changed is seen at the next start, what is cut short ends no process."""
import json
import os
import shutil
import struct
import time

import pytest

from daemon import model_path
from fixtures import adapter

PROMPT = [1, 100, 101, 102, 33, 250, 101]


@pytest.fixture
def model(tmp_path):
    """A copy of the fixture that may be changed, old enough for its digest to be remembered."""
    copy = shutil.copytree(model_path("llama"), tmp_path / "model")
    time.sleep(3.1)
    return copy


def place_of(path, name):
    """(begin, end) of a tensor's bytes, and bytes of one number."""
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        entry = json.loads(f.read(length))[name]
    begin, end = entry["data_offsets"]
    return 8 + length + begin, 8 + length + end, 4 if entry["dtype"] == "F32" else 2


def change_rows(path, name, rows, columns):
    """Exchange the signs of these rows; size and time of the last writing stay what they were."""
    begin, _, size = place_of(path, name)
    before = os.stat(path)
    with open(path, "r+b") as f:
        for row in rows:
            f.seek(begin + row * columns * size)
            data = bytearray(f.read(columns * size))
            for at in range(size - 1, len(data), size):
                data[at] ^= 0x80
            f.seek(begin + row * columns * size)
            f.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def logprobs(daemon, name):
    answer = daemon.tenant(name).post("/infer", {"adapter": None, "tokens": PROMPT, "max_tokens": 0, "prompt_logprobs": True})
    assert answer.status == 200, answer
    return [p["logprob"] for p in answer.json["prompt_logprobs"][1:]]


@pytest.mark.parametrize("precision", ["int8", "exact"])
def test_changed_weights_are_served_at_the_next_start(start, model, tmp_path, precision):
    config = json.loads((model / "config.json").read_text())
    first = start(str(model), tmp_path / "data", "--precision", precision)
    before, fingerprint = logprobs(first, "a"), first.anonymous().get("/version").json["fingerprint"]
    assert [n for n in os.listdir(tmp_path / "data" / "packed") if n.endswith(".digest")]
    first.stop()
    change_rows(model / "model.safetensors", "model.embed_tokens.weight", [100, 101, 102], config["hidden_size"])
    second, anew = (start(str(model), tmp_path / data, "--precision", precision) for data in ("data", "other"))
    after = logprobs(second, "b")
    assert after == logprobs(anew, "b") != before
    assert second.anonymous().get("/version").json["fingerprint"] == anew.anonymous().get("/version").json["fingerprint"] != fingerprint


def test_an_unchanged_model_keeps_its_packed_weights(start, model, tmp_path):
    first = start(str(model), tmp_path / "data")
    before = logprobs(first, "a")
    assert "packed and kept in the cache" in first.read_log()
    first.stop()
    shutil.move(model, tmp_path / "moved")  # the memory of its digest is by place; the packed weights are by content
    for place in (tmp_path / "moved", tmp_path / "moved"):
        d = start(str(place), tmp_path / "data")
        assert "read from the cache" in d.read_log()
        assert logprobs(d, f"t{d.process.pid}") == before
        d.stop()


@pytest.mark.parametrize("precision", ["exact", "int8", "int4"])
def test_files_that_are_cut_short_end_nothing(start, model, tmp_path, precision):
    d = start(str(model), tmp_path / "data", "--precision", precision)
    before, tenant = logprobs(d, "a"), d.tenant("acme")
    assert tenant.upload(adapter("llama", "dora"), name="early").status == 201
    os.truncate(model / "model.safetensors", 1000)
    assert logprobs(d, "b") == before
    assert tenant.upload(adapter("llama", "r8-all"), name="late").status == 201
    for name in ("early", "late"):
        assert tenant.post("/infer", {"adapter": name, "tokens": PROMPT, "max_tokens": 2}).status == 200
    saved = tenant.upload(adapter("llama", "save-head"), name="saved")  # is compared with the base's own head, as it is stored
    if precision == "exact":
        assert saved.status == 201
    else:
        assert saved.status == 500 and saved.code == "io_error" and "model.safetensors has changed" in saved.json["error"]["message"]
    assert logprobs(d, "c") == before
    d.stop()
