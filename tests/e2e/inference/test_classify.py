"""Labels of texts and tokens: as transformers and PEFT compute them, alone and in a crowd, and what cannot be asked for."""
import json
import math
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import read
from daemon import FIXTURES, Daemon, model_path
from fixtures import adapter, changed, expected

CLASSIFY = "/classify"
TOLERANCE = 1e-4


def cases(model):
    return json.loads(read(os.path.join(FIXTURES, "classify", f"{model}.json")))


def name_of(path):
    return os.path.basename(path) if path else None


def task(model, name):
    return os.path.join(FIXTURES, "tasks", model, name)


def softmax(row):
    powers = [math.exp(x - max(row)) for x in row]
    return [p / math.fsum(powers) for p in powers]


def sigmoid(row):
    return [1 / (1 + math.exp(-x)) for x in row]


def near(found, wanted, scale=1.0):
    assert len(found) == len(wanted)
    assert max(abs(a - b) for a, b in zip(found, wanted)) <= TOLERANCE * scale, (found, wanted)


def answered(tenant, text, **more):
    """What is said of one text."""
    answer = tenant.post(CLASSIFY, {"input": text, **more})
    assert answer.status == 200, answer
    [one] = answer.json["data"]
    return one


def rows_of(one):
    """Of its tokens, or the text itself as the only one."""
    return one["tokens"] if "tokens" in one else [one]


def refused(answer, status, code, param):
    error = answer.json["error"]
    assert (answer.status, error["code"], error.get("param")) == (status, code, param), answer


@pytest.fixture(scope="module", params=["llama", "gpt2", "qwen2", "llama-tags", "gpt2-labels", "gpt2-tags"])
def served(request, tmp_path_factory):
    daemon = Daemon(model_path(request.param), tmp_path_factory.mktemp("classify") / "data", "--precision", "exact", "--threads", "1")
    tenant = daemon.tenant("golden")
    for path in {c["adapter"] for c in cases(request.param)} - {None}:
        assert tenant.upload(os.path.join(FIXTURES, path), name=name_of(path)).status == 201
    yield request.param, tenant
    daemon.stop()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    daemon = Daemon(model_path("llama"), tmp_path_factory.mktemp("labels") / "data", "--threads", "1")
    tenant = daemon.tenant("labels")
    for name in ("labels-3", "labels-named", "tags-5"):
        assert tenant.upload(task("llama", name), name=name).status == 201
    assert tenant.upload(adapter("llama", "r8-all"), name="text").status == 201
    yield daemon, tenant
    daemon.stop()


def test_golden(served):
    model, tenant = served
    wanted = expected(f"{model}.classify")
    for c in cases(model):
        answer = tenant.post(CLASSIFY, {"input": c["prompt_tokens"], "adapter": name_of(c["adapter"]), "logits": True}).json
        assert answer["labels"] == c["labels"] and answer["task"] == c["task"] and (answer["adapter"] or {"name": None})["name"] == name_of(c["adapter"])
        rows = rows_of(answer["data"][0])
        assert len(rows) == len(wanted[c["logits"]])
        for row, logits in zip(rows, wanted[c["logits"]]):
            near(row["logits"], logits, 1 + max(abs(x) for x in logits))
            near(row["probs"], (sigmoid if answer["problem_type"] == "multi_label_classification" else softmax)(logits))
            best = max(range(len(logits)), key=lambda i: row["probs"][i])
            assert row["label"] == c["labels"][best] and row["score"] == row["probs"][best]
        if c["task"] == "SEQ_CLS":
            assert rows[0]["label"] == c["labels"][c["best"]]
        else:
            assert [row["token"] for row in rows] == c["prompt_tokens"]


def test_the_same_bits_in_a_crowd(served):
    """Every text with every adapter at once and many times, one by one and in lists, beside text that is generated: the digits of each alone."""
    model, tenant = served
    asked = [{"input": c["prompt_tokens"], "adapter": name_of(c["adapter"]), "logits": True} for c in cases(model)]
    alone = [tenant.post(CLASSIFY, body).json["data"] for body in asked]
    lists = [{**body, "input": [body["input"]] * 5} for body in asked]
    with ThreadPoolExecutor(12) as pool:
        writes = "generate" in tenant.get("/v1/models").json["data"][0]["capabilities"]
        text = [pool.submit(tenant.infer, tokens=[5, 6, 7, 8], max_tokens=40, seed=i) for i in range(4 if writes else 0)]
        single = [pool.submit(tenant.post, CLASSIFY, body) for body in asked * 4]
        many = [pool.submit(tenant.post, CLASSIFY, body) for body in lists]
        assert [f.result().json["data"] for f in single] == alone * 4
        for found, wanted in zip(many, alone):
            assert [{**one, "index": 0} for one in found.result().json["data"]] == wanted * 5
        assert all(f.result().status == 200 for f in text)


