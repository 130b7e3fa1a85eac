"""kill -9 in the middle of uploads, activations, deletes and changes of keys and files, again and again: nothing that was acknowledged is
lost, torn or comes back, and the audit log tells of exactly what happened.

ADAPTERD_KILLS sets how often (200), ADAPTERD_KILL_SEED (0) in which way; `make torture` is for large numbers."""
import copy
import hashlib
import http.client
import json
import os
import random
import struct
import threading
import time

from client import SCALE, form_body, read
from fixtures import adapter

KILLS = int(os.environ.get("ADAPTERD_KILLS", "200"))
SEED = os.environ.get("ADAPTERD_KILL_SEED", "0")
NAMES = [f"n{i}" for i in range(6)]
INPUT = [16 * [0.5], 16 * [-1.25]]


class Content:
    """One variant of a tiny adapter: other numbers, so another version; `output` is what the reference run answered."""

    def __init__(self, factor):
        good = adapter("mlp", "r4")
        self.config = read(os.path.join(good, "adapter_config.json"))
        raw = read(os.path.join(good, "adapter_model.safetensors"))
        data = 8 + struct.unpack("<Q", raw[:8])[0]
        values = struct.unpack(f"<{(len(raw) - data) // 4}f", raw[data:])
        self.weights = raw[:data] + struct.pack(f"<{len(values)}f", *(x * factor for x in values))
        self.version = self.output = None


