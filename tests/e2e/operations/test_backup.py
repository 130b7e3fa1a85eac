"""Backup, restore and fsck: a backup under a storm of changes is consistent, a damaged one is refused, and what is damaged
in the daemon's own files is found and named."""
import glob
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading

import pytest

from client import eventually, read
from fixtures import adapter
from test_kill import INPUT, Content

GOOD = adapter("mlp", "r4")


def blobs(directory):
    return sorted(glob.glob(os.path.join(directory, "blobs", "sha256", "??", "*")))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def served(client, outputs):
    """Every version of every adapter of this tenant computes what its content computes. Returns how many there are."""
    count = 0
    for row in client.get("/adapters", limit=1000).json["data"]:
        for v in client.get(f"/adapters/{row['name']}").json["versions"]:
            assert v["state"] == "ready", v
            answer = client.infer(adapter=f"{row['name']}@{v['version'].removeprefix('sha256:')}", input=INPUT)
            assert answer.status == 200 and answer.json["output"] == outputs[v["version"]], answer
            count += 1
    return count


class Storm:
    """Threads that upload and delete until they are stopped."""

    def __init__(self, clients, contents):
        self.stopping, self.failures, self.done = threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(c, contents, i)) for i, c in enumerate(clients)]
        for t in self.threads:
            t.start()

    def run(self, client, contents, turn):
        try:
            while not self.stopping.is_set():
                turn += 1
                name, content = f"n{turn % 7}", contents[turn % len(contents)]
                if turn % 3 == 0:
                    assert client.delete(f"/adapters/{name}").status in (204, 404)
                else:
                    answer = client.upload(config=content.config, weights=content.weights, name=name)
                    assert answer.status in (200, 201), answer
                self.done += 1
        except BaseException as error:
            self.failures.append(error)

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join()
        assert not self.failures, self.failures


def test_backups_under_a_storm_of_changes(start, ctl, tmp_path):
    d = start("mlp", None, "--threads", "1")
    contents = [Content(1 + i / 4) for i in range(5)]
    tenants = [d.tenant(name) for name in ("a", "b", "c")]
    outputs = {}
    for i, c in enumerate(contents):
        version = tenants[0].upload(config=c.config, weights=c.weights, name=f"kept-{i}").json["version"]
        outputs[version] = tenants[0].infer(adapter=f"kept-{i}", input=INPUT).json["output"]
    storm = Storm(tenants, contents)
    for i in range(6):
        before = storm.done
        eventually(lambda before=before: storm.done > before + 3 or storm.failures)
        made = ctl(d, "backup", tmp_path / f"backup-{i}")
        assert made.status == 0, made.err
    storm.stop()
    assert storm.done > 20
    assert sorted(os.listdir(tmp_path / "backup-0")) == ["SHA256SUMS", "blobs", "registry.db"]
    assert not glob.glob(str(tmp_path / "*.partial*"))
    for i in range(6):
        check = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / f"backup-{i}", capture_output=True)
        assert check.returncode == 0, check
        restored = ctl(None, "restore", tmp_path / f"backup-{i}", tmp_path / f"data-of-{i}")
        assert restored.status == 0, restored.err
        again = start("mlp", tmp_path / f"data-of-{i}", "--threads", "1")
        counts = [served(again.client(t.key), outputs) for t in tenants]
        assert counts[0] >= 5, counts
        # Not one file too many or too few.
        assert len(blobs(again.data)) == len(blobs(tmp_path / f"backup-{i}"))
        assert again.client().post("/fsck", None).json["ok"]
        assert again.client().get("/audit").json["data"][0]["action"] == "tenant.create"
        again.stop()
    # What had to stay for the backups has gone, and the original is sound.
    report = d.client().post("/fsck", None).json
    assert report["ok"], report
    weights = {v["version"] for t in tenants for row in t.get("/adapters").json["data"]
               for v in t.get(f"/adapters/{row['name']}").json["versions"]}
    eventually(lambda: len(blobs(d.data)) == len(weights) + 1)
    assert [n for n in os.listdir(os.path.join(d.data, "tmp"))] == []