def test_forms_of_input(llama):
    _, tenant = llama
    texts = ["Where is my parcel?", "It came broken.", "x"]
    ids = [tenant.post("/tokenize", {"text": t}).json["tokens"] for t in texts]
    for name in ("labels-3", "tags-5"):
        alone = [answered(tenant, t, adapter=name) for t in texts]
        for inputs in (texts, ids, [texts[0], ids[1], texts[2]]):
            data = tenant.post(CLASSIFY, {"input": inputs, "adapter": name}).json["data"]
            assert data == [{**one, "index": i} for i, one in enumerate(alone)]
        assert answered(tenant, ids[0], adapter=name) == alone[0]
        assert answered(tenant, texts[0], model=name) == alone[0]
    tokens = answered(tenant, texts[0], adapter="tags-5")["tokens"]
    assert [t["token"] for t in tokens] == ids[0] and "".join(t["text"] for t in tokens) == texts[0]


def test_answer(llama):
    _, tenant = llama
    answer = tenant.post(CLASSIFY, {"input": ["a b", "c"], "adapter": "labels-named"})
    body = answer.json
    assert body["object"] == "list" and body["id"] == answer.headers["X-Request-Id"] and body["model"] == "labels-named"
    assert body["labels"] == ["billing", "shipping", "praise", "other"] and body["problem_type"] == "single_label_classification"
    assert [d["index"] for d in body["data"]] == [0, 1] and all(d["num_classes"] == 4 and "logits" not in d for d in body["data"])
    assert all(abs(math.fsum(d["probs"]) - 1) < 1e-6 for d in body["data"])
    usage, count = body["usage"], sum(len(tenant.post("/tokenize", {"text": t}).json["tokens"]) for t in ("a b", "c"))
    assert usage["prompt_tokens"] == usage["total_tokens"] == count
    assert answer.headers["X-Adapter-Version"] == body["adapter"]["version"]


def test_they_count_as_prompts(llama):
    daemon, _ = llama
    tenant = daemon.tenant("counted")
    assert tenant.upload(task("llama", "labels-3"), name="labels").status == 201
    answer = tenant.post(CLASSIFY, {"input": [[5, 6, 7], [8, 9]], "adapter": "labels"}).json
    [row] = tenant.get("/usage").json["data"]
    assert [row[what] for what in ("adapter", "requests", "errors", "prompt_tokens", "completion_tokens")] == ["labels", 1, 0, 5, 0]
    assert answer["usage"]["prompt_tokens"] == 5


def test_quotas_hold(llama):
    daemon, _ = llama
    tenant = daemon.tenant("limited")
    assert tenant.upload(task("llama", "labels-3"), name="labels").status == 201
    assert daemon.client().patch("/tenants/limited", {"quota": {"tokens_per_minute": 4}}).status == 200
    assert tenant.post(CLASSIFY, {"input": [[5, 6, 7, 8]], "adapter": "labels"}).status == 200
    assert tenant.post(CLASSIFY, {"input": [[5]], "adapter": "labels"}).status == 429


def test_who_can_do_what(llama):
    _, tenant = llama
    can = {m["id"]: m["capabilities"] for m in tenant.get("/v1/models").json["data"]}
    assert can == {"llama": ["generate", "embed"], "labels-3": ["embed", "classify"], "labels-named": ["embed", "classify"],
                   "tags-5": ["embed", "classify"], "text": ["generate", "embed"]}
    assert all(tenant.get(f"/v1/models/{name}").json["capabilities"] == what for name, what in can.items())
    tasks = {"labels-3": "SEQ_CLS", "labels-named": "SEQ_CLS", "tags-5": "TOKEN_CLS", "text": None}
    assert {row["name"]: row["task"] for row in tenant.get("/adapters").json["data"]} == tasks
    for name, kind in tasks.items():
        [version] = tenant.get(f"/adapters/{name}").json["versions"]
        assert version["task"] == kind
        assert tenant.get(f"/adapters/{name}/versions/{version['version']}").json["task"] == kind


