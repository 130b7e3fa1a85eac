"""LoRA adapters in GGUF: the same content as PEFT's files has the same version and the same answers, and hostile files are
refused by name."""
import json
import os
import struct

import pytest

from client import form_body, read
from daemon import Daemon, model_path
from fixtures import adapter, cases
from gguf import ALIGNMENT, F32, STRING, TYPES, U32, Tensor, file, from_peft, load, pair, pairs, tensors_of, text

# Model, architecture, rows of a head where q and k are permuted, adapters whose scale is alpha / rank everywhere.
MODELS = [
    ("llama", "llama", 8, ["r8-all", "r8-all-bf16", "r8-all-f16", "r4-qv", "r1-q", "r24-odd", "r64-all", "lm-head", "embed",
                           "layers"]),
    ("llama3-rope", "llama", 32, ["r8-all"]),
    ("mistral", "llama", 16, ["r8-all"]),
    ("qwen2", "qwen2", None, ["r8-all", "tied-head", "tied-embed"]),
    ("qwen3", "qwen3", None, ["r8-all"]),
    ("gpt2", "gpt2", None, ["r4-attn", "r8-conv1d", "wte"]),
]


def upload(client, content, **fields):
    body, kind = form_body([*((k, v, None) for k, v in fields.items()), ("weights", content, "adapter.gguf")])
    return client.request("POST", "/adapters", body, {"Content-Type": kind})


@pytest.mark.parametrize("model, architecture, head, names", MODELS, ids=lambda x: x if isinstance(x, str) else "")
def test_the_same_adapter_in_both_formats(model, architecture, head, names, tmp_path):
    config = json.loads(read(os.path.join(model_path(model), "config.json")))
    if head:
        assert head == config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    d = Daemon(model_path(model), tmp_path / "data", "--precision", "exact", "--threads", "1")
    peft, gguf = d.tenant("peft"), d.tenant("gguf")
    checked = 0
    for name in names:
        first = peft.upload(adapter(model, name), name=name)
        second = upload(gguf, from_peft(model, name, architecture, head), name=name)
        assert first.status == 201 and second.status == 201, (first, second)
        one, two = ({k: v for k, v in a.json.items() if k != "tenant"} for a in (first, second))
        one.pop("bytes"), two.pop("bytes")  # the header of the weights is not the same
        assert one == two, name
        for case in (c for c in cases(model) if c["adapter"] == name):
            request = {"adapter": name, "tokens": case["prompt_tokens"], "max_tokens": 16, "ignore_eos": True, "logprobs": 5}
            answers = [c.infer(**request).json for c in (peft, gguf)]
            assert answers[0]["logprobs"] == answers[1]["logprobs"] and answers[0]["tokens"] == answers[1]["tokens"]
            if case["smallest_top2_gap"] > 1e-3:
                assert answers[1]["tokens"] == case["greedy_16"]
                checked += 1
    assert checked >= len(names)
    # After a restart they are read from what was stored.
    d.stop()
    d = Daemon(model_path(model), d.data, "--precision", "exact", "--threads", "1")
    again = d.client(gguf.key).infer(**request).json
    assert again["logprobs"] == answers[1]["logprobs"]
    d.stop()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    d = Daemon(model_path("llama"), tmp_path_factory.mktemp("gguf") / "data", "--threads", "1")
    yield d.tenant("acme")
    d.stop()


def good():
    return tensors_of(adapter("llama", "r4-qv"), 8)


def test_without_an_alpha_the_scale_is_one(llama):
    """As llama.cpp has it; ranks may differ from tensor to tensor."""
    first = upload(llama, file(pairs("llama", 0), good()), name="no-alpha")
    assert first.status == 201, first
    config = load(adapter("llama", "r4-qv"))[1]
    config["lora_alpha"] = config["r"]
    weights = read(os.path.join(adapter("llama", "r4-qv"), "adapter_model.safetensors"))
    second = llama.upload(config=json.dumps(config).encode(), weights=weights, name="no-alpha")
    assert second.status == 200 and second.json["version"] == first.json["version"], second
    mixed = {t.name: t for t in good()}
    for t in tensors_of(adapter("llama", "r24-odd"), 8):
        mixed.setdefault(t.name, t)
    answer = upload(llama, file(pairs("llama", 0), list(mixed.values())), name="mixed")
    assert answer.status == 201 and answer.json["rank_max"] == 24, answer
    answer = upload(llama, file(pairs("llama", 12), list(mixed.values())), name="mixed")
    assert answer.status == 201 and answer.json["rank_max"] == 24, answer


