"""Adapters with tokens that the base does not have: their rows, as transformers and PEFT compute them, and their texts."""
import json
import os
import struct

import pytest

from client import form_body, read
from daemon import FIXTURES, Daemon, model_path
from fixtures import adapter, changed, tensors_of

CASES = json.loads(read(os.path.join(FIXTURES, "tokens", "expected.json")))
TOLERANCE = 1e-3  # of a log-probability
DECODER = {"added_tokens_decoder": {str(320 + i): {"content": text, "special": special, "normalized": False, "lstrip": False, "rstrip": False,
                                                   "single_word": False} for i, (text, special) in enumerate([("<tool>", True), ("grüße", False), ("<end>", True), ("<x>", True)])}}


def directory(name):
    return os.path.join(FIXTURES, "tokens", name)


def upload(tenant, name, path, weights=None, config=None, **settings):
    """`settings`: content by the part's name."""
    parts = [("name", name, None), ("config", config or read(os.path.join(path, "adapter_config.json")), "c.json"),
             ("weights", weights or read(os.path.join(path, "adapter_model.safetensors")), "w.safetensors")]
    parts += [(part, content if isinstance(content, (str, bytes)) else json.dumps(content), part) for part, content in settings.items()]
    body, kind = form_body(parts)
    return tenant.request("POST", "/adapters", body, {"Content-Type": kind})


def refused(answer, status, code):
    assert (answer.status, answer.code) == (status, code), answer


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def served(request, tmp_path_factory):
    daemon = Daemon(model_path(request.param), tmp_path_factory.mktemp("tokens") / "data", "--precision", "exact", "--threads", "1")
    tenant = daemon.tenant("tokens")
    names = {key: key.split("/")[1] for key in CASES if key.startswith(request.param + "/")}
    for key, name in names.items():
        assert upload(tenant, name, directory(key)).status == 201
    yield tenant, names
    daemon.stop()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    daemon = Daemon(model_path("llama"), tmp_path_factory.mktemp("texts") / "data", "--precision", "exact", "--threads", "1")
    tenant = daemon.tenant("texts")
    assert upload(tenant, "own", directory("llama/auto"), tokenizer_config=DECODER).status == 201
    assert upload(tenant, "bare", directory("llama/auto")).status == 201
    yield tenant
    daemon.stop()


def test_golden(served):
    tenant, names = served
    for key, name in names.items():
        case = CASES[key]
        answer = tenant.infer(adapter=name, tokens=case["tokens"], max_tokens=12, ignore_eos=True, logprobs=20).json
        assert answer["tokens"] == case["greedy"]
        wanted = case["logprobs"]
        best = sorted(range(case["vocab"]), key=lambda i: -wanted[i])[:20]
        found = {t["token"]: t["logprob"] for t in answer["logprobs"][0]["top"]}
        assert set(found) <= set(range(case["vocab"]))
        for token in best[:15]:
            assert abs(found[token] - wanted[token]) <= TOLERANCE


def test_every_token_of_its_own_can_come(served):
    """Whatever the numbers say: a bias makes it, and its log-probability is that of the reference."""
    tenant, names = served
    for key, name in names.items():
        case = CASES[key]
        for token in range(320, case["vocab"]):
            answer = tenant.infer(adapter=name, tokens=case["tokens"], max_tokens=1, logit_bias={str(token): 100}, logprobs=1).json
            assert answer["tokens"] == [token]
            assert abs(answer["logprobs"][0]["logprob"] - case["logprobs"][token]) <= TOLERANCE * (1 + abs(case["logprobs"][token]))


def test_ids_end_where_its_vocabulary_does(served):
    tenant, names = served
    for key, name in names.items():
        vocab = CASES[key]["vocab"]
        assert tenant.infer(adapter=name, tokens=[5, vocab - 1], max_tokens=1).status == 200
        refused(tenant.infer(adapter=name, tokens=[5, vocab], max_tokens=1), 400, "token_out_of_range")
        assert tenant.post("/v1/embeddings", {"model": name, "input": [5, vocab - 1]}).status == 200
        refused(tenant.post("/v1/embeddings", {"model": name, "input": [5, vocab]}), 400, "token_out_of_range")
        for field in ({"logit_bias": {str(vocab): 1}}, {"stop_token_ids": [vocab]}):
            assert tenant.infer(adapter=name, tokens=[5], max_tokens=1, **field).status == 400
        refused(tenant.infer(adapter=[{"adapter": name}, {"adapter": name}], tokens=[5], max_tokens=1), 422, "adapter_unsupported_feature")
    refused(tenant.infer(tokens=[5, 320], max_tokens=1), 400, "token_out_of_range")


def test_the_same_beside_others(served):
    """In one step with the base and adapters of other vocabularies."""
    tenant, names = served
    from concurrent.futures import ThreadPoolExecutor

    def ask(name, seed):
        return tenant.infer(adapter=name, tokens=[5, 9, 100, 7], max_tokens=24, temperature=1, seed=seed, ignore_eos=True, logprobs=3).json["logprobs"]

    asked = [(name, seed) for name in [*names.values(), None] for seed in range(3)]
    alone = [ask(*a) for a in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(lambda a: ask(*a), asked)) == alone