@pytest.fixture(scope="module")
def labels_base(tmp_path_factory):
    daemon = Daemon(model_path("gpt2-labels"), tmp_path_factory.mktemp("base") / "data", "--threads", "1")
    tenant = daemon.tenant("base")
    for name in ("labels", "untasked"):
        assert tenant.upload(task("gpt2-labels", name), name=name).status == 201
    yield tenant
    daemon.stop()


def test_a_base_of_labels_writes_no_text(labels_base):
    tenant = labels_base
    can = {m["id"]: m["capabilities"] for m in tenant.get("/v1/models").json["data"]}
    assert can == {name: ["embed", "classify"] for name in ("gpt2-labels", "labels", "untasked")}
    for name, who in ((None, "gpt2-labels"), ("labels", "labels")):
        refused(tenant.infer(adapter=name, prompt="x"), 400, "task_unsupported", "adapter")
        refused(tenant.infer(adapter=name, tokens=[5], max_tokens=0), 400, "task_unsupported", "adapter")
        refused(tenant.post("/v1/completions", {"model": who, "prompt": "x"}), 400, "task_unsupported", "model")
        refused(tenant.post("/v1/chat/completions", {"model": who, "messages": [{"role": "user", "content": "x"}]}), 400, "task_unsupported", "model")
        refused(tenant.post("/v1/responses", {"model": who, "input": "x"}), 400, "task_unsupported", "model")
        assert tenant.post("/v1/embeddings", {"model": who, "input": "x"}).status == 200
        assert tenant.post(CLASSIFY, {"adapter": name, "input": "x"}).status == 200
        assert tenant.post("/train/estimate", {"model": who, "training_file": "file-x"}).code in ("task_unsupported", "file_not_found")
    assert tenant.upload(task("gpt2-labels", "labels"), name="sample", proof_prompt="x").code == "input_unsupported"


def test_a_filled_up_text_is_the_text(labels_base):
    """By the base's pad_token_id, as transformers finds the last token."""
    whole = answered(labels_base, [5, 6, 7], logits=True)
    assert answered(labels_base, [5, 6, 7, 2, 2], logits=True) == whole
    assert answered(labels_base, [5, 6, 7, 2, 9], logits=True)["logits"] != whole["logits"]
    assert answered(labels_base, [2, 2, 2], logits=True) == answered(labels_base, [2], logits=True)


def test_every_precision(start):
    for precision in ("int8", "int4"):
        daemon = start("llama-tags", None, "--precision", precision, "--threads", "1")
        tenant = daemon.tenant("packed")
        assert tenant.upload(task("llama-tags", "tags"), name="tags").status == 201
        for name in (None, "tags"):
            [one, other] = tenant.post(CLASSIFY, {"input": [[5, 6, 7], [5, 6, 7]], "adapter": name}).json["data"]
            assert one["tokens"] == other["tokens"] and len(one["tokens"]) == 3
        assert tenant.infer(prompt="x").code == "task_unsupported"


def test_text_is_not_asked_of_a_head_of_labels(llama):
    _, tenant = llama
    messages = [{"role": "user", "content": "Hi"}]
    for name in ("labels-3", "tags-5"):
        version = tenant.get("/adapters/" + name).json["versions"][0]["version"]
        for who in (name, f"{name}@{version[7:19]}"):
            refused(tenant.infer(adapter=who, prompt="x"), 400, "task_unsupported", "adapter")
            refused(tenant.infer(adapter=who, prompt="x", stream=True), 400, "task_unsupported", "adapter")
            refused(tenant.post("/v1/completions", {"model": who, "prompt": "x"}), 400, "task_unsupported", "model")
            refused(tenant.post("/v1/chat/completions", {"model": who, "messages": messages}), 400, "task_unsupported", "model")
            assert tenant.post("/v1/embeddings", {"model": who, "input": "x"}).status == 200


