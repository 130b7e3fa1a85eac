"""Adapters by what they were trained for (task_type): names of tensors, what is refused."""
import json
import os
import struct

import pytest

from client import read
from daemon import FIXTURES, Daemon, model_path


def directory(model, name):
    return os.path.join(FIXTURES, "tasks", model, name)


def edited(path, rename=lambda name: name, drop=(), **changes):
    """(config, weights) of an adapter with other names of tensors, without those that end like `drop`, and with other fields (None:
    without) in its config."""
    config = json.loads(read(os.path.join(path, "adapter_config.json")))
    config.update(changes)
    config = {k: v for k, v in config.items() if v is not None}
    raw = read(os.path.join(path, "adapter_model.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    kept, out = b"", {}
    for name, entry in sorted(header.items()):
        if not name.endswith(tuple(drop)):
            begin, end = entry["data_offsets"]
            out[rename(name)] = {**entry, "data_offsets": [len(kept), len(kept) + end - begin]}
            kept += data[begin:end]
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    return json.dumps(config).encode(), struct.pack("<Q", len(text)) + text + kept


def upload(tenant, name, path, **edits):
    config, weights = edited(path, **edits)
    return tenant.upload(config=config, weights=weights, name=name)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    daemon = Daemon(model_path("qwen3"), tmp_path_factory.mktemp("tasks") / "data", "--precision", "exact", "--threads", "1")
    yield daemon.tenant("tasks")
    daemon.stop()


def headed(name):
    return name.replace("base_model.model.", "base_model.model.model.")


def test_the_network_with_and_without_its_head_is_one(qwen3):
    """The same numbers under the names that AutoModel and AutoModelForCausalLM give them."""
    bare = directory("qwen3", "bare-r4")
    assert upload(qwen3, "bare", bare).status == 201
    assert upload(qwen3, "headed", bare, rename=headed).status == 201
    one, other = (qwen3.infer(adapter=name, tokens=[5, 6, 7], max_tokens=3, logprobs=2).json for name in ("bare", "headed"))
    assert one["logprobs"] == other["logprobs"]
    base = qwen3.infer(tokens=[5, 6, 7], max_tokens=3, logprobs=2).json
    assert base["logprobs"] != one["logprobs"]


@pytest.mark.parametrize("edits, code, word", [
    ({"target_modules": ["nothing"]}, "adapter_unknown_module", "nothing"),
    ({"target_modules": "model\\..*"}, "adapter_unknown_module", "targets no module"),  # there is nothing of that name in it
    ({"target_modules": ["q_proj"]}, "adapter_unexpected_tensor", "base_model.model.layers.0.self_attn.k_proj"),
    ({"drop": ["layers.1.self_attn.q_proj.lora_B.weight"]}, "adapter_missing_tensor", "base_model.model.layers.1.self_attn.q_proj.lora_B"),
    ({"rename": lambda n: n.replace("layers.0.self_attn.q_proj.lora_A", "lm_head.lora_A")}, "adapter_unknown_module", "lm_head"),
    ({"rename": lambda n: headed(n) if "layers.0" in n else n}, "adapter_unknown_module", "base_model.model.layers.1"),
    ({"rename": lambda n: n.replace("layers.0", "layers.9")}, "adapter_unknown_module", "layers.9"),
])
def test_what_does_not_fit_is_named_as_the_file_has_it(qwen3, edits, code, word):
    answer = upload(qwen3, "bad", directory("qwen3", "bare-r4"), **edits)
    assert (answer.status, answer.code) == (422, code) and word in answer.json["error"]["message"], answer


def test_patterns_speak_of_the_names_in_the_file(qwen3):
    """An expression for whole paths is one for paths without "model."."""
    bare = directory("qwen3", "bare-r4")
    assert upload(qwen3, "pattern", bare, target_modules="layers\\.\\d+\\.self_attn\\.[qkvo]_proj").status == 201
    assert upload(qwen3, "ranks", bare, rank_pattern={"layers.0.self_attn.q_proj": 4}).status == 201


def test_trained_biases_of_networks_without_the_head(start):
    """phi's lm_head has a bias, which is no part of what these were trained on; the numbers are those of transformers and PEFT."""
    tenant = start("phi", None, "--precision", "exact", "--threads", "1").tenant("biases")
    for name in ("bare-biases", "labels-biases"):
        assert tenant.upload(directory("phi", name), name=name).status == 201
    text = [5, 9, 100, 7]
    vector = tenant.post("/v1/embeddings", {"model": "bare-biases", "input": text, "pooling": "last", "normalize": False}).json["data"][0]["embedding"]
    assert vector[:4] == pytest.approx([0.995136, -0.69398, -0.948375, 0.853422], abs=1e-4)
    labels = tenant.post("/classify", {"adapter": "labels-biases", "input": text, "logits": True}).json["data"][0]
    assert labels["logits"] == pytest.approx([0.463009, -0.391528], abs=1e-4)
