"""Upgrades: a database of any earlier schema, with rows in all its tables, is opened by this program and everything in it is
served; one whose migration fails stays as it was; a newer one is refused."""
import glob
import hashlib
import os
import re
import sqlite3

import pytest

from client import SCALE, read
from daemon import ROOT, Daemon, model_path
from fixtures import adapter
from test_backup import served
from test_kill import INPUT, Content

MIGRATIONS = sorted(glob.glob(os.path.join(ROOT, "migrations", "*.sql")))
APPLICATION_ID = 0x61647064
KEYS = {"acme": ("k_0000000000000001", "ad_" + "1" * 64), "other": ("k_0000000000000002", "ad_" + "2" * 64)}
REVOKED = ("k_0000000000000003", "ad_" + "3" * 64)


def first_rows(contents):
    """Rows of every table of the first schema, as its program wrote them. acme has two adapters, one of two versions of which
    the older is active; other has the content of one of them."""
    config, weights = contents[0].blobs[0], [c.blobs[1] for c in contents]
    size = len(contents[0].config), len(contents[0].weights)
    rows = ["INSERT INTO tenants VALUES (1, 'acme', 1700000000000), (2, 'other', 1700000001000), (5, 'empty', 1700000002000)"]
    keys = [(KEYS["acme"], 1, "web", "NULL"), (KEYS["other"], 2, "", "NULL"), (REVOKED, 1, "old", "1700000003000")]
    for (kid, key), tenant, label, revoked in keys:
        digest = hashlib.sha256(key.encode()).hexdigest()
        rows.append(f"INSERT INTO keys VALUES ('{kid}', {tenant}, x'{digest}', '{label}', 1700000000500, {revoked})")
    rows.append("INSERT INTO adapters VALUES (1, 1, 'one', 1700000004000), (3, 1, 'two', 1700000005000), (4, 2, 'one', 1700000006000)")
    for number, owner, content, active in ((1, 1, 0, 1), (2, 1, 1, 0), (5, 3, 2, 1), (6, 4, 0, 1)):
        digest = contents[content].version.removeprefix("sha256:")
        rows.append(f"INSERT INTO versions VALUES ({number}, {owner}, '{digest}', '{config}', '{weights[content]}', {size[0]}, "
                    f"{size[1]}, 4, 3, 1728, {1700000007000 + number}, 1.5, 0.25, {active})")
    return rows


def old_database(path, schema, contents):
    """What a program of that schema left that was upgraded from the first one."""
    db = sqlite3.connect(path)
    for number, migration in enumerate(MIGRATIONS[:schema], 1):
        db.executescript(read(migration).decode())
        if number == 1:
            for row in first_rows(contents):
                db.execute(row)
            db.commit()
    db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {schema}")
    db.close()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    d = Daemon(model_path("mlp"), tmp_path_factory.mktemp("upgrade") / "data")
    teacher = d.tenant("teacher")
    found = [Content(1 + i / 4) for i in range(3)]
    for i, c in enumerate(found):
        c.version = teacher.upload(config=c.config, weights=c.weights, name=f"c{i}").json["version"]
        c.output = teacher.infer(adapter=f"c{i}", input=INPUT).json["output"]
        c.blobs = [hashlib.sha256(x).hexdigest() for x in (c.config, c.weights)]
    d.stop()
    return found


def old_data(directory, schema, contents):
    for c in contents:
        for digest, content in zip(c.blobs, (c.config, c.weights), strict=True):
            shelf = os.path.join(directory, "blobs", "sha256", digest[:2])
            os.makedirs(shelf, exist_ok=True)
            with open(os.path.join(shelf, digest), "wb") as f:
                f.write(content)
    old_database(os.path.join(directory, "registry.db"), schema, contents)
    return directory


