"""A tenant is deleted and another one gets its id, while requests of the old one are on their way: they never reach the new one."""
import json
import threading

import pytest

from client import form_body
from names import CONFIG, INPUT, Names, weights
from wire import Wire


def form(**fields):
    parts = [(k, v, None) for k, v in fields.items()]
    return form_body([*parts, ("config", CONFIG, "c.json"), ("weights", weights(7), "w.safetensors")])


def infer(**fields):
    return json.dumps({"input": INPUT, **fields}).encode(), "application/json"


REQUESTS = {"infer": ("POST", "/infer", *infer(adapter="a")),
            "default adapter": ("POST", "/infer", *infer()),
            "upload": ("POST", "/adapters", *form(name="a")),
            "activate": ("PATCH", "/adapters/a", b'{"rollback": true}', "application/json"),
            "note": ("PATCH", "/adapters/a", b'{"note": "mine"}', "application/json")}


def successor(daemon, tenant):
    """Delete the tenant; another one of the same id has an adapter "a" with two versions, which is its default."""
    admin = daemon.client()
    assert admin.delete(f"/tenants/{tenant}").status == 204
    names = Names(daemon.tenant(tenant))
    assert admin.patch(f"/tenants/{tenant}", {"default_adapter": "a"}).status == 200
    return names


# What an admin does counts for whoever has the id when the body is there, but for what took a place before.
@pytest.mark.parametrize("what, who", [*((what, "tenant") for what in REQUESTS), ("infer", "admin"), ("default adapter", "admin")])
def test_a_request_of_a_deleted_tenant_does_not_reach_its_namesake(mlp, what, who):
    method, path, body, kind = REQUESTS[what]
    mlp.tenants += 1
    tenant = f"t{mlp.tenants}"
    key = mlp.tenant(tenant).key
    if who == "admin":
        key, path = mlp.admin_key, f"{path}?tenant={tenant}"
    with Wire(mlp) as wire:
        wire.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nExpect: 100-continue\r\n"
                  f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n")
        assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n" and wire.file.readline() == b"\r\n"
        names = successor(mlp, tenant)
        before = names.show()
        wire.send(body)
        answer = wire.answer()
    assert (answer.status, answer.code) == (404, "tenant_not_found"), answer
    assert names.show() == before
    assert mlp.client().get("/usage", tenant=tenant, adapter="a").json["data"] == []


def test_a_tenant_that_is_deleted_while_its_usage_is_read_does_not_see_it_as_a_deleted_one(mlp):
    admin, rows, end = mlp.client(), [], threading.Event()
    key = mlp.tenant("usage-of-mine").key

    def read():
        while not end.is_set():
            answer = mlp.client(key).get("/usage")
            assert answer.status in (200, 401, 404), answer
            rows.extend(answer.json.get("data", []))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(40):
        assert mlp.client(key).infer(adapter=None, input=INPUT).status == 200
        assert admin.delete("/tenants/usage-of-mine").status == 204
        key = mlp.tenant("usage-of-mine").key
    end.set()
    for reader in readers:
        reader.join()
    assert rows and not any(row["deleted"] for row in rows)