class Tenant:
    """Works on the daemon until it dies, and knows what must be there then.

    `sure` is the state that was acknowledged: adapters (name -> versions and the active one), keys by label (in force or not),
    files by name (the SHA-256 of their bytes).
    `told` are the audit rows of acknowledged changes since the last look. `open` is the one change under way, which may or may
    not have happened: (action, target, the state after it)."""

    def __init__(self, name, key, contents, seed):
        self.name, self.key, self.contents, self.pick = name, key, contents, random.Random(seed)
        self.sure, self.told, self.open = {"adapters": {}, "keys": {}, "files": {}}, [], None
        self.texts = {}  # of keys, by label, where the answer with it came
        self.kids, self.files, self.seen, self.done, self.labels = {}, {}, 0, 0, 0

    # ---- the changes: each announces itself, asks, and notes the answer ----

    def announce(self, action, target, change):
        after = copy.deepcopy(self.sure)
        change(after)
        self.open = (action, target, after)

    def acknowledged(self, target=None):
        action, announced, after = self.open
        if after != self.sure:
            self.told.append((action, announced if target is None else target))
        self.sure, self.open, self.done = after, None, self.done + 1

    def upload(self, client, name, content, activate):
        known = content.version in self.sure["adapters"].get(name, {"versions": ()})["versions"]

        def change(state):
            a = state["adapters"].setdefault(name, {"versions": set(), "active": None})
            a["versions"].add(content.version)
            a["active"] = content.version if activate else a["active"]
        self.announce("adapter.activate" if known else "adapter.upload", name, change)
        answer = client.upload(config=content.config, weights=content.weights, name=name, activate=str(activate).lower())
        assert answer.status == (200 if known else 201) and answer.json["version"] == content.version, answer
        self.acknowledged()

    def activate(self, client, name, content):
        there = content.version in self.sure["adapters"].get(name, {"versions": ()})["versions"]

        def change(state):
            if there:
                state["adapters"][name]["active"] = content.version
        self.announce("adapter.activate", name, change)
        answer = client.patch(f"/adapters/{name}", {"version": content.version})
        assert answer.status == (200 if there else 404), answer
        self.acknowledged()

    def remove(self, client, name, content):
        there = content.version in self.sure["adapters"].get(name, {"versions": ()})["versions"]

        def change(state):
            if there:
                a = state["adapters"][name]
                a["versions"].remove(content.version)
                a["active"] = None if a["active"] == content.version else a["active"]
        self.announce("version.delete", name, change)
        answer = client.delete(f"/adapters/{name}/versions/{content.version}", force="true")
        assert answer.status == (204 if there else 404), answer
        self.acknowledged()

    def delete(self, client, name):
        self.announce("adapter.delete", name, lambda state: state["adapters"].pop(name, None))
        answer = client.delete(f"/adapters/{name}")
        assert answer.status == (204 if name in self.sure["adapters"] else 404), answer
        self.acknowledged()

    def create_key(self, admin):
        self.labels += 1
        label = f"{self.name}-{self.labels}"
        self.announce("key.create", label, lambda state: state["keys"].update({label: True}))
        answer = admin.post(f"/tenants/{self.name}/keys", {"label": label})
        assert answer.status == 201, answer
        self.texts[label], self.kids[label] = answer.json["key"], answer.json["kid"]
        self.acknowledged()

    def revoke_key(self, admin, label):
        self.announce("key.revoke", label, lambda state: state["keys"].update({label: False}))
        assert admin.delete(f"/tenants/{self.name}/keys/{self.kids[label]}").status == 204
        self.acknowledged()

    def upload_file(self, client):
        self.labels += 1
        name, text = f"{self.name}-{self.labels}.jsonl", f'{{"input": [{self.labels % 5}], "target": 1}}\n'
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.announce("file.upload", name, lambda state: state["files"].update({name: digest}))
        body, kind = form_body([("purpose", "fine-tune", None), ("file", text, name)])
        answer = client.request("POST", "/v1/files", body, {"Content-Type": kind})
        assert answer.status == 200 and answer.json["digest"] == f"sha256:{digest}", answer
        self.files[name] = answer.json["id"]
        self.acknowledged()

    def delete_file(self, client, name):
        self.announce("file.delete", name, lambda state: state["files"].pop(name))
        assert client.delete(f"/v1/files/{self.files[name]}").status == 200
        self.acknowledged()

    def step(self, client, admin):
        name, content, what = self.pick.choice(NAMES), self.pick.choice(self.contents), self.pick.random()
        revocable = [label for label, in_force in self.sure["keys"].items() if in_force and label in self.kids]
        if what < 0.15:
            self.delete(client, name)
        elif what < 0.25:
            self.remove(client, name, content)
        elif what < 0.40:
            self.activate(client, name, content)
        elif what < 0.50:
            self.revoke_key(admin, self.pick.choice(revocable)) if len(revocable) > 3 else self.create_key(admin)
        elif what < 0.65:
            self.delete_file(client, self.pick.choice(list(self.sure["files"]))) if len(self.sure["files"]) > 3 else self.upload_file(client)
        else:
            self.upload(client, name, content, self.pick.random() < 0.7)

    def work(self, client, admin):
        while True:
            try:
                self.step(client, admin)
            except (OSError, http.client.HTTPException):  # it died under us
                return

    # ---- after a restart ----

    def found(self, client, admin):
        adapters = {}
        for row in client.get("/adapters").json["data"]:
            shown = client.get(f"/adapters/{row['name']}").json
            assert all(v["state"] == "ready" for v in shown["versions"]), shown
            assert {v["version"] for v in shown["versions"] if v["active"]} == {shown["version"]} - {None}, shown
            assert [row["version"] for row in shown["history"][:1]] in ([shown["version"]], []), shown
            adapters[row["name"]] = {"versions": {v["version"] for v in shown["versions"]}, "active": shown["version"]}
        keys = {}
        for row in admin.get(f"/tenants/{self.name}/keys", limit=1000).json["data"]:
            if row["label"].startswith(self.name):
                keys[row["label"]] = not row["revoked"]
                self.kids[row["label"]] = row["kid"]
        files = {}
        for row in client.get("/v1/files").json["data"]:
            files[row["filename"]] = row["digest"].removeprefix("sha256:")
            self.files[row["filename"]] = row["id"]
        return {"adapters": adapters, "keys": keys, "files": files}

    def check(self, client, admin):
        """The acknowledged things, with or without the one that was under way, all whole; and told of as they happened."""
        found, happened = self.found(client, admin), False
        if found != self.sure:
            assert self.open and found == self.open[2], f"found {found}, sure of {self.sure}, under way {self.open}"
            happened = True
        labels = {id: name for name, id in (*self.kids.items(), *self.files.items())}
        rows = admin.get("/audit", tenant=self.name, after=self.seen, limit=1000).json["data"]
        told = [(r["action"], labels.get(r["target"], r["target"])) for r in rows]
        assert told == self.told + ([self.open[:2]] if happened else []), (told, self.told, self.open, happened)
        self.seen = rows[-1]["number"] if rows else self.seen
        self.sure, self.told, self.open = found, [], None

    def check_keys(self, client):
        """Those in force open the door, revoked ones do not. Old ones are forgotten, here only."""
        for label, text in self.texts.items():
            status = client.with_key(text).get("/adapters").status
            assert status == (200 if self.sure["keys"][label] else 401), (label, status)
        self.texts = {label: text for label, text in self.texts.items() if self.sure["keys"][label]}

    def check_answers(self, client):
        """Every version computes what its content computes."""
        outputs = {c.version: c.output for c in self.contents}
        for name, a in self.sure["adapters"].items():
            for version in a["versions"]:
                answer = client.infer(adapter=f"{name}@{version.removeprefix('sha256:')}", input=INPUT)
                assert answer.status == 200 and answer.json["output"] == outputs[version], answer


