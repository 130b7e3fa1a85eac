"""Adapters with more than LoRA in them: the daemon's numbers are those of transformers and PEFT.

Each directory of tests/fixtures/peft is what PEFT's save_pretrained wrote, or a tool like it, with what transformers 5.24 and
PEFT 0.21.2 compute from it on the CPU in f32, loaded with PeftModel.from_pretrained: log-probabilities of the prompt, of the
likeliest next tokens, and the tokens that follow greedily.
"""
import json
import os
import struct

import pytest

from client import read
from daemon import FIXTURES, Daemon, model_path

ROOT = os.path.join(FIXTURES, "peft")
CASES = {name: json.loads(read(os.path.join(ROOT, name, "case.json"))) for name in sorted(os.listdir(ROOT))}
TOLERANCE = 5e-4


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    """A daemon for each model that a case asks for."""
    started = {}

    def start(model):
        if model not in started:
            d = Daemon(model_path(model), tmp_path_factory.mktemp(model) / "data", "--precision", "exact")
            started[model] = d, d.tenant("values")
        return started[model][1]

    yield start
    for d, _ in started.values():
        d.stop()


def check(answer, prompt, worst):
    for found, wanted in list(zip(answer["prompt_logprobs"], prompt["prompt_logprobs"]))[1:]:
        worst.append(abs(found["logprob"] - wanted))
    found = {top["token"]: top["logprob"] for top in answer["logprobs"][0]["top"]}
    edge = min(wanted for _, wanted in prompt["next"]) + TOLERANCE
    worst += [abs(found[token] - wanted) if token in found else wanted - edge for token, wanted in prompt["next"]]
    assert "greedy" not in prompt or answer["tokens"] == prompt["greedy"]


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_peft(daemons, name):
    case, worst = CASES[name], []
    tenant = daemons(case["model"])
    uploaded = tenant.upload(os.path.join(ROOT, name), name=name)
    assert uploaded.status == 201, (case["why"], uploaded)
    for prompt in case["prompts"]:
        answer = tenant.infer(adapter=name, tokens=prompt["tokens"], max_tokens=12, temperature=0, ignore_eos=True, logprobs=20,
                              prompt_logprobs=True)
        assert answer.status == 200, answer
        check(answer.json, prompt, worst)
    assert max(worst) < TOLERANCE, case["why"]


def test_what_is_passed_over_is_said(daemons):
    tenant = daemons("qwen3")
    answer = tenant.upload(os.path.join(ROOT, "unused-names"), name="again")
    said = answer.json["warnings"]
    for field, name in [("target_modules", "W_pack"), ("target_modules", "query_key_value"), ("modules_to_save", "score"),
                        ("rank_pattern", "W_pack"), ("alpha_pattern", "nothing"), ("layers_to_transform", "99"), ("exclude_modules", "")]:
        assert [text for text in said if text.startswith(field) and name in text], (field, name, said)
    assert len(said) == 6
    # The same content, once more: it says so again.
    again = tenant.upload(os.path.join(ROOT, "unused-names"), name="again")
    assert again.status == 200 and again.json["warnings"] == said
    quiet = daemons("llama").upload(os.path.join(FIXTURES, "adapters", "llama", "r4-qv"), name="quiet")
    assert quiet.status == 201 and quiet.json["warnings"] == []


