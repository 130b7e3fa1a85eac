"""Vectors of texts: as transformers and PEFT compute them, in the forms that OpenAI's clients ask for."""
import base64
import json
import math
import os
import struct

import pytest

from client import read
from daemon import FIXTURES, Daemon, model_path
from fixtures import expected

EMBEDDINGS = "/v1/embeddings"
TOLERANCE = 1e-4
TEXTS = ["Where is my parcel?", "It came broken.", "x"]


def cases(model):
    return json.loads(read(os.path.join(FIXTURES, "embed", f"{model}.json")))


def name_of(adapter):
    return os.path.basename(adapter) if adapter else None


def normalized(vector):
    length = math.sqrt(math.fsum(x * x for x in vector))
    return [x / length for x in vector]


def near(found, wanted):
    assert len(found) == len(wanted)
    assert max(abs(a - b) for a, b in zip(found, wanted)) <= TOLERANCE


def vectors(answer):
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert body["object"] == "list" and [d["index"] for d in body["data"]] == list(range(len(body["data"])))
    assert all(d["object"] == "embedding" for d in body["data"])
    return [d["embedding"] for d in body["data"]]


def one(tenant, text, **more):
    [vector] = vectors(tenant.post(EMBEDDINGS, {"input": text, **more}))
    return vector


def refused(answer, status, code, param):
    error = answer.json["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, param), answer


@pytest.fixture(scope="module", params=["qwen3", "gpt2", "llama", "qwen3-bare"])
def served(request, tmp_path_factory):
    daemon = Daemon(model_path(request.param), tmp_path_factory.mktemp("embed") / "data", "--precision", "exact", "--threads", "1")
    tenant = daemon.tenant("golden")
    for path in {c["adapter"] for c in cases(request.param)} - {None}:
        assert tenant.upload(os.path.join(FIXTURES, path), name=name_of(path)).status == 201
    yield request.param, tenant
    daemon.stop()


@pytest.fixture(scope="module")
def acme(daemon):
    return daemon.tenant("vectors")


def test_golden(served):
    model, tenant = served
    wanted = expected(f"{model}.embed")
    for c in cases(model):
        more = {"model": name_of(c["adapter"]) or model}
        for kind in ("last", "mean"):
            [row] = wanted[c[kind]]
            near(one(tenant, c["prompt_tokens"], pooling=kind, normalize=False, **more), row)
            near(one(tenant, c["prompt_tokens"], pooling=kind, **more), normalized(row))
        assert one(tenant, c["prompt_tokens"], **more) == one(tenant, c["prompt_tokens"], pooling="last", **more)


def test_many_at_once_are_the_same(served):
    """Every text of the cases with every adapter, each list in one request: the numbers of each alone, to the last digit."""
    model, tenant = served
    for path in sorted({c["adapter"] for c in cases(model)} - {None}):
        lists = [c["prompt_tokens"] for c in cases(model) if c["adapter"] == path] * 3
        for kind in ("last", "mean"):
            more = {"model": name_of(path), "pooling": kind}
            assert vectors(tenant.post(EMBEDDINGS, {"input": lists, **more})) == [one(tenant, t, **more) for t in lists[:3]] * 3


def test_forms_of_input(acme):
    ids = [acme.post("/tokenize", {"text": t}).json["tokens"] for t in TEXTS]
    alone = [one(acme, t) for t in TEXTS]
    assert vectors(acme.post(EMBEDDINGS, {"input": TEXTS})) == alone
    assert vectors(acme.post(EMBEDDINGS, {"input": ids})) == alone
    assert one(acme, ids[0]) == alone[0]
    assert vectors(acme.post(EMBEDDINGS, {"input": [TEXTS[0], ids[1]]})) == alone[:2]
    assert all(abs(math.fsum(x * x for x in v) - 1) < 1e-5 for v in alone)


def test_usage_and_names(acme):
    ids = [acme.post("/tokenize", {"text": t}).json["tokens"] for t in TEXTS]
    body = acme.post(EMBEDDINGS, {"input": TEXTS, "model": "demo"}).json
    usage = body["usage"]
    assert body["model"] == "demo" and usage["prompt_tokens"] == usage["total_tokens"] == sum(map(len, ids))


def test_base64_and_dimensions(acme):
    floats = one(acme, TEXTS[0])
    packed = base64.b64decode(one(acme, TEXTS[0], encoding_format="base64"), validate=True)
    assert [struct.unpack("<f", struct.pack("<f", x))[0] for x in floats] == list(struct.unpack(f"<{len(floats)}f", packed))
    for dimensions in (1, 2, 5, len(floats)):
        short = one(acme, TEXTS[0], dimensions=dimensions)
        near(short, normalized(floats[:dimensions]))
        assert len(base64.b64decode(one(acme, TEXTS[0], encoding_format="base64", dimensions=dimensions), validate=True)) == 4 * dimensions


def test_more_texts_than_the_engine_takes_at_once(acme):
    """2,048 of them: as many as OpenAI's clients may send."""
    texts = [f"{i % 50} parcels" for i in range(2048)]
    found = vectors(acme.post(EMBEDDINGS, {"input": texts, "dimensions": 4}))
    assert len(found) == 2048 and all(found[i] == found[i % 50] for i in range(2048))
    assert found[7] == one(acme, "7 parcels", dimensions=4)


def test_bad_requests(acme):
    for body, status, code, param in [
        ({}, 400, "input_required", "input"),
        ({"input": []}, 400, "prompt_empty", "input"),
        ({"input": [[]]}, 400, "prompt_empty", "input"),
        ({"input": 5}, 400, "invalid_type", "input"),
        ({"input": {"text": "x"}}, 400, "invalid_type", "input"),
        ({"input": ["x", None]}, 400, "invalid_type", "input"),
        ({"input": [1, "x"]}, 400, "invalid_type", "input"),
        ({"input": [1, 10**6]}, 400, "token_out_of_range", "input"),
        ({"input": ["x"] * 2049}, 400, "out_of_range", "input"),
        ({"input": ["x", [3] * 100000]}, 400, "context_length_exceeded", "input"),
        ({"input": "x", "encoding_format": "int8"}, 400, "unsupported_value", "encoding_format"),
        ({"input": "x", "encoding_format": 1}, 400, "invalid_type", "encoding_format"),
        ({"input": "x", "dimensions": 0}, 400, "out_of_range", "dimensions"),
        ({"input": "x", "dimensions": 100000}, 400, "out_of_range", "dimensions"),
        ({"input": "x", "dimensions": "4"}, 400, "invalid_type", "dimensions"),
        ({"input": "x", "pooling": "cls"}, 400, "unsupported_value", "pooling"),
        ({"input": "x", "pooling": "files"}, 400, "unsupported_value", "pooling"),
        ({"input": "x", "normalize": "yes"}, 400, "invalid_type", "normalize"),
        ({"input": "x", "model": "nobody"}, 404, "model_not_found", "model"),
        ({"input": "x", "temperature": 1}, 400, "unknown_field", "temperature"),
    ]:
        refused(acme.post(EMBEDDINGS, body), status, code, param)


def test_a_model_of_numbers_has_no_texts(tenant):
    refused(tenant.post(EMBEDDINGS, {"input": "x"}), 400, "input_unsupported", "input")