def prepare(start):
    """Contents with their versions and outputs, and three tenants."""
    d = start("mlp")
    contents = [Content(1 + i / 4) for i in range(5)]
    teacher = d.tenant("teacher")
    for i, c in enumerate(contents):
        c.version = teacher.upload(config=c.config, weights=c.weights, name=f"c{i}").json["version"]
        c.output = teacher.infer(adapter=f"c{i}", input=INPUT).json["output"]
    assert len({c.version for c in contents}) == len({json.dumps(c.output) for c in contents}) == 5
    # Content that two tenants have: deleting the one must not cost the other.
    tenants = [Tenant(name, d.tenant(name).key, contents, f"{name}{SEED}") for name in ("a", "b", "c")]
    assert d.client().delete("/tenants/teacher").status == 204
    for t in tenants:
        t.seen = d.client().get("/audit", limit=1000).json["data"][-1]["number"]
    d.kill()
    return d, contents, tenants


def check_files(d, tenants):
    """No file that nothing needs, none that is missing, and each has the bytes that its name says."""
    files = d.files()
    weights = {v for t in tenants for a in t.sure["adapters"].values() for v in a["versions"]}
    examples = {digest for t in tenants for digest in t.sure["files"].values()}
    # The config is the same in all of them.
    assert len(files) == len(weights) + bool(weights) + len(examples), (files, weights, examples)
    for name in files:
        assert name.startswith("blobs") and hashlib.sha256(read(os.path.join(d.data, name))).hexdigest() == os.path.basename(name)


def check_all(d, tenants, answers):
    for t in tenants:
        t.check(d.client(t.key), d.client())
    check_files(d, tenants)
    if answers:
        for t in tenants:
            t.check_answers(d.client(t.key))
            t.check_keys(d.client())


def storm_and_kill(d, tenants, seconds):
    failures = []

    def run(t):
        try:
            t.work(d.client(t.key), d.client())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(t,)) for t in tenants]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    d.kill()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_kills_in_the_middle_of_changes(start):
    pick = random.Random(f"kills{SEED}")
    d, contents, tenants = prepare(start)
    for kill in range(KILLS):
        d = start("mlp", d.data, "--threads", "1")
        check_all(d, tenants, kill % 10 == 0)
        storm_and_kill(d, tenants, pick.random() * 0.06 * SCALE)
        if kill % 500 == 499:
            print(f"{kill + 1} kills, {sum(t.done for t in tenants)} acknowledged changes, nothing lost", flush=True)
    d = start("mlp", d.data)
    check_all(d, tenants, True)
    assert d.client().request("POST", "/fsck").json["ok"]
    done = sum(t.done for t in tenants)
    print(f"{KILLS} kills, {done} acknowledged changes, nothing lost, torn or resurrected")
    assert done > 2 * KILLS, "enough was done between the kills"


def test_a_kill_while_starting(start):
    """At any moment of a start, also of the first one."""
    d, contents, tenants = prepare(start)
    d = start("mlp", d.data)
    for t in tenants:
        t.upload(d.client(t.key), "n0", contents[0], True)
    d.kill()
    for ms in range(1, 30, 2):
        again = start("mlp", d.data, wait=False)
        time.sleep(ms / 1000)
        again.process.kill()
        again.process.wait()
    check_all(start("mlp", d.data), tenants, True)


def test_a_kill_in_a_first_start(start, tmp_path):
    for ms in range(0, 40, 2):
        d = start("mlp", tmp_path / f"first-{ms}", wait=False)
        time.sleep(ms / 1000)
        d.process.kill()
        d.process.wait()
        again = start("mlp", d.data)
        assert again.client().post("/tenants", {"id": "a"}).status == 201
        again.kill()