def safetensors(tensors):
    """A file of F32 tensors: name -> (shape, values)."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def rows_alone(indices, value):
    """Rows of the embedding beside a LoRA that changes nothing, for llama."""
    prefix = "base_model.model.model."
    tensors = {prefix + "embed_tokens.token_adapter.trainable_tokens_delta": ([len(indices), 64], [value] * 64 * len(indices))}
    for layer in range(3):
        module = f"{prefix}layers.{layer}.self_attn.q_proj"
        tensors[module + ".lora_A.weight"] = [2, 64], [0.5] * 128
        tensors[module + ".lora_B.weight"] = [64, 2], [0.0] * 128
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "trainable_token_indices": indices}
    return {"config": json.dumps(config).encode(), "weights": safetensors(tensors)}


def test_rows_alone_are_an_effect(daemons):
    """The proof's prompt has some of the tokens in it."""
    tenant = daemons("llama")
    answer = tenant.upload(name="rows", **rows_alone([31, 300], 0.5))
    assert answer.status == 201 and answer.json["proof"]["max_logit_change"] > 0.01, answer
    assert answer.json["parameters"] == 2 * 64 + 3 * 256
    assert tenant.upload(name="rows", **rows_alone([31, 300], 0.5)).status == 200, "the same content"
    other = tenant.upload(name="rows", **rows_alone([31, 301], 0.5))
    assert other.status == 201 and other.json["version"] != answer.json["version"], "other indices are another adapter"
    for tokens, changed in ([1, 2, 3, 4], False), ([1, 2, 301, 4], True):
        adapted, base = (tenant.infer(tokens=tokens, max_tokens=4, temperature=0, logprobs=5, **which).json["logprobs"]
                         for which in ({"adapter": "rows"}, {}))
        assert (adapted != base) == changed


def test_rows_do_not_add_up(daemons):
    tenant = daemons("llama")
    assert tenant.upload(os.path.join(FIXTURES, "adapters", "llama", "r4-qv"), name="plain").status == 201
    assert tenant.upload(os.path.join(FIXTURES, "adapters", "llama", "tokens-both"), name="tokens").status == 201
    answer = tenant.infer(adapter=[{"adapter": "plain"}, {"adapter": "tokens"}], tokens=[1, 2], max_tokens=1)
    assert (answer.status, answer.code) == (422, "adapter_unsupported_feature"), answer


def with_tensors(directory, extra):
    """The weights of an adapter with further F32 tensors: name -> (shape, bytes), or the name of one that is there."""
    raw = read(os.path.join(directory, "adapter_model.safetensors"))
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    for name, value in extra.items():
        if isinstance(value, str):
            begin, end = header[value]["data_offsets"]
            value = header[value]["shape"], data[begin:end]
        header[name] = {"dtype": "F32", "shape": value[0], "data_offsets": [len(data), len(data) + len(value[1])]}
        data += value[1]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


HEAD = "base_model.model.lm_head"


@pytest.mark.parametrize("model, name, extra, code", [
    # What PEFT writes of a base whose vocabulary has grown: the saved matrix three times, or a magnitude twice.
    ("llama", "save-head", {".modules_to_save.weight": ".weight", ".original_module.weight": ([320, 64], bytes(81920))}, None),
    ("llama", "save-head", {".modules_to_save.weight": ([64, 320], bytes(81920))}, "adapter_shape_mismatch"),
    ("llama", "save-head", {".original_module.weight": ([320, 64], b"\xff" * 81920)}, "adapter_not_finite"),
    ("llama", "lm-head", {".original_module.weight": ([320, 64], bytes(81920))}, "adapter_unexpected_tensor"),
    # On a tied base PEFT loads the original into the embedding, too.
    ("qwen2", "tied-save-head", {".modules_to_save.weight": ".weight"}, None),
    ("qwen2", "tied-save-head", {".original_module.weight": ([320, 64], bytes(81920))}, "adapter_unsupported_feature"),
])
def test_copies_beside_what_is_saved(daemons, model, name, extra, code):
    tenant, directory = daemons(model), os.path.join(FIXTURES, "adapters", model, name)
    extra = {HEAD + ending: HEAD + value if isinstance(value, str) else value for ending, value in extra.items()}
    config = read(os.path.join(directory, "adapter_config.json"))
    answer = tenant.upload(name="copies", config=config, weights=with_tensors(directory, extra))
    assert answer.code == code, answer
    if not code:
        assert answer.json["version"] == tenant.upload(directory, name="copies").json["version"]
