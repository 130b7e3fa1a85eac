"""Quotas: set, merged, shown, and enforced, before the body is read wherever that can be known."""
import os
import threading

import pytest

from client import read
from daemon import DEMO
from wire import Wire

MASK = os.path.join(DEMO, "adapters", "mask")
VOICE = os.path.join(DEMO, "adapters", "voice")
NONE = {"adapters_max": None, "adapter_bytes_max": None, "files_bytes_max": None, "tokens_per_minute": None, "requests_in_flight_max": None,
        "training_jobs_max": None, "training_tokens_per_day": None, "training_rank_max": None, "weight": 100}


def tenant(daemon, name, **quota):
    client = daemon.tenant(name)
    answer = daemon.client().patch(f"/tenants/{name}", {"quota": quota})
    assert answer.status == 200, answer
    return client


# ---- setting ----

def test_a_quota_is_given_shown_and_merged(daemon):
    admin = daemon.client()
    made = admin.post("/tenants", {"id": "q-made", "quota": {"adapters_max": 3, "weight": 200}})
    assert made.status == 201
    assert made.json["quota"] == {**NONE, "adapters_max": 3, "weight": 200}
    assert made.json["default_adapter"] is None and made.json["adapter_bytes"] == 0
    changed = admin.patch("/tenants/q-made", {"quota": {"tokens_per_minute": 1000, "weight": None}})
    assert changed.status == 200 and changed.json["quota"] == {**NONE, "adapters_max": 3, "tokens_per_minute": 1000}
    assert admin.get("/tenants/q-made").json == changed.json
    assert changed.json in admin.get("/tenants", limit=1000).json["data"]
    assert admin.patch("/tenants/q-made", {}).json == changed.json
    assert admin.patch("/tenants/q-none", {}).code == "tenant_not_found"
    detail = [row for row in admin.get("/audit", tenant="q-made").json["data"]]
    assert [(row["action"], row["detail"]) for row in detail] == [
        ("tenant.create", "adapters_max=3, weight=200"), ("tenant.change", "tokens_per_minute=1000, weight=default")]


@pytest.mark.parametrize("body, code", [
    ({"quota": []}, "invalid_type"),
    ({"quota": None}, "invalid_type"),
    ({"quota": {"adapters": 1}}, "unknown_field"),
    ({"quota": {"adapters_max": -1}}, "out_of_range"),
    ({"quota": {"adapters_max": 100001}}, "out_of_range"),
    ({"quota": {"adapters_max": 1.5}}, "invalid_type"),
    ({"quota": {"adapters_max": "1"}}, "invalid_type"),
    ({"quota": {"adapter_bytes_max": 2 ** 53}}, "out_of_range"),
    ({"quota": {"tokens_per_minute": 0}}, "out_of_range"),
    ({"quota": {"requests_in_flight_max": 0}}, "out_of_range"),
    ({"quota": {"weight": 0}}, "out_of_range"),
    ({"quota": {"weight": 1001}}, "out_of_range"),
    ({"quota": {"weight": True}}, "invalid_type"),
    ({"default_adapter": 1}, "invalid_type"),
    ({"default_adapter": ""}, "invalid_name"),
    ({"default_adapter": "a@1234"}, "invalid_name"),
    ({"default_adapter": "a\0"}, "invalid_name"),
    ({"color": "red"}, "unknown_field"),
    ({"id": "other"}, "unknown_field"),
])
def test_what_is_no_quota_is_refused(daemon, body, code):
    admin = daemon.client()
    admin.post("/tenants", {"id": "q-bad"})
    before = admin.get("/tenants/q-bad").json
    assert admin.patch("/tenants/q-bad", body).code == code
    assert admin.get("/tenants/q-bad").json == before
    if "id" not in body:
        assert admin.post("/tenants", {"id": "q-bad-new", **body}).code == code
        assert admin.get("/tenants/q-bad-new").status == 404


def test_quotas_survive_a_restart(start):
    d = start()
    tenant(d, "acme", adapters_max=1, weight=3)
    assert d.client().patch("/tenants/acme", {"default_adapter": "support"}).status == 200
    d.kill()
    row = start("demo", d.data).client().get("/tenants/acme").json
    assert row["quota"] == {**NONE, "adapters_max": 1, "weight": 3} and row["default_adapter"] == "support"


# ---- the default adapter ----

def test_the_default_adapter_serves_requests_that_name_none(daemon):
    acme, admin = daemon.tenant("d-acme"), daemon.client()
    assert acme.upload(VOICE, name="voice").status == 201
    ask = {"prompt": "Order", "max_tokens": 8, "logprobs": 1}
    base, voice = acme.infer(**ask).json, acme.infer(adapter="voice", **ask).json
    assert base["adapter"] is None and base["logprobs"] != voice["logprobs"]
    assert admin.patch("/tenants/d-acme", {"default_adapter": "voice"}).json["default_adapter"] == "voice"
    usual = acme.infer(**ask)
    assert usual.json["adapter"] == voice["adapter"] and usual.json["logprobs"] == voice["logprobs"]
    assert usual.headers["X-Adapter-Version"] == voice["adapter"]["version"]
    assert admin.infer(tenant="d-acme", **ask).json["adapter"] == voice["adapter"]
    plain = acme.infer(adapter=None, **ask).json
    assert plain["adapter"] is None and plain["logprobs"] == base["logprobs"]
    assert acme.delete("/adapters/voice").status == 204
    assert acme.infer(**ask).code == "adapter_not_found"  # said, not silently something else
    assert admin.patch("/tenants/d-acme", {"default_adapter": None}).status == 200
    assert acme.infer(**ask).json["logprobs"] == base["logprobs"]