def test_labels_are_not_asked_of_what_writes_text(llama):
    _, tenant = llama
    refused(tenant.post(CLASSIFY, {"input": "x"}), 400, "task_unsupported", "adapter")
    refused(tenant.post(CLASSIFY, {"input": "x", "adapter": "text"}), 400, "task_unsupported", "adapter")
    refused(tenant.post(CLASSIFY, {"input": "x", "model": "text"}), 400, "task_unsupported", "model")
    refused(tenant.post(CLASSIFY, {"input": "x", "model": "llama"}), 400, "task_unsupported", "model")
    mixed = [{"adapter": "text", "scale": 0.5}, {"adapter": "labels-3", "scale": 0.5}]
    refused(tenant.post(CLASSIFY, {"input": "x", "adapter": mixed}), 400, "task_unsupported", "adapter")
    two = [{"adapter": "labels-named", "scale": 0.5}, {"adapter": "labels-3", "scale": 0.5}]
    assert tenant.post(CLASSIFY, {"input": "x", "adapter": two}).code == "adapter_unsupported_feature"


def test_bad_requests(llama):
    _, tenant = llama
    for body, status, code, param in [
        ({}, 400, "input_required", "input"),
        ({"input": None}, 400, "invalid_type", "input"),
        ({"input": []}, 400, "prompt_empty", "input"),
        ({"input": ""}, 400, "prompt_empty", "input"),
        ({"input": [[]]}, 400, "prompt_empty", "input"),
        ({"input": ["x", [5], []]}, 400, "prompt_empty", "input"),
        ({"input": 5}, 400, "invalid_type", "input"),
        ({"input": {"text": "x"}}, 400, "invalid_type", "input"),
        ({"input": ["x", None]}, 400, "invalid_type", "input"),
        ({"input": [[["x"]]]}, 400, "invalid_type", "input"),
        ({"input": [1, "x"]}, 400, "invalid_type", "input"),
        ({"input": [-1]}, 400, "token_out_of_range", "input"),
        ({"input": [10**6]}, 400, "token_out_of_range", "input"),
        ({"input": ["x"] * 2049}, 400, "out_of_range", "input"),
        ({"input": ["x", [3] * 100000]}, 400, "prompt_too_long", "input"),
        ({"input": "x", "logits": "yes"}, 400, "invalid_type", "logits"),
        ({"input": "x", "add_special_tokens": 1}, 400, "invalid_type", "input"),
        ({"input": "x", "temperature": 1}, 400, "unknown_field", "temperature"),
        ({"input": "x", "stream": True}, 400, "unknown_field", "stream"),
        ({"input": "x", "model": "labels-3"}, 400, "field_conflict", "model"),
        ({"input": "x", "user": "u"}, 400, "field_conflict", "user"),
    ]:
        refused(tenant.post(CLASSIFY, {"adapter": "labels-3", **body}), status, code, param)
    refused(tenant.post(CLASSIFY, {"input": "x", "adapter": "nobody"}), 404, "adapter_not_found", "adapter")
    refused(tenant.post(CLASSIFY, {"input": "x", "model": "nobody"}), 404, "model_not_found", "model")


def test_a_model_of_numbers_has_no_texts(tenant):
    refused(tenant.post(CLASSIFY, {"input": "x"}), 400, "input_unsupported", "input")


# ---- adapters that are made here of those of the fixtures ----

def upload(tenant, name, path, **edits):
    config, weights = changed(path, **edits)
    return tenant.upload(config=config, weights=weights, name=name)


def test_each_meaning(llama):
    _, tenant = llama
    for kind, of in (("single_label_classification", softmax), ("multi_label_classification", sigmoid), ("regression", None), (None, softmax)):
        assert upload(tenant, "meaning", task("llama", "labels-3"), problem_type=kind, revision=kind).status in (200, 201)
        answer = tenant.post(CLASSIFY, {"input": [5, 6, 7], "adapter": "meaning", "logits": True}).json
        [one] = answer["data"]
        assert answer["problem_type"] == (kind or "single_label_classification")
        if of:
            near(one["probs"], of(one["logits"]))
        else:
            assert one["values"] == one["logits"] and not {"probs", "label", "score"} & set(one)


SCORE = "base_model.model.score.weight"
BIAS = "base_model.model.score.bias"


def zeros(*shape, dtype="F32"):
    return dtype, list(shape), b"\0" * (math.prod(shape) * (4 if dtype == "F32" else 2))


