"""What shows an adapter's effect: the norms of its updates, and a sample answer of the base against it."""
import array
import json
import math
import os
import struct

import pytest

from client import read
from daemon import DEMO
from fixtures import adapter
from registry_file import edit
from names import CONFIG, Names, weights

VOICE, MASK = (os.path.join(DEMO, "adapters", name) for name in ("voice", "mask"))
PROMPT = "Once upon a time"


# ---- norms ----

def tensors(directory):
    """Name -> (shape, numbers) of an F32 file."""
    raw = read(os.path.join(directory, "adapter_model.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    assert all(entry["dtype"] == "F32" for entry in header.values())
    return {name: (entry["shape"], array.array("f", data[slice(*entry["data_offsets"])])) for name, entry in header.items()}


def product_norm(a, b):
    """Frobenius norm of B A, as it is defined: every element of the product."""
    (rank, width), x = a
    (height, _), y = b
    columns = [[x[k * width + j] for k in range(rank)] for j in range(width)]
    return math.sqrt(math.fsum(math.fsum(map(float.__mul__, row, column)) ** 2
                               for row in (y[i * rank : (i + 1) * rank].tolist() for i in range(height)) for column in columns))


def expected_norms(directory):
    """Largest first; for configurations without patterns."""
    config, found = json.loads(read(os.path.join(directory, "adapter_config.json"))), tensors(directory)
    assert not config.get("rank_pattern") and not config.get("alpha_pattern")
    scale = config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])
    norms = {}
    for a, b in (("lora_A.weight", "lora_B.weight"), ("lora_embedding_A", "lora_embedding_B")):
        for name in found:
            if name.endswith(a):
                module = name.removeprefix("base_model.model.").removesuffix("." + a)
                norms[module] = scale * product_norm(found[name], found[name.removesuffix(a) + b])
    return sorted(norms.items(), key=lambda item: -item[1])


def check_norms(found, expected):
    assert [n["module"] for n in found] == [module for module, _ in expected]
    assert [n["norm"] for n in found] == pytest.approx([norm for _, norm in expected], rel=1e-6)


CASES = [("mlp", "r4"), ("mlp", "head"), ("llama", "dora"), ("llama", "embed"), ("llama", "rslora"), ("llama", "lm-head"),
         ("llama", "r24-odd"), ("gpt2", "r8-conv1d"), ("llama", "save-only-attn-norm")]


@pytest.mark.parametrize("model, name", CASES)
def test_the_norms_are_those_of_the_products(start, model, name):
    d = start(model, None, "--threads", "1")
    client = d.tenant("acme")
    up = client.upload(adapter(model, name), name="a").json
    expected = expected_norms(adapter(model, name))
    check_norms(up["proof"]["norms"], expected[:10])
    shown = client.get("/adapters/a").json["versions"][0]
    assert shown["proof"] == up["proof"]
    one = client.get(f"/adapters/a/versions/{up['version']}")
    assert one.status == 200 and one.headers["X-Adapter-Version"] == up["version"]
    check_norms(one.json["proof"]["norms"], expected)
    assert {**one.json, "proof": None} == {**shown, "proof": None}
    assert one.json["proof"]["norm_count"] == len(expected) == up["proof"]["norm_count"]
    assert one.json["proof"]["norm_sum"] == pytest.approx(sum(norm for _, norm in expected), rel=1e-6)
    assert up["proof"]["sample"] is None


def test_each_version_has_its_own(mlp):
    names = Names(mlp.tenant("own"), count=0)
    one, four = names.upload(1), names.upload(2)  # A and B twice as large
    sums = [v["proof"]["norm_sum"] for v in names.show()["versions"]]
    assert sums[0] == pytest.approx(4 * sums[1], rel=1e-6)
    assert names.client.delete(f"/adapters/a/versions/{one}").status == 204
    assert names.client.get(f"/adapters/a/versions/{one}").code == "version_not_found"
    assert [v["proof"]["norm_sum"] for v in names.show()["versions"]] == sums[:1]
    assert names.client.get(f"/adapters/a/versions/{four[7:17]}").json["version"] == four


@pytest.mark.parametrize("path, status, code", [
    ("/adapters/a/versions/0000", 404, "version_not_found"), ("/adapters/b/versions/0000", 404, "adapter_not_found"),
    ("/adapters/a/versions/zz", 404, "version_not_found"), ("/adapters/a/versions/ZZ", 404, "not_found"), ("/adapters/a/versions/0000?norms=all", 400, "unknown_parameter"),
])
def test_versions_that_are_not_there(mlp, path, status, code):
    client = mlp.tenant(f"none-{status}-{code.replace('_', '-')}-{len(path)}-{path[10]}-{path[-1].lower()}")
    assert client.upload(config=CONFIG, weights=weights(1), name="a").status == 201
    answer = client.get(path)
    assert (answer.status, answer.code) == (status, code)