# ---- adapters and bytes ----

def test_adapters_are_limited(daemon):
    acme = tenant(daemon, "u-count", adapters_max=1)
    assert acme.upload(MASK, name="one").status == 201
    refused = acme.upload(MASK, name="two")
    assert (refused.status, refused.code) == (409, "quota_exceeded")
    assert refused.json["error"]["param"] == "adapters_max"
    assert "has 1 adapters" in refused.json["error"]["message"] and "is 1" in refused.json["error"]["message"]
    assert acme.upload(VOICE, name="one").status == 201
    assert acme.upload(MASK, name="one").status == 200
    assert acme.delete("/adapters/one").status == 204
    assert acme.upload(MASK, name="two").status == 201


def test_bytes_are_limited(daemon):
    acme, admin = daemon.tenant("u-bytes"), daemon.client()
    assert acme.upload(MASK, name="one").status == 201
    used = admin.get("/tenants/u-bytes").json["adapter_bytes"]
    assert used == sum(os.path.getsize(os.path.join(MASK, f)) for f in ("adapter_config.json", "adapter_model.safetensors"))
    assert admin.patch("/tenants/u-bytes", {"quota": {"adapter_bytes_max": used + 1000}}).status == 200
    refused = acme.upload(VOICE, name="two")
    assert (refused.status, refused.code, refused.json["error"]["param"]) == (409, "quota_exceeded", "adapter_bytes_max")
    assert str(used + 1000) in refused.json["error"]["message"]
    assert acme.upload(MASK, name="one").status == 200  # it is there
    assert admin.get("/tenants/u-bytes").json["adapter_bytes"] == used


@pytest.mark.parametrize("headers", [(), ("Expect: 100-continue",)])
def test_what_cannot_fit_is_refused_before_the_body(daemon, headers):
    name = f"u-early-{len(headers)}"
    acme = tenant(daemon, name, adapter_bytes_max=1 << 20)
    head = ("Content-Type: multipart/form-data; boundary=b", f"Content-Length: {2 << 20}", *headers)
    for key, path in ((acme.key, "/adapters"), (daemon.admin_key, f"/adapters?tenant={name}")):
        with Wire(daemon) as wire:
            wire.request("POST", path, None, key, head)
            answer = wire.answer()
            assert (answer.status, answer.code) == (409, "quota_exceeded")


def test_uploads_that_race_cannot_both_get_in(daemon):
    acme, answers = tenant(daemon, "u-race", adapters_max=2), []
    files = {"config": read(os.path.join(MASK, "adapter_config.json")),
             "weights": read(os.path.join(MASK, "adapter_model.safetensors"))}

    def run(i):
        answers.append(acme.upload(**files, name=f"n{i}"))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(a.status for a in answers) == [201, 201, 409, 409, 409, 409]
    assert {a.code for a in answers if a.status == 409} == {"quota_exceeded"}
    assert len(acme.get("/adapters").json["data"]) == 2


# ---- adapterctl ----

def test_adapterctl_sets_and_shows_quotas(daemon, ctl):
    made = ctl(daemon, "tenants", "create", "c-quota", "--adapters-max", "5", "--adapter-bytes-max", "2M")
    assert made.status == 0, made
    admin = daemon.client()
    assert admin.get("/tenants/c-quota").json["quota"] == {**NONE, "adapters_max": 5, "adapter_bytes_max": 2 << 20}
    out = ctl(daemon, "tenants", "quota", "c-quota", "--weight", "50", "--adapters-max", "none", "--tokens-per-minute", "600",
              "--requests-in-flight-max", "4")
    rows = dict(line.split() for line in out.out.splitlines())
    assert rows == {"QUOTA": "LIMIT", "adapters_max": "none", "adapter_bytes_max": str(2 << 20), "files_bytes_max": "none", "tokens_per_minute": "600",
                    "requests_in_flight_max": "4", "training_jobs_max": "none", "training_tokens_per_day": "none", "training_rank_max": "none",
                    "weight": "50"}
    assert ctl(daemon, "tenants", "quota", "c-quota").out == out.out
    assert "tokens_per_minute" in ctl(daemon, "tenants", "show", "c-quota").out
    assert ctl(daemon, "tenants", "default", "c-quota", "--adapter", "support").status == 0
    assert admin.get("/tenants/c-quota").json["default_adapter"] == "support"
    assert "default adapter: support" in ctl(daemon, "tenants", "show", "c-quota").out
    assert ctl(daemon, "tenants", "default", "c-quota", "--base").status == 0
    assert admin.get("/tenants/c-quota").json["default_adapter"] is None
    for wrong in (["--weight", "heavy"], ["--weight", "1X"], ["--weight", ""], ["--adapter-bytes-max", "99999999999999999999"],
                  ["--adapter-bytes-max", "9999999999999G"]):
        bad = ctl(daemon, "tenants", "quota", "c-quota", *wrong)
        assert bad.status == 2 and "whole number" in bad.err
    assert ctl(daemon, "tenants", "default", "c-quota").status == 2
    assert "(out_of_range)" in ctl(daemon, "tenants", "quota", "c-quota", "--weight", "5000").err
