"""/v1/files: what is kept to train with, in the shape of OpenAI's; bad files are refused by line; what is deleted is gone."""
import http.client
import json
import os
import re
import select
import time

import pytest

from client import SCALE, form_body, read
from daemon import ROOT

BAD = os.path.join(ROOT, "tests", "fixtures", "training", "bad")
GOOD = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}\n'


def upload(client, text, filename="a.jsonl", purpose="fine-tune", query="", **fields):
    parts = [*((k, v, None) for k, v in ({} if purpose is None else {"purpose": purpose}).items()), *((k, v, None) for k, v in fields.items())]
    body, kind = form_body([*parts, ("file", text, filename)])
    return client.request("POST", f"/v1/files{query}", body, {"Content-Type": kind})


def kept(client, text=GOOD, **more):
    answer = upload(client, text, **more)
    assert answer.status == 200, answer
    return answer.json


def blobs(daemon):
    return {name for _, _, names in os.walk(os.path.join(daemon.data, "blobs")) for name in names}


def nothing_on_its_way(daemon):
    """What was refused goes with its request, a moment after the answer."""
    deadline = time.monotonic() + 10 * SCALE
    while os.listdir(os.path.join(daemon.data, "tmp")) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.listdir(os.path.join(daemon.data, "tmp")) == []


@pytest.fixture(scope="module")
def refused(daemon):
    """A tenant that never has a file."""
    return daemon.tenant("files-refused")


# ---- one file ----

def test_a_file_is_kept_and_comes_back(daemon):
    tenant = daemon.tenant("files-kept")
    before = int(time.time())
    file = kept(tenant, "\ufeff" + GOOD + "\r\n" + GOOD, filename="Müller/support.jsonl")
    assert re.fullmatch("file-[0-9a-f]{24}", file["id"])
    assert before <= file.pop("created_at") <= time.time() and re.fullmatch("sha256:[0-9a-f]{64}", file.pop("digest"))
    text = ("\ufeff" + GOOD + "\r\n" + GOOD).encode()
    assert file == {"id": file["id"], "object": "file", "filename": "support.jsonl", "purpose": "fine-tune", "bytes": len(text), "examples": 2,
                    "status": "processed", "status_details": None, "expires_at": None}
    assert tenant.get(f"/v1/files/{file['id']}").json["filename"] == "support.jsonl"
    content = tenant.get(f"/v1/files/{file['id']}/content")
    assert (content.body, content.headers["Content-Type"]) == (text, "application/jsonl")


def test_a_deleted_file_is_off_the_disk(daemon):
    tenant = daemon.tenant("files-deleted")
    before = blobs(daemon)
    file = kept(tenant, GOOD * 3)
    name = file["digest"].removeprefix("sha256:")
    assert blobs(daemon) == before | {name}
    assert os.stat(os.path.join(daemon.data, "blobs", "sha256", name[:2], name)).st_mode & 0o777 == 0o600
    assert tenant.delete(f"/v1/files/{file['id']}").json == {"id": file["id"], "object": "file", "deleted": True}
    assert blobs(daemon) == before
    again = tenant.delete(f"/v1/files/{file['id']}")
    assert (again.status, again.code) == (404, "file_not_found")
    for path in (f"/v1/files/{file['id']}", f"/v1/files/{file['id']}/content"):
        assert tenant.get(path).code == "file_not_found"


def test_a_tenants_files_go_with_it(daemon):
    before = blobs(daemon)
    tenant = daemon.tenant("files-leaving")
    kept(tenant, GOOD * 5)
    kept(tenant, GOOD * 6)
    assert len(blobs(daemon)) == len(before) + 2
    assert daemon.client().delete("/tenants/files-leaving").status == 204
    assert blobs(daemon) == before


def test_an_admin_names_the_tenant(daemon):
    tenant, admin = daemon.tenant("files-admin"), daemon.client()
    in_form, in_query = kept(admin, tenant="files-admin"), kept(admin, query="?tenant=files-admin")
    assert {f["id"] for f in tenant.get("/v1/files").json["data"]} == {in_form["id"], in_query["id"]}
    assert upload(admin, GOOD).code == "tenant_required"
    assert admin.get("/v1/files").code == "tenant_required"


# ---- lists ----

