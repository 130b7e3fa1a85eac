"""Another base of the same shape under the same data: what was proved on the one before is refused by name until it is proved anew, the
same files come again, or the old base is back."""
import json
import os
import shutil
import struct

import pytest

from client import read
from daemon import DEMO, model_path
from registry_file import edit
from test_kill import INPUT, Content


def other_base(directory, source="mlp"):
    """The same shapes with other weights: a bit of each is flipped."""
    shutil.copytree(model_path(source), directory)
    path = os.path.join(directory, "model.safetensors")
    content = bytearray(read(path))
    for i in range(8 + struct.unpack("<Q", content[:8])[0] + 2, len(content), 4):
        content[i] ^= 0x40
    with open(path, "wb") as f:
        f.write(content)
    return directory


@pytest.fixture(scope="module")
def contents():
    return [Content(1 + i / 4) for i in range(3)]


def names(client):
    return {a["name"]: a["state"] for a in client.get("/adapters").json["data"]}


def fill(d, contents):
    acme = d.tenant("acme")
    for name, content in zip("ab", contents, strict=False):
        assert acme.upload(config=content.config, weights=content.weights, name=name).status == 201
    return acme, {name: acme.infer(adapter=name, input=INPUT).json["output"] for name in "ab"}


def test_what_was_proved_on_another_base_is_refused_by_name(start, contents, tmp_path):
    d = start("mlp")
    acme, before = fill(d, contents)
    bare = acme.infer(adapter=None, input=INPUT).json["output"]
    version = acme.get("/adapters/a").json["version"]
    d.stop()
    d = start(other_base(tmp_path / "other"), d.data)
    acme = d.client(acme.key)
    assert names(acme) == {"a": "base_changed", "b": "base_changed"}
    assert "adapter a, version sha256:" in d.read_log() and "--accept-base" in d.read_log()
    assert acme.infer(adapter=None, input=INPUT).json["output"] != bare
    for reference in ("a", f"a@{version}", [{"adapter": "a"}, {"adapter": "b"}]):
        answer = acme.infer(adapter=reference, input=INPUT)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "adapter_base_changed", None)
    assert acme.patch("/adapters/a", {"version": version}).code == "adapter_base_changed"
    # A new one is proved on the base that there is, and so is the same content again.
    assert acme.upload(config=contents[2].config, weights=contents[2].weights, name="c").status == 201
    assert acme.infer(adapter="c", input=INPUT).status == 200
    again = acme.upload(config=contents[0].config, weights=contents[0].weights, name="a")
    assert again.status in (200, 201) and again.json["version"] == version
    assert acme.infer(adapter="a", input=INPUT).json["output"] != before["a"]
    assert names(acme) == {"a": "ready", "b": "base_changed", "c": "ready"}
    rows = d.client().get("/audit?limit=1000").json["data"]
    assert any(r["action"] == "adapter.upload" and r["detail"].endswith(", proved anew") for r in rows)
    assert d.client().request("POST", "/fsck").json["ok"]
    d.stop()
    # With the old base back, what was proved on it serves as before; what was proved on the other one does not.
    d = start("mlp", d.data)
    acme = d.client(acme.key)
    assert names(acme) == {"a": "base_changed", "b": "ready", "c": "base_changed"}
    assert acme.infer(adapter="b", input=INPUT).json["output"] == before["b"]


def test_accept_base_proves_all_of_them_once(start, contents, tmp_path):
    d = start("mlp")
    acme, before = fill(d, contents)
    proof = acme.get("/adapters/a").json["versions"][0]["proof"]["max_logit_change"]
    d.stop()
    base = other_base(tmp_path / "other")
    d = start(base, d.data, "--accept-base")
    acme = d.client(acme.key)
    assert names(acme) == {"a": "ready", "b": "ready"}
    after = {name: acme.infer(adapter=name, input=INPUT).json["output"] for name in "ab"}
    assert all(after[name] != before[name] for name in "ab")
    assert acme.get("/adapters/a").json["versions"][0]["proof"]["max_logit_change"] != proof
    rows = [r for r in d.client().get("/audit?limit=1000").json["data"] if r["action"] == "adapter.accept_base"]
    assert [(r["target"], r["actor"]) for r in rows] == [("a", "daemon"), ("b", "daemon")]
    d.stop()
    d = start(base, d.data)  # from now on without the option
    acme = d.client(acme.key)
    assert {name: acme.infer(adapter=name, input=INPUT).json["output"] for name in "ab"} == after


def test_accept_base_refuses_what_does_not_fit(start, contents, tmp_path):
    """One version is damaged: it stays refused, the other is served."""
    d = start("mlp")
    acme, _ = fill(d, contents)
    d.stop()
    for path in d.files():
        full = os.path.join(d.data, path)
        if read(full) == contents[0].weights:
            with open(full, "r+b") as f:
                f.seek(len(contents[0].weights) - 1)
                f.write(b"\x55")
    d = start(other_base(tmp_path / "other"), d.data, "--accept-base")
    acme = d.client(acme.key)
    assert "stays refused" in d.read_log()
    assert names(acme)["b"] == "ready" and names(acme)["a"] == "broken"
    assert acme.infer(adapter="b", input=INPUT).status == 200


def test_the_sample_of_a_proof_is_given_anew(start, tmp_path):
    d = start("demo", None, "--threads", "1")
    acme = d.tenant("acme")
    voice = os.path.join(DEMO, "adapters", sorted(os.listdir(os.path.join(DEMO, "adapters")))[0])
    assert acme.upload(voice, name="a", proof_prompt="Once upon a time").status == 201
    before = acme.get("/adapters/a").json["versions"][0]["proof"]
    d.stop()
    base = tmp_path / "other"
    shutil.copytree(model_path("demo"), base)
    path = base / "model.safetensors"
    raw = bytearray(read(path))
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    first = min(t["data_offsets"][0] for k, t in header.items() if k != "__metadata__")
    raw[8 + struct.unpack("<Q", raw[:8])[0] + first + 1] ^= 0x40
    path.write_bytes(raw)
    d = start(base, d.data, "--threads", "1", "--accept-base")
    after = d.client(acme.key).get("/adapters/a").json["versions"][0]["proof"]
    assert after["sample"]["prompt"] == before["sample"]["prompt"]
    assert after["norm_sum"] == before["norm_sum"] and after["norms"] == before["norms"]


def test_older_data_is_taken_as_proved_on_the_base_that_is_there(start, contents, tmp_path):
    d = start("mlp")
    acme, before = fill(d, contents)
    d.stop()
    assert edit(os.path.join(d.data, "registry.db"), "UPDATE versions SET base = NULL") == [2]
    d = start("mlp", d.data)
    acme = d.client(acme.key)
    assert {name: acme.infer(adapter=name, input=INPUT).json["output"] for name in "ab"} == before
    d.stop()
    d = start(other_base(tmp_path / "other"), d.data)
    assert set(names(d.client(acme.key)).values()) == {"base_changed"}