def test_what_is_older_than_the_norms_has_none_until_its_proof_is_renewed(start):
    """An upgraded database has versions without them; they are shown as not known."""
    d = start("mlp")
    client = d.tenant("acme")
    version = client.upload(config=CONFIG, weights=weights(1), name="a").json["version"]
    d.stop()
    assert edit(os.path.join(d.data, "registry.db"), "DELETE FROM proofs") == [1]
    d = start("mlp", d.data)
    proof = d.client(client.key).get(f"/adapters/a/versions/{version}").json["proof"]
    assert [proof[k] for k in ("norms", "norm_sum", "norm_count", "sample")] == 4 * [None]
    assert proof["max_logit_change"] > 0


# ---- the sample ----

def test_a_sample_is_what_the_base_and_the_adapter_answer(daemon):
    client = daemon.tenant("sample")
    up = client.upload(VOICE, name="a", proof_prompt=PROMPT)
    assert up.status == 201
    sample = up.json["proof"]["sample"]
    answers = {key: client.infer(adapter=name, prompt=PROMPT, max_tokens=32).json["text"]
               for key, name in (("base", None), ("adapter", "a"))}
    assert sample == {"prompt": PROMPT, **answers} and answers["base"] != answers["adapter"] and answers["adapter"]
    assert client.get("/adapters/a").json["versions"][0]["proof"]["sample"] == sample
    assert client.get(f"/adapters/a/versions/{up.json['version']}").json["proof"]["sample"] == sample
    # The same content again: another prompt takes the place of the first one, none leaves it.
    other = client.upload(VOICE, name="a", proof_prompt="The fox \u00e9 \U0001f98a\n")
    assert other.status == 200 and other.json["proof"]["sample"]["prompt"] == "The fox \u00e9 \U0001f98a\n"
    assert client.upload(VOICE, name="a").json["proof"] == other.json["proof"]
    assert [v["proof"]["sample"] for v in client.get("/adapters/a").json["versions"]] == [other.json["proof"]["sample"]]
    rows = [r["action"] for r in daemon.client().get("/audit", tenant="sample").json["data"]]
    assert rows[-2:] == ["adapter.upload", "adapter.sample"]


def test_samples_survive_a_crash_and_a_repair(start):
    d = start()
    client = d.tenant("acme")
    up = client.upload(MASK, name="a", proof_prompt=PROMPT).json
    weights_file = client.get("/adapters/a").json["versions"][0]["files"][1]["sha256"]
    d.kill()
    os.unlink(os.path.join(d.data, "blobs", "sha256", weights_file[:2], weights_file))
    d = start("demo", d.data)
    client = d.client(client.key)
    shown = client.get("/adapters/a").json["versions"][0]
    assert shown["state"] == "broken" and shown["proof"] == up["proof"]
    assert client.upload(MASK, name="a").json["proof"] == up["proof"]
    assert client.get("/adapters/a").json["versions"][0]["state"] == "ready"


@pytest.mark.parametrize("prompt, code", [
    ("", "invalid_part"), (4097 * "x", "invalid_part"), ("a\0b", "invalid_part"), (b"\xff\xfe", "invalid_utf8"),
])
def test_prompts_that_are_refused(daemon, prompt, code):
    client = daemon.tenant(f"refused-{len(prompt)}")
    answer = client.upload(VOICE, name="a", proof_prompt=prompt)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, "proof_prompt"), answer
    assert client.get("/adapters").json["data"] == []


def test_the_longest_prompt(daemon):
    client = daemon.tenant("longest")
    prompt = (4096 // 6) * "hello " + "helo"
    answer = client.upload(VOICE, name="a", proof_prompt=prompt)
    if answer.status == 201:
        assert answer.json["proof"]["sample"]["prompt"] == prompt
    else:  # longer than the context of the base
        assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "prompt_too_long", "proof_prompt")
        assert client.get("/adapters").json["data"] == []


def test_a_model_of_numbers_answers_no_prompts(mlp):
    client = mlp.tenant("numbers")
    answer = client.upload(config=CONFIG, weights=weights(1), name="a", proof_prompt=PROMPT)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "input_unsupported", "proof_prompt")
    assert client.get("/adapters").json["data"] == []


def test_adapterctl_asks_for_samples_and_shows_proofs(ctl, daemon):
    client = daemon.tenant("ctl")
    done = ctl(daemon, "adapters", "upload", VOICE, "--proof-prompt", PROMPT, key=client.key)
    assert done.status == 0 and "proof: sum of norms" in done.out and "proof: the adapter answers" in done.out, done
    shown = client.get("/adapters/voice").json["versions"][0]
    done = ctl(daemon, "adapters", "show", "voice", key=client.key)
    assert done.status == 0 and "NORM SUM" in done.out and f"  prompt   {PROMPT}\n" in done.out, done
    done = ctl(daemon, "adapters", "show", "voice@" + shown["version"][7:17], key=client.key)
    assert done.status == 0 and len(done.out.split("\n\n")[0].splitlines()) == 1 + shown["proof"]["norm_count"], done
    done = ctl(daemon, "--json", "adapters", "show", "voice@" + shown["version"], key=client.key)
    assert json.loads(done.out)["proof"]["sample"] == shown["proof"]["sample"]
    assert client.upload(MASK, name="mask").status == 201
    assert "SAMPLE" not in ctl(daemon, "adapters", "show", "mask", key=client.key).out
    assert ctl(daemon, "adapters", "show", "voice@0000", key=client.key).status != 0