def test_prompt_logprobs_know_its_tokens(llama):
    answer = llama.post("/v1/completions", {"model": "own", "prompt": [5, 320, 9, 323], "echo": True, "logprobs": 2, "max_tokens": 1, "temperature": 0})
    assert answer.status == 200 and len(answer.json["choices"][0]["logprobs"]["token_logprobs"]) == 5


def test_its_texts_become_its_tokens(llama):
    ids = lambda text: llama.post("/tokenize", {"text": text}).json["tokens"]
    for text, tokens in (("hello <tool> x", ids("hello ") + [320] + ids(" x")), ("<end><x>", [322, 323]), ("a grüße b", ids("a ") + [321] + ids(" b"))):
        answers = [llama.infer(adapter="own", **prompt, max_tokens=4, logprobs=2).json for prompt in ({"prompt": text}, {"tokens": tokens})]
        assert answers[0]["usage"]["prompt_tokens"] == len(tokens) and answers[0]["logprobs"] == answers[1]["logprobs"]
        assert llama.post("/v1/embeddings", {"model": "own", "input": text}).json["data"] == llama.post("/v1/embeddings", {"model": "own", "input": tokens}).json["data"]
        assert llama.infer(adapter="bare", prompt=text, max_tokens=1).json["usage"]["prompt_tokens"] != len(tokens)


def test_its_tokens_become_their_texts(llama):
    def say(name, token, **more):
        return llama.infer(adapter=name, tokens=[5, 9], max_tokens=1, logit_bias={str(token): 100}, **more).json

    assert say("own", 321)["text"] == "gr\ufffd\ufffde" and say("bare", 321)["text"] == ""  # as the library: the byte level decodes it, too
    assert say("own", 323, skip_special_tokens=False)["text"] == "<x>"
    assert say("own", 320)["text"] == "" and say("own", 320, skip_special_tokens=False)["text"] == "<tool>"
    assert say("own", 320, logprobs=1)["logprobs"][0]["text"] == "<tool>"
    assert say("own", 320, skip_special_tokens=False, stop=["ool"])["text"] == "<t"


def test_its_tokens_end_answers(llama):
    for name, settings in (("ends-by-text", {"tokenizer_config": {**DECODER, "eos_token": "<end>"}}), ("ends-by-id", {"generation_config": {"eos_token_id": 322}})):
        assert upload(llama, name, directory("llama/auto"), **settings).json["warnings"] == []
        answer = llama.infer(adapter=name, tokens=[5, 9], max_tokens=5, logit_bias={"322": 100}).json
        assert (answer["finish_reason"], answer["tokens"]) == ("stop", [])
        held = llama.infer(adapter=name, tokens=[5, 9], max_tokens=9, regex="[a-z]{2}", logit_bias={"322": 100}).json
        assert held["finish_reason"] == "stop" and len(held["text"]) == 2


def test_forms_of_the_files(llama):
    """What transformers 4 writes, what 5 does, and the rest of a tokenizer.json beside its list."""
    plain = {"<tool>": 320, "grüße": 321, "<end>": 322, "<x>": 323, "</s>": 2}
    listed = {"added_tokens": [{"id": 2, "content": "</s>", "special": True}, *({"id": int(i), **t} for i, t in DECODER["added_tokens_decoder"].items())], "version": "1.0"}
    for name, more in (("plain", {"added_tokens": plain}), ("listed", {"added_tokens": listed}), ("both", {"added_tokens": plain, "tokenizer_config": DECODER})):
        answer = upload(llama, name, directory("llama/auto"), **more)
        assert answer.status == 201 and answer.json["warnings"] == [] and answer.json["settings"]
        assert llama.infer(adapter=name, prompt="<tool><end>", max_tokens=1).json["usage"]["prompt_tokens"] == 2
        version = answer.json["version"]
        kept = llama.get(f"/adapters/{name}/versions/{version}/files/added_tokens.json")
        assert kept.status == 200 and kept.json == more["added_tokens"]


def test_what_has_no_row_is_said(llama):
    answer = upload(llama, "said", adapter("llama", "r8-all"), added_tokens={"<tool>": 320, "</s>": 7, "<odd>": 5})
    assert answer.status == 201 and len(answer.json["warnings"]) == 3 and "no row" in answer.json["warnings"][0]
    assert answer.json["settings"] is None