def test_what_may_differ(llama):
    """Other alignments, version 2, words for people, a vector for a rank of 1, no padding at the end."""
    version = upload(llama, file(pairs("llama", 16), good()), name="differ").json["version"]
    other = [
        file(pairs("llama", 16, pair("general.alignment", U32, struct.pack("<I", 64))), good(), alignment=64),
        file(pairs("llama", 16), good(), version=2),
        file(pairs("llama", 16, pair("adapter.lora.task_name", STRING, text("sort"))), good()),
        file(pairs("llama", 16), good()[::-1]),
    ]
    for content in other:
        answer = upload(llama, content, name="differ")
        assert answer.status == 200 and answer.json["version"] == version, answer
    one = tensors_of(adapter("llama", "r1-q"), 8)
    one[0].dims = one[0].dims[:1] if one[0].dims[1] == 1 else one[0].dims
    content = file(pairs("llama", 2), one)
    padding = -len(one[-1].data) % ALIGNMENT
    answer = upload(llama, content[: len(content) - padding] if padding else content, name="vector")
    assert answer.status == 201, answer


def change(index=0, **fields):
    """The good tensors with one changed."""
    tensors = good()
    for name, value in fields.items():
        setattr(tensors[index], name, value)
    return tensors


def nan():
    tensors = good()
    tensors[0].data = struct.pack("<f", float("nan")) + tensors[0].data[4:]
    return tensors


def raw_pairs(*replaced):
    """The good pairs with others in the place of those of the same key."""
    def key(p):
        return p[8 : 8 + struct.unpack("<Q", p[:8])[0]]
    mine = {key(p): p for p in replaced}
    return [mine.get(key(p), p) for p in pairs("llama", 16)]


def cut(content, count):
    return content[:-count]