def test_lists_have_pages_the_newest_first(daemon):
    tenant = daemon.tenant("files-listed")
    ids = [kept(tenant, filename=f"{i}.jsonl")["id"] for i in range(5)][::-1]
    whole = tenant.get("/v1/files").json
    assert [f["id"] for f in whole["data"]] == ids
    assert (whole["object"], whole["has_more"], whole["first_id"], whole["last_id"]) == ("list", False, ids[0], ids[-1])
    first = tenant.get("/v1/files", limit=2).json
    assert [f["id"] for f in first["data"]] == ids[:2] and first["has_more"]
    rest = tenant.get("/v1/files", limit=3, after=first["last_id"]).json
    assert [f["id"] for f in rest["data"]] == ids[2:] and not rest["has_more"]
    assert [f["id"] for f in tenant.get("/v1/files", order="asc", limit=2).json["data"]] == ids[::-1][:2]
    assert [f["id"] for f in tenant.get("/v1/files", order="asc", after=ids[1]).json["data"]] == [ids[0]]
    assert tenant.get("/v1/files", purpose="fine-tune-results").json["data"] == []
    assert len(tenant.get("/v1/files", purpose="fine-tune").json["data"]) == 5
    assert tenant.get("/v1/files", after="file-none").code == "file_not_found"
    for wrong in ({"limit": 0}, {"limit": 1001}, {"order": "up"}, {"purpose": "Fine Tune"}):
        assert tenant.get("/v1/files", **wrong).code == "invalid_parameter", wrong


# ---- what is refused ----

with open(os.path.join(BAD, "cases.json")) as f:
    CASES = json.load(f)


@pytest.mark.parametrize("case", [c for c in CASES if c["expect"] == "refuse" and c["latest_at"] == "file"], ids=lambda c: c["file"])
def test_bad_files_are_refused_by_line(daemon, refused, case):
    answer = upload(refused, read(os.path.join(BAD, case["file"])), filename=case["file"])
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_training_file", "file"), case["why"]
    found = re.match(r"line (\d+): ", answer.json["error"]["message"])
    assert (int(found[1]) if found else None) in (case["line"], *case.get("line_also", ())), answer
    assert refused.get("/v1/files").json["data"] == [] and nothing_on_its_way(daemon)


def test_good_files_are_taken(daemon):
    tenant = daemon.tenant("files-good")
    for case in CASES:
        if case["expect"] == "accept":
            assert kept(tenant, read(os.path.join(BAD, case["file"])), filename=case["file"])["examples"] == case["examples"], case


@pytest.mark.parametrize("change, code, param", [
    ({"purpose": None}, "missing_part", "purpose"),
    ({"purpose": "assistants"}, "invalid_part", "purpose"),
    ({"purpose": ""}, "invalid_part", "purpose"),
    ({"more": "x"}, "unknown_part", "more"),
    ({"expires_after[seconds]": "3600"}, "invalid_part", "expires_after[anchor]"),
    ({"expires_after[anchor]": "created_at"}, "invalid_part", "expires_after[seconds]"),
    ({"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"}, "invalid_part", "expires_after[anchor]"),
    *(({"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}, "invalid_part", "expires_after[seconds]")
      for seconds in ("3599", "2592001", "-1", "1e4", "99999999999999999999", "")),
], ids=str)
def test_bad_forms_are_refused(daemon, refused, change, code, param):
    answer = upload(refused, GOOD, **change)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, code, param)
    assert nothing_on_its_way(daemon)


def test_a_form_needs_its_file(refused):
    body, kind = form_body([("purpose", "fine-tune", None)])
    answer = refused.request("POST", "/v1/files", body, {"Content-Type": kind})
    assert (answer.code, answer.json["error"]["param"]) == ("missing_part", "file")
    assert refused.post("/v1/files", {"purpose": "fine-tune"}).code == "multipart_required"


def test_a_quota_bounds_the_bytes(daemon):
    tenant, admin = daemon.tenant("files-quota"), daemon.client()
    assert admin.patch("/tenants/files-quota", {"quota": {"files_bytes_max": 2 * len(GOOD)}}).status == 200
    first = kept(tenant)
    answer = upload(tenant, GOOD * 2)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (409, "quota_exceeded", "files_bytes_max")
    early = upload(tenant, GOOD * 3000)
    assert early.code == "quota_exceeded" and nothing_on_its_way(daemon)
    assert tenant.delete(f"/v1/files/{first['id']}").status == 200
    kept(tenant, GOOD * 2)


def test_files_end(daemon):
    tenant = daemon.tenant("files-end")
    file = kept(tenant, **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})
    assert 3599 <= file["expires_at"] - file["created_at"] <= 3601