@pytest.fixture
def backup(start, ctl, tmp_path):
    """A small backup in tmp_path/backup, of a daemon that is gone."""
    d = start("mlp")
    acme = d.tenant("acme")
    for i in range(3):
        c = Content(1 + i)
        assert acme.upload(config=c.config, weights=c.weights, name=f"n{i}").status == 201
    assert ctl(d, "backup", tmp_path / "backup").status == 0
    d.stop()
    return tmp_path / "backup"


def test_a_flipped_byte_is_refused(backup, ctl, tmp_path):
    files = ["SHA256SUMS", "registry.db"] + [os.path.relpath(p, backup) for p in blobs(backup)]
    assert len(files) == 6
    for name in files:
        size = os.path.getsize(backup / name)
        for at in (0, size // 2, size - 1):
            flip(backup / name, at)
            refused = ctl(None, "restore", backup, tmp_path / "data")
            assert refused.status == 1 and "(backup_" in refused.err, (name, at, refused)
            assert not os.path.exists(tmp_path / "data")
            flip(backup / name, at)
    assert ctl(None, "restore", backup, tmp_path / "data").status == 0


def test_what_is_missing_or_too_short_is_refused(backup, ctl, tmp_path):
    for name in ["registry.db", os.path.relpath(blobs(backup)[0], backup)]:
        content = read(backup / name)
        for left in (None, content[:-1], content + b"x", b""):
            os.unlink(backup / name)
            if left is not None:
                (backup / name).write_bytes(left)
            refused = ctl(None, "restore", backup, tmp_path / "data")
            assert refused.status == 1 and "(backup_damaged)" in refused.err, (name, left, refused)
            (backup / name).write_bytes(content)
    sums = read(backup / "SHA256SUMS")
    lines = sums.decode().splitlines(keepends=True)
    for bad in ("", "x", sums.decode()[:-1], "".join(lines[1:]), "".join(lines + lines[-1:]), lines[0] + "".join(lines[:0:-1]),
                lines[0].replace("registry.db", "../../x"), lines[0] + "0" * 64 + "  /etc/passwd\n",
                lines[0] + "0" * 64 + "  blobs/sha256/00/../../x\n", lines[0] + "A" * 64 + "  blobs/sha256/AA/" + "A" * 64 + "\n"):
        (backup / "SHA256SUMS").write_text(bad)
        refused = ctl(None, "restore", backup, tmp_path / "data")
        assert refused.status == 1 and "(backup_malformed)" in refused.err, (bad, refused)
    os.unlink(backup / "SHA256SUMS")
    refused = ctl(None, "restore", backup, tmp_path / "data")
    assert refused.status == 1 and "SHA256SUMS" in refused.err
    assert not os.path.exists(tmp_path / "data")


def test_restore_into_what_is_there(backup, ctl, tmp_path, start):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("x")
    refused = ctl(None, "restore", backup, taken)
    assert refused.status == 1 and "(exists)" in refused.err
    assert os.listdir(taken) == ["precious"]
    empty = tmp_path / "empty"
    empty.mkdir()
    # A failure leaves the empty directory as it was.
    flip(backup / "registry.db", 100)
    assert ctl(None, "restore", backup, empty).status == 1 and os.listdir(empty) == []
    flip(backup / "registry.db", 100)
    answer = json.loads(ctl(None, "--json", "restore", backup, empty).out)
    assert answer["blobs"] == 4
    assert {p: oct(os.stat(p).st_mode & 0o777) for p in (empty / "registry.db", empty / "blobs")} == \
        {empty / "registry.db": "0o600", empty / "blobs": "0o700"}
    d = start("mlp", empty)
    assert len(d.client().get("/adapters", tenant="acme").json["data"]) == 3


def test_pipes_and_directories_in_a_backup_hold_nothing_up(backup, ctl, tmp_path):
    for name in ["SHA256SUMS", "registry.db", os.path.relpath(blobs(backup)[0], backup)]:
        content = read(backup / name)
        for make in (os.mkfifo, os.mkdir):
            os.unlink(backup / name)
            make(backup / name)
            refused = ctl(None, "restore", backup, tmp_path / "data")
            assert refused.status == 1 and "no plain file (backup_damaged)" in refused.err, (name, refused)
            assert not os.path.exists(tmp_path / "data")
            os.unlink(backup / name) if make is os.mkfifo else os.rmdir(backup / name)
            (backup / name).write_bytes(content)


def test_an_interrupted_restore_is_not_an_empty_registry(tmp_path, start):
    """Killed while it copies the database, before there is a blob."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.db.partial").write_bytes(b"half of it")
    d = start("mlp", tmp_path / "data", wait=False)
    assert d.process.wait() == 1 and "did not come to its end" in d.read_log()
    assert not os.path.exists(tmp_path / "data" / "registry.db")


def test_backup_refuses_what_is_there_and_cleans_up(start, ctl, tmp_path):
    d = start("mlp")
    for target in ("file", "directory"):
        path = tmp_path / target
        path.write_text("x") if target == "file" else path.mkdir()
        refused = ctl(d, "backup", path)
        assert refused.status == 1 and "(exists)" in refused.err
    assert ctl(d, "backup", tmp_path / "no" / "such").status == 1
    refused = ctl(d, "backup", tmp_path / "foreign", key="0" * 40)
    assert refused.status == 1 and "unauthorized" in refused.err
    assert not os.path.exists(tmp_path / "foreign") and not glob.glob(str(tmp_path / "*.partial*"))
    made = ctl(d, "--json", "backup", str(tmp_path / "empty") + "//")
    assert json.loads(made.out)["files"] == 2, made
    assert ctl(None, "restore", tmp_path / "empty", tmp_path / "data").status == 0


def test_the_archive_is_a_plain_tar_and_is_audited(start):
    d = start("mlp")
    acme = d.tenant("acme")
    assert acme.upload(GOOD, name="one").status == 201
    answer = d.client().request("POST", "/backup")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-tar"
    assert answer.headers["Cache-Control"] == "no-store"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        names = tar.getnames()
        assert names[:2] == ["SHA256SUMS", "registry.db"] and len(names) == 4
        for line in tar.extractfile("SHA256SUMS").read().decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(tar.extractfile(name).read()).hexdigest() == digest
    assert d.client().get("/audit").json["data"][-1]["action"] == "backup.start"
    assert acme.key.encode() not in answer.body and d.admin_key.encode() not in answer.body


def test_a_client_that_leaves_a_backup_holds_nothing(start):
    """Blobs stay only as long as somebody reads; their removal happens afterwards."""
    d = start("mlp")
    acme = d.tenant("acme")
    large = Content(1)
    assert acme.upload(config=large.config, weights=large.weights, name="one").status == 201
    for _ in range(12):
        connection, response = d.client().open("POST", "/backup")
        assert response.status == 200
        response.read(100)
        connection.close()
    assert acme.delete("/adapters/one").status == 204
    eventually(lambda: blobs(d.data) == [] and os.listdir(os.path.join(d.data, "tmp")) == [])


def test_a_broken_version_does_not_prevent_a_backup(start, ctl, tmp_path):
    d = start("mlp")
    acme = d.tenant("acme")
    contents = [Content(1), Content(2)]
    for i, c in enumerate(contents):
        assert acme.upload(config=c.config, weights=c.weights, name=f"n{i}").status == 201
    damaged = [p for p in blobs(d.data) if read(p) == contents[0].weights][0]
    flip(damaged, 500)
    refused = ctl(d, "backup", tmp_path / "first")
    assert refused.status == 1 and "(backup_damaged)" in refused.err and "fsck" in refused.err
    assert not os.path.exists(tmp_path / "first")
    assert ctl(d, "fsck").status == 1
    assert ctl(d, "backup", tmp_path / "second").status == 0
    assert len(blobs(tmp_path / "second")) == 2
    assert ctl(None, "restore", tmp_path / "second", tmp_path / "data").status == 0
    again = start("mlp", tmp_path / "data").client(acme.key)
    assert {r["name"]: r["state"] for r in again.get("/adapters").json["data"]} == {"n0": "broken", "n1": "ready"}
    assert again.upload(config=contents[0].config, weights=contents[0].weights, name="n0").status == 200
    assert again.infer(adapter="n0", input=INPUT).status == 200


# ---- fsck ----

def test_fsck_finds_and_names_what_is_wrong(start, ctl):
    d = start("mlp")
    acme = d.tenant("acme")
    contents = [Content(1 + i) for i in range(4)]
    versions = [acme.upload(config=c.config, weights=c.weights, name=f"n{i}").json["version"] for i, c in enumerate(contents)]
    good = ctl(d, "fsck")
    assert good.status == 0 and good.out.startswith("checked: 4 versions, 5 blobs, "), good
    by_content = {read(p): p for p in blobs(d.data)}
    flip(by_content[contents[0].weights], 900)
    os.unlink(by_content[contents[1].weights])
    with open(by_content[contents[2].weights], "ab") as f:
        f.write(b"x")
    stray = os.path.join(d.data, "blobs", "sha256", "ab", "ab" + "0" * 62)
    odd = os.path.join(d.data, "blobs", "sha256", "ab", "notes.txt")
    for path in (stray, odd):
        with open(path, "w") as f:
            f.write("x")
    report = d.client().request("POST", "/fsck").json
    assert not report["ok"] and report["problem_count"] == len(report["problems"]) == 5
    broken = sorted((p["tenant"], p["name"], p["version"]) for p in report["problems"] if p["kind"] == "broken")
    assert broken == [("acme", f"n{i}", versions[i]) for i in range(3)]
    orphans = [p["message"] for p in report["problems"] if p["kind"] == "orphan"]
    assert len(orphans) == 2 and os.path.basename(stray) in str(orphans) and "notes.txt" in str(orphans)
    assert os.path.exists(stray) and os.path.exists(odd)
    for i in range(3):
        answer = acme.infer(adapter=f"n{i}", input=INPUT)
        assert answer.code == "adapter_broken"
    assert acme.infer(adapter="n3", input=INPUT).status == 200
    shown = ctl(d, "fsck")
    assert shown.status == 1 and "5 problems found" in shown.err and shown.out.count("broken") == 3
    # The same files again heal.
    for i in range(3):
        assert acme.upload(config=contents[i].config, weights=contents[i].weights, name=f"n{i}").status == 200
        assert acme.infer(adapter=f"n{i}", input=INPUT).status == 200
    os.unlink(stray), os.unlink(odd)
    assert ctl(d, "fsck").status == 0


def test_fsck_during_changes_reports_nothing(start):
    d = start("mlp", None, "--threads", "1")
    contents = [Content(1 + i / 4) for i in range(4)]
    storm = Storm([d.tenant(name) for name in ("a", "b", "c")], contents)
    for _ in range(10):
        before = storm.done
        eventually(lambda before=before: storm.done > before + 2 or storm.failures)
        report = d.client().request("POST", "/fsck").json
        assert report["ok"], report
    storm.stop()


def test_not_for_tenants(start):
    d = start("mlp")
    acme = d.tenant("acme")
    for path in ("/backup", "/fsck"):
        assert acme.request("POST", path).status == 403
        assert d.client().request("POST", path, b"{}").status == 413
        assert d.client().get(path).status == 405