GOOD = pairs("llama", 16)
WHOLE = file(GOOD, good())
BAD = {
    "version 1": (file(GOOD, good(), version=1), "gguf_malformed"),
    "big-endian": (file(GOOD, good(), version=0x03000000), "gguf_malformed"),
    "only a mark": (b"GGUF", "gguf_malformed"),
    "cut in the counts": (WHOLE[:20], "gguf_malformed"),
    "cut in the keys": (WHOLE[:100], "gguf_malformed"),
    "cut in the data": (cut(WHOLE, ALIGNMENT + 1), "gguf_malformed"),
    "bytes behind the data": (WHOLE + bytes(64), "gguf_malformed"),
    "too many tensors": (WHOLE[:8] + struct.pack("<Q", 1 << 40) + WHOLE[16:], "gguf_malformed"),
    "too many keys": (WHOLE[:16] + struct.pack("<Q", 1 << 40) + WHOLE[24:], "gguf_malformed"),
    "a key twice": (file(GOOD + GOOD[:1], good()), "gguf_malformed"),
    "a key without end": (file([struct.pack("<Q", 1 << 62)], good()), "gguf_malformed"),
    "an empty key": (file(GOOD + [pair("", U32, bytes(4))], good()), "gguf_malformed"),
    "a type of value that is none": (file(GOOD + [pair("x", 13, bytes(8))], good()), "gguf_malformed"),
    "an endless array": (file(GOOD + [pair("x", 9, struct.pack("<IQ", 8, 1 << 60))], good()), "gguf_malformed"),
    "an array of arrays": (file(GOOD + [pair("x", 9, struct.pack("<IQ", 9, 1))], good()), "gguf_malformed"),
    "a number as architecture": (file(raw_pairs(pair("general.architecture", U32, bytes(4))), good()), "gguf_malformed"),
    "a long architecture": (file(raw_pairs(pair("general.architecture", STRING, text("x" * 64))), good()), "gguf_malformed"),
    "alpha as text": (file(raw_pairs(pair("adapter.lora.alpha", STRING, text("16"))), good()), "gguf_malformed"),
    "alpha infinite": (file(raw_pairs(pair("adapter.lora.alpha", F32, struct.pack("<f", float("inf")))), good()),
                       "adapter_not_finite"),
    "alignment 0": (file(GOOD + [pair("general.alignment", U32, bytes(4))], good()), "gguf_malformed"),
    "alignment 48": (file(GOOD + [pair("general.alignment", U32, struct.pack("<I", 48))], good()), "gguf_malformed"),
    "a model": (file(raw_pairs(pair("general.type", STRING, text("model"))), good()), "adapter_unsupported_type"),
    "a control vector": (file(raw_pairs(pair("adapter.type", STRING, text("control"))), good()), "adapter_unsupported_type"),
    "no type": (file(GOOD[:1] + GOOD[2:], good()), "adapter_unsupported_type"),
    "another architecture": (file(raw_pairs(pair("general.architecture", STRING, text("qwen2"))), good()), "adapter_wrong_base"),
    "activated LoRA": (file(GOOD + [pair("adapter.alora.invocation_tokens", 9, struct.pack("<IQI", 4, 1, 7))], good()),
                       "adapter_unsupported_feature"),
    "no tensors": (file(GOOD, []), "adapter_missing_tensor"),
    "more tensors than modules": (file(GOOD, [Tensor(f"x{i}", [1, 1], 0, bytes(4)) for i in range(200)]),
                                  "adapter_unexpected_tensor"),
    "lora_b missing": (file(GOOD, good()[:1]), "adapter_missing_tensor"),
    "a tensor twice": (file(GOOD, good() + good()[:1]), "adapter_unexpected_tensor"),
    "an unknown module": (file(GOOD, change(name="blk.0.attn_norm.weight.lora_a")), "adapter_unknown_module"),
    "a layer beyond": (file(GOOD, change(name="blk.99.attn_q.weight.lora_a")), "adapter_unknown_module"),
    "a layer with a zero before": (file(GOOD, change(name="blk.00.attn_q.weight.lora_a")), "adapter_unknown_module"),
    "a layer below": (file(GOOD, change(name="blk.-1.output.weight.lora_a")), "adapter_unknown_module"),
    "no layer": (file(GOOD, change(name="attn_q.weight.lora_a")), "adapter_unknown_module"),
    "a layer of the head": (file(GOOD, change(name="blk.0.output.weight.lora_a")), "adapter_unknown_module"),
    "a whole tensor": (file(GOOD, change(name="blk.0.attn_norm.weight")), "adapter_unexpected_tensor"),
    "lora_c": (file(GOOD, change(name="blk.0.attn_q.weight.lora_c")), "adapter_unexpected_tensor"),
    "an empty name": (file(GOOD, change(name="")), "adapter_unexpected_tensor"),
    "a long name": (file(GOOD, change(name="x" * 64)), "gguf_malformed"),
    "a NUL in a name": (file(GOOD, change(name="blk.0\0")), "gguf_malformed"),
    "no dimensions": (file(GOOD, change(dims=[])), "gguf_malformed"),
    "five dimensions": (file(GOOD, change(dims=[64, 4, 1, 1, 1])), "gguf_malformed"),
    "three dimensions": (file(GOOD, change(dims=[32, 4, 2])), "gguf_malformed"),
    "a dimension of 0": (file(GOOD, change(dims=[64, 0])), "gguf_malformed"),
    "dimensions that overflow": (file(GOOD, change(dims=[1 << 32, 1 << 32])), "gguf_malformed"),
    "huge dimensions": (file(GOOD, change(dims=[1 << 63, 2])), "gguf_malformed"),
    "the wrong way round": (file(GOOD, change(dims=[4, 64])), "adapter_shape_mismatch"),
    "another rank": (file(GOOD, change(dims=[64, 2], data=good()[0].data[:512])), "adapter_shape_mismatch"),
    "Q8_0": (file(GOOD, change(kind=8)), "adapter_unsupported_feature"),
    "a type that is none": (file(GOOD, change(kind=77)), "adapter_unsupported_feature"),
    "an offset elsewhere": (file(GOOD, change(1, offset=0)), "gguf_malformed"),
    "an offset far away": (file(GOOD, change(1, offset=(1 << 64) - 32)), "gguf_malformed"),
    "an offset that is not aligned": (file(GOOD, change(1, offset=1028)), "gguf_malformed"),
    "NaN": (file(GOOD, nan()), "adapter_not_finite"),
    "all zeros": (file(GOOD, [Tensor(t.name, t.dims, t.kind, bytes(len(t.data))) for t in good()]), "adapter_no_effect"),
    "a header without end": (file(GOOD + [pair("x", STRING, text(bytes(2 << 20)))], good()), "gguf_malformed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(llama, name):
    content, code = BAD[name]
    answer = upload(llama, content, name="bad")
    assert (answer.status, answer.code) == (422, code), answer
    assert llama.get("/adapters/bad").status == 404


def test_the_form(llama):
    content = file(GOOD, good())
    config = b"{}"
    body, kind = form_body([("name", "form", None), ("config", config, "adapter_config.json"), ("weights", content, "x.gguf")])
    answer = llama.request("POST", "/adapters", body, {"Content-Type": kind})
    assert (answer.status, answer.code) == (400, "invalid_part"), answer
    # Anything else still needs its config.
    answer = upload(llama, b"GGUX" + content[4:], name="form")
    assert (answer.status, answer.code) == (400, "missing_part"), answer
    assert TYPES["BF16"] == 30


def test_adapterctl(start, ctl, tmp_path):
    d = start("llama", None, "--threads", "1")
    acme = d.tenant("acme")
    path = tmp_path / "support.gguf"
    path.write_bytes(file(GOOD, good()))
    answer = ctl(d, "adapters", "upload", path, key=acme.key)
    assert answer.status == 0 and "support" in answer.out, answer
    assert acme.get("/adapters/support").status == 200
    assert ctl(d, "adapters", "upload", path, "--name", "other", key=acme.key).status == 0
    assert ctl(d, "adapters", "upload", tmp_path / "none.gguf", key=acme.key).status == 1
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    refused = ctl(d, "adapters", "upload", tmp_path / "bad.gguf", key=acme.key)
    assert refused.status == 1 and "(gguf_malformed)" in refused.err
    assert sorted(r["name"] for r in acme.get("/adapters").json["data"]) == ["other", "support"]