# ---- large files ----

def send(tenant, head, line, count):
    """As a stream, until there is an answer: its status and body, and how much was sent by then."""
    boundary = "x" * 20
    before = (f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--{boundary}\r\n'
              f'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n').encode()
    after = f"\r\n--{boundary}--\r\n".encode()
    block = line * max(1, (1 << 18) // len(line))
    blocks = count * len(line) // len(block)
    connection = http.client.HTTPConnection(tenant.host, tenant.port, timeout=120 * SCALE)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {tenant.key}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(before) + len(head) + blocks * len(block) + len(after)))
    connection.endheaders()
    sent = 0
    connection.send(before + head)
    while sent < blocks * len(block) and not select.select([connection.sock], [], [], 0)[0]:
        connection.send(block)
        sent += len(block)
    if sent == blocks * len(block):
        connection.send(after)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body), sent


def peak(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) << 10


def test_a_large_file_takes_no_memory(start):
    # A sanitizer keeps what was freed for a while: little of it here.
    d = start("demo", None, "--threads", "1", environment={"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=16"})
    tenant = d.tenant("large")
    send(tenant, b"", GOOD.encode(), (48 << 20) // len(GOOD))  # what sanitizers keep they have then
    before = peak(d)
    status, file, _ = send(tenant, b"", GOOD.encode(), (128 << 20) // len(GOOD))
    assert status == 200 and file["bytes"] > 127 << 20
    assert peak(d) - before < 24 << 20


def test_a_bad_line_ends_a_large_file_at_once(daemon):
    tenant = daemon.tenant("files-early")
    began = time.monotonic()
    status, body, sent = send(tenant, b"{}\n", GOOD.encode(), (900 << 20) // len(GOOD))
    assert status == 400 and body["error"]["message"].startswith("line 1: ") and sent < 64 << 20
    assert time.monotonic() - began < 10 * SCALE and nothing_on_its_way(daemon)
    too_long, body, _ = send(tenant, b'{"text": "', b"x" * 1024, 900 << 10)
    assert too_long == 400 and "4194304 bytes" in body["error"]["message"]


# ---- what was acknowledged stays ----

def test_files_survive_a_kill(start):
    d = start("demo", None, "--threads", "1")
    tenant = d.tenant("kill")
    files = [kept(tenant, GOOD * (i + 1)) for i in range(3)]
    assert tenant.delete(f"/v1/files/{files[0]['id']}").status == 200
    key = tenant.key
    d.kill()
    again = start("demo", d.data, "--threads", "1")
    tenant = again.client(key)
    assert [f["id"] for f in tenant.get("/v1/files").json["data"]] == [files[2]["id"], files[1]["id"]]
    assert tenant.get(f"/v1/files/{files[2]['id']}/content").body.decode() == GOOD * 3
    assert len(blobs(again)) == 2


def test_the_audit_log_tells(daemon):
    tenant = daemon.tenant("files-audit")
    file = kept(tenant, filename="a.jsonl")["id"]
    tenant.delete(f"/v1/files/{file}")
    rows = daemon.client().get("/audit", tenant="files-audit", order="desc").json["data"]
    assert [(r["action"], r["target"], r["detail"]) for r in rows[:2]] == [("file.delete", file, "a.jsonl"), ("file.upload", file, "a.jsonl")]


def test_files_are_in_a_backup(start, ctl, tmp_path):
    d = start("mlp", None, "--threads", "1")
    tenant = d.tenant("saved")
    file = kept(tenant)["id"]
    assert ctl(d, "backup", tmp_path / "backup").status == 0
    assert ctl(None, "restore", tmp_path / "backup", tmp_path / "restored").status == 0
    again = start("mlp", tmp_path / "restored", "--threads", "1")
    assert again.client(tenant.key).get(f"/v1/files/{file}/content").body.decode() == GOOD
    assert again.client().request("POST", "/fsck").json["ok"]