def filled(value, *shape):
    return "F32", list(shape), struct.pack("<f", value) * math.prod(shape)


@pytest.mark.parametrize("kind, edits, code, word", [
    ("labels-3", {"drop": [SCORE]}, "adapter_missing_tensor", SCORE),
    ("labels-3", {"more": {BIAS: zeros(3)}}, "adapter_unexpected_tensor", BIAS),
    ("tags-5", {"more": {BIAS: zeros(4)}}, "adapter_shape_mismatch", BIAS),
    ("labels-3", {"more": {SCORE: zeros(3, 7)}}, "adapter_shape_mismatch", SCORE),
    ("labels-3", {"more": {SCORE: zeros(3)}}, "adapter_shape_mismatch", SCORE),
    ("labels-3", {"more": {SCORE: zeros(1, 3, 64)}}, "adapter_shape_mismatch", SCORE),
    ("labels-3", {"more": {SCORE: zeros(0, 64)}}, "adapter_shape_mismatch", SCORE),
    ("labels-3", {"more": {SCORE: filled(math.nan, 3, 64)}}, "adapter_not_finite", SCORE),
    ("labels-3", {"more": {SCORE: filled(3e38, 3, 64)}}, "adapter_not_finite", "head"),
    ("labels-3", {"more": {"base_model.model.classifier.weight": zeros(3, 64)}}, "adapter_unexpected_tensor", "another name"),
    ("labels-3", {"task_type": "CAUSAL_LM"}, "adapter_unknown_module", "score"),
    ("labels-named", {"id2label": {"0": "a"}}, "config_malformed", "id2label"),
    ("labels-named", {"id2label": {"0": "a", "1": "b", "2": "c", "4": "d"}}, "config_malformed", "id2label"),
    ("labels-named", {"id2label": {"0": "a", "1": "b", "2": "c", "3": 5}}, "config_malformed", "id2label"),
    ("labels-named", {"id2label": {"0": "a", "1": "b", "2": "c", "3": "x" * 300}}, "config_malformed", "id2label"),
    ("labels-named", {"id2label": ["a", "b", "c", "d"]}, "config_malformed", "id2label"),
    ("labels-named", {"problem_type": "ranking"}, "config_malformed", "problem_type"),
    ("labels-named", {"problem_type": 1}, "config_malformed", "problem_type"),
])
def test_bad_heads(llama, kind, edits, code, word):
    _, tenant = llama
    answer = upload(tenant, "bad", task("llama", kind), **edits)
    assert (answer.status, answer.code) == (422, code) and word in answer.body.decode(), answer


def test_an_answer_is_bounded(llama):
    """By the names of labels, too, which stand at every token."""
    _, tenant = llama
    name = {"0": "n" * 256}
    more = {SCORE: filled(0.5, 1, 64), BIAS: filled(0.5, 1)}
    assert upload(tenant, "names", task("llama", "tags-5"), more=more, id2label=name).status == 201
    answer = tenant.post(CLASSIFY, {"input": [[5] * 200] * 1000, "adapter": "names"})
    refused(answer, 400, "out_of_range", "input")
    assert tenant.post(CLASSIFY, {"input": [[5] * 200] * 100, "adapter": "names"}).status == 200


def test_deleted_and_replaced_while_in_use(llama):
    """What runs goes on with what it began with; what comes later is refused, or gets the new one."""
    daemon, _ = llama
    tenant = daemon.tenant("churn")

    def churn():
        for i in range(12):
            assert upload(tenant, "x", task("llama", ("labels-3", "tags-5")[i % 2])).status in (200, 201)
            assert tenant.delete("/adapters/x").status == 204

    def ask(i):
        answer = tenant.post(CLASSIFY, {"input": [[5 + i % 50] * 60] * 20, "adapter": "x"})
        if answer.status == 200:
            assert answer.json["task"] in ("SEQ_CLS", "TOKEN_CLS") and len(answer.json["data"]) == 20
        else:
            assert (answer.status, answer.code) == (404, "adapter_not_found"), answer
        return answer.status

    with ThreadPoolExecutor(8) as pool:
        churning = pool.submit(churn)
        found = list(pool.map(ask, range(120)))
        churning.result()
    assert set(found) <= {200, 404}