@pytest.mark.parametrize("settings", [
    {"added_tokens": "[]"},
    {"added_tokens": {"<a>": "320"}},
    {"added_tokens": {"<a>": -1}},
    {"added_tokens": {"<a>": 320.5}},
    {"added_tokens": {"<a>": 1 << 40}},
    {"added_tokens": {"": 320}},
    {"added_tokens": {"x" * 1025: 320}},
    {"added_tokens": {"x" * 129: 320}},
    {"added_tokens": {"<a>": 320, "<b>": 320}},
    {"added_tokens": {"added_tokens": [{"id": 320}]}},
    {"added_tokens": {"added_tokens": [5]}},
    {"added_tokens": {"added_tokens": [{"id": 320, "content": "<a>"}, {"id": 321, "content": "<a>"}]}},
    {"added_tokens": {str(i): i for i in range(16400)}},
    {"tokenizer_config": {"added_tokens_decoder": []}},
    {"tokenizer_config": {"added_tokens_decoder": {"x": {"content": "<a>"}}}},
    {"tokenizer_config": {"added_tokens_decoder": {"320": "<a>"}}},
    {"tokenizer_config": {"added_tokens_decoder": {"320x": {"content": "<a>"}}}},
])
def test_bad_files(llama, settings):
    refused(upload(llama, "bad", directory("llama/auto"), **settings), 422, "config_malformed")


def longer(path, name, rows, columns=64):
    """The same file with a matrix of so many rows."""
    tensors = tensors_of(path)
    dtype, _, data = tensors[name]
    size = {"BF16": 2, "F32": 4}[dtype]
    return name, (dtype, [rows, columns], (data * 8)[: rows * columns * size])


EMBED, HEAD = "base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"


@pytest.mark.parametrize("rows", [{EMBED: 325}, {HEAD: 323}, {EMBED: 320}, {EMBED: 1400, HEAD: 1400}, {EMBED: 324, HEAD: 320}])
def test_matrices_that_do_not_agree(llama, rows):
    path = directory("llama/auto")
    config, weights = changed(path, more=dict(longer(path, name, n) for name, n in rows.items()))
    refused(upload(llama, "bad", path, weights=weights, config=config), 422, "adapter_shape_mismatch")


def test_one_matrix_of_two_is_not_enough(llama):
    config, weights = changed(directory("llama/auto"), drop=[HEAD])
    refused(upload(llama, "bad", directory("llama/auto"), weights=weights, config=config), 422, "adapter_shape_mismatch")


def test_an_index_beyond_its_rows(llama):
    config, weights = changed(directory("llama/tti-new"), trainable_token_indices=[320, 321, 322, 324])
    refused(upload(llama, "bad", directory("llama/tti-new"), weights=weights, config=config), 422, "adapter_shape_mismatch")


def test_it_lasts(start):
    daemon = start("llama", None, "--precision", "exact", "--threads", "1")
    tenant = daemon.tenant("lasts")
    assert upload(tenant, "own", directory("llama/auto"), tokenizer_config=DECODER).status == 201
    assert upload(tenant, "less", directory("llama/shrunk-auto")).status == 201
    before = tenant.infer(adapter="own", prompt="<tool> x", max_tokens=8, logprobs=1).json["logprobs"]
    daemon.stop()
    again = start("llama", daemon.data, "--precision", "exact", "--threads", "1").client(tenant.key)
    assert again.infer(adapter="own", prompt="<tool> x", max_tokens=8, logprobs=1).json["logprobs"] == before
    refused(again.infer(adapter="less", tokens=[317], max_tokens=1), 400, "token_out_of_range")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_packed_bases_have_them_too(start, precision):
    tenant = start("llama", None, "--precision", precision, "--threads", "1").tenant("packed")
    for name in ("auto", "tti-new", "shrunk-auto"):
        assert upload(tenant, name, directory("llama/" + name)).status == 201
    for name in ("auto", "tti-new"):
        answer = tenant.infer(adapter=name, tokens=[5, 320, 323], max_tokens=1, logit_bias={"321": 100}, logprobs=1).json
        assert answer["tokens"] == [321] and answer["logprobs"][0]["logprob"] < 0


def test_adapterctl_takes_them_from_the_tokenizer(start, ctl, tmp_path):
    daemon = start("llama", None, "--threads", "1")
    tenant = daemon.tenant("ctl")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(read(os.path.join(directory("llama/auto"), name)))
    tokenizer = json.loads(read(os.path.join(model_path("llama"), "tokenizer.json")))
    tokenizer["added_tokens"] += [{"id": int(i), **t} for i, t in DECODER["added_tokens_decoder"].items()]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "added_tokens.json").write_text("[not read, since there is a tokenizer.json")
    assert ctl(daemon, "adapters", "upload", tmp_path, "--name", "own", key=tenant.key).status == 0
    assert tenant.infer(adapter="own", prompt="<tool><end>", max_tokens=1).json["usage"]["prompt_tokens"] == 2
    out = tmp_path / "out"
    assert ctl(daemon, "adapters", "download", "own", out, key=tenant.key).status == 0
    assert json.loads((out / "added_tokens.json").read_text()) == {"added_tokens": tokenizer["added_tokens"]}
    (tmp_path / "tokenizer.json").write_text("{")
    assert ctl(daemon, "adapters", "upload", tmp_path, "--name", "own", key=tenant.key).status != 0
    assert ctl(daemon, "adapters", "upload", tmp_path, "--name", "own", "--no-settings", key=tenant.key).status == 0