def check_everything(d, contents):
    outputs = {c.version: c.output for c in contents}
    acme, other = (d.client(KEYS[t][1]) for t in ("acme", "other"))
    assert served(acme, outputs) == 3 and served(other, outputs) == 1
    one = acme.get("/adapters/one").json
    assert one["version"] == contents[0].version
    assert [(v["version"], v["active"]) for v in one["versions"]] == [(contents[1].version, False), (contents[0].version, True)]
    assert acme.infer(adapter="one", input=INPUT).json["output"] == contents[0].output
    assert [t["id"] for t in d.client().get("/tenants").json["data"]] == ["acme", "empty", "other"]
    keys = {k["kid"]: (k["label"], k["revoked"]) for k in d.client().get("/tenants/acme/keys").json["data"]}
    assert keys == {KEYS["acme"][0]: ("web", False), REVOKED[0]: ("old", True)}
    assert d.client(REVOKED[1]).get("/adapters").status == 401
    report = d.client().request("POST", "/fsck").json
    assert report["ok"], report


@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS) + 1))
def test_every_earlier_schema(start, tmp_path, contents, schema):
    d = start("mlp", old_data(tmp_path / "data", schema, contents))
    check_everything(d, contents)
    # And it goes on from there: numbers are never used twice.
    acme = d.client(KEYS["acme"][1])
    assert acme.upload(adapter("mlp", "r8-fc2"), name="three").status == 201
    assert acme.delete("/adapters/three").status == 204
    assert d.client().post("/tenants", {"id": "new"}).status == 201
    assert d.client().delete("/tenants/new").status == 204
    d.stop()
    check_everything(start("mlp", d.data), contents)
    db = sqlite3.connect(os.path.join(d.data, "registry.db"))
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'tenants'").fetchone()[0] == 6
    db.close()


def refused(start, data):
    """The start fails; what it says, and that the database has the same bytes."""
    path = os.path.join(data, "registry.db")
    before = read(path)
    d = start("mlp", data, wait=False)
    assert d.process.wait(60 * SCALE) == 1
    d.process.stdout.close()
    assert read(path) == before
    # Nothing is left to be rolled back: no journal, or one without a header.
    assert not os.path.exists(path + "-journal") or read(path + "-journal")[:28].strip(b"\0") == b""
    return d.read_log()


def failing_names():
    """For each migration but the first: the name of a table that it makes, which is in the way when it is there already."""
    for number, migration in enumerate(MIGRATIONS[1:], 2):
        made = re.search(r"CREATE TABLE (\w+)", read(migration).decode())
        if made:
            yield number, made.group(1)


@pytest.mark.parametrize("number, table", failing_names())
def test_a_migration_that_fails_leaves_everything_as_it_was(start, tmp_path, contents, number, table):
    """Also those before it, which had succeeded: the older program can still open it."""
    data = old_data(tmp_path / "data", 1, contents)
    path = os.path.join(data, "registry.db")
    db = sqlite3.connect(path)
    db.execute(f"CREATE TABLE {table} (x)")
    db.commit()
    db.close()
    assert table in refused(start, data)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    db.execute(f"DROP TABLE {table}")
    db.commit()
    db.close()
    check_everything(start("mlp", data), contents)


def test_a_newer_database_is_refused(start, tmp_path, contents):
    data = old_data(tmp_path / "data", len(MIGRATIONS), contents)
    path = os.path.join(data, "registry.db")
    for version, accepted in ((len(MIGRATIONS) + 1, False), (10_000, False), (len(MIGRATIONS), True)):
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
        db.close()
        if accepted:
            check_everything(start("mlp", data), contents)
        else:
            assert f"schema version {version}" in refused(start, data)


def test_a_backup_of_an_earlier_program(start, ctl, tmp_path, contents):
    """Restored and upgraded: backups outlive programs."""
    d = start("mlp", old_data(tmp_path / "data", 1, contents))
    assert ctl(d, "backup", tmp_path / "backup").status == 0
    d.stop()
    old = tmp_path / "backup" / "registry.db"
    os.unlink(old)
    old_database(old, 1, contents)
    lines = read(tmp_path / "backup" / "SHA256SUMS").decode().splitlines(keepends=True)
    lines[0] = hashlib.sha256(read(old)).hexdigest() + "  registry.db\n"
    (tmp_path / "backup" / "SHA256SUMS").write_text("".join(lines))
    assert ctl(None, "restore", tmp_path / "backup", tmp_path / "restored").status == 0
    check_everything(start("mlp", tmp_path / "restored"), contents)
