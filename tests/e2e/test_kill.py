"""kill -9 in the middle of uploads and deletes, again and again: nothing that was acknowledged is lost, nothing is torn.

ADAPTERD_KILLS sets how often (200)."""
import json
import os
import random
import struct
import threading
import time

from client import SCALE, read
from fixtures import adapter

KILLS = int(os.environ.get("ADAPTERD_KILLS", "200"))
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
    """Works on the daemon until it dies. `sure` is what must be there: name -> set of versions; `open` holds the one change
    under way, which may or may not have happened when the daemon died: (kind, name, version)."""

    def __init__(self, name, key, contents, seed):
        self.name, self.key, self.contents, self.pick = name, key, contents, random.Random(seed)
        self.sure, self.open, self.done = {}, None, 0

    def work(self, client):
        while True:
            name, content = self.pick.choice(NAMES), self.pick.choice(self.contents)
            delete = self.pick.random() < 0.3
            self.open = ("delete", name, None) if delete else ("upload", name, content.version)
            try:
                answer = client.delete(f"/adapters/{name}") if delete else \
                    client.upload(config=content.config, weights=content.weights, name=name)
            except Exception:  # it died under us
                return
            if delete:
                assert answer.status == (204 if name in self.sure else 404), answer
                self.sure.pop(name, None)
            else:
                known = content.version in self.sure.get(name, ())
                assert answer.status == (200 if known else 201) and answer.json["version"] == content.version, answer
                self.sure.setdefault(name, set()).add(content.version)
            self.open, self.done = None, self.done + 1

    def check(self, client):
        """After a restart: the acknowledged things, with or without the one that was under way, all whole."""
        found = {}
        for row in client.get("/adapters").json["data"]:
            shown = client.get(f"/adapters/{row['name']}").json
            assert all(v["state"] == "ready" for v in shown["versions"]), shown
            assert sum(v["active"] for v in shown["versions"]) == 1
            found[row["name"]] = {v["version"] for v in shown["versions"]}
        possible = [self.sure]
        if self.open:
            kind, name, version = self.open
            after = {k: set(v) for k, v in self.sure.items() if (kind, k) != ("delete", name)}
            if kind == "upload":
                after.setdefault(name, set()).add(version)
            possible.append(after)
        assert found in possible, f"found {found}, sure of {self.sure}, under way {self.open}"
        self.sure, self.open = found, None

    def check_answers(self, client):
        """Every version computes what its content computes."""
        outputs = {c.version: c.output for c in self.contents}
        for name, versions in self.sure.items():
            for version in versions:
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
    tenants = [Tenant(name, d.tenant(name).key, contents, name) for name in ("a", "b", "c")]
    assert d.client().delete("/tenants/teacher").status == 204
    d.kill()
    return d, contents, tenants


def check_files(d, tenants):
    """No file that no version needs, none that is missing."""
    files = d.files()
    weights = {version for t in tenants for versions in t.sure.values() for version in versions}
    # The config is the same in all of them.
    assert len(files) == len(weights) + bool(weights), (files, weights)
    assert all(name.startswith("blobs") for name in files)


def test_kills_in_the_middle_of_changes(start):
    pick = random.Random(5)
    d, contents, tenants = prepare(start)
    for kill in range(KILLS):
        d = start("mlp", d.data, "--threads", "1")
        clients = [d.client(t.key) for t in tenants]
        for t, client in zip(tenants, clients, strict=True):
            t.check(client)
        check_files(d, tenants)
        if kill % 10 == 0:
            for t, client in zip(tenants, clients, strict=True):
                t.check_answers(client)
        failures = []

        def run(t, client, failures=failures):
            try:
                t.work(client)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=pair) for pair in zip(tenants, clients, strict=True)]
        for thread in threads:
            thread.start()
        time.sleep(pick.random() * 0.06 * SCALE)
        d.kill()
        for thread in threads:
            thread.join()
        assert not failures, failures
    d = start("mlp", d.data)
    for t in tenants:
        t.check(d.client(t.key))
        t.check_answers(d.client(t.key))
    assert sum(t.done for t in tenants) > 2 * KILLS, "enough was done between the kills"


def test_a_kill_while_starting(start):
    """At any moment of a start, also of the first one."""
    d, contents, tenants = prepare(start)
    d = start("mlp", d.data)
    for t in tenants:
        assert d.client(t.key).upload(config=contents[0].config, weights=contents[0].weights, name="n0").status == 201
        t.sure = {"n0": {contents[0].version}}
    d.kill()
    for ms in range(1, 30, 2):
        again = start("mlp", d.data, wait=False)
        time.sleep(ms / 1000)
        again.process.kill()
        again.process.wait()
    d = start("mlp", d.data)
    for t in tenants:
        t.check(d.client(t.key))
        t.check_answers(d.client(t.key))


def test_a_kill_in_a_first_start(start, tmp_path):
    for ms in range(0, 40, 2):
        d = start("mlp", tmp_path / f"first-{ms}", wait=False)
        time.sleep(ms / 1000)
        d.process.kill()
        d.process.wait()
        again = start("mlp", d.data)
        assert again.client().post("/tenants", {"id": "a"}).status == 201
        again.kill()
