"""What is stored and was changed by others than the daemon: flipped bits, files removed or replaced while it runs, other things in
the places of files. Nothing wrong is served, nothing good is lost, and whoever looks is told."""
import hashlib
import http.client
import os
import random
import shutil
import sqlite3
import stat
import struct
import time
from types import SimpleNamespace

import pytest

from client import SCALE, read
from registry_file import edit
from test_kill import INPUT, Content

WAIT_S = 10 * SCALE


def flip(path, bit):
    with open(path, "r+b") as f:
        f.seek(bit // 8)
        byte = f.read(1)[0]
        f.seek(bit // 8)
        f.write(bytes([byte ^ 1 << bit % 8]))


def blob_path(d, digest):
    return os.path.join(d.data, "blobs", "sha256", digest[:2], digest)


def shown(d, tenants):
    """All that tenants are told, and what their adapters compute."""
    found = [d.client().get("/tenants").json, d.client().get("/audit").json]
    for key in tenants:
        client = d.client(key)
        names = [a["name"] for a in client.get("/adapters").json["data"]]
        found.append([(client.get(f"/adapters/{n}").json, client.infer(adapter=n, input=INPUT).json["output"]) for n in names])
    return found


@pytest.fixture(scope="module")
def contents():
    return [Content(1 + i / 4) for i in range(3)]


@pytest.fixture
def filled(start, contents):
    """(daemon that stopped, the tenants' keys, what they were shown)"""
    d = start("mlp")
    keys = []
    for i, tenant in enumerate(("acme", "other")):
        client = d.tenant(tenant)
        keys.append(client.key)
        for k, content in enumerate(contents):
            assert client.upload(config=content.config, weights=content.weights, name=f"a{(i + k) % 2}").status == 201
    before = shown(d, keys)
    d.stop()
    return d, keys, before


def ended(start, data):
    """A start that is refused: what it says."""
    d = start("mlp", data, wait=False)
    assert d.process.wait(60 * SCALE) == 1
    d.process.stdout.close()
    return d.read_log()


# ---- registry.db ----

def test_a_registry_with_flipped_bits_is_refused_with_the_way_back(start, ctl, filled, tmp_path):
    d, keys, before = filled
    path = os.path.join(d.data, "registry.db")
    good, blobs = read(path), d.files()
    rng = random.Random(7)
    for _ in range(12):
        bits = [rng.randrange(8 * len(good)) for _ in range(rng.choice((1, 1, 4)))]
        for bit in bits:
            flip(path, bit)
        said = ended(start, d.data)
        assert "registry.db" in said and ("adapterctl restore" in said or "newer" in said), (bits, said)
        assert d.files() == blobs, "what a damaged database does not name is not swept"
        with open(path, "wb") as f:
            f.write(good)
    assert shown(start("mlp", d.data), keys) == before


def test_what_another_program_wrote_is_refused_and_can_be_dumped(start, filled):
    """Changes by hand go through a dump: adapterd takes over what has no checksums."""
    d, keys, before = filled
    path = os.path.join(d.data, "registry.db")
    db = sqlite3.connect(path)
    db.execute("UPDATE tenants SET weight = 7 WHERE id = 'acme'")
    db.commit()
    db.close()
    assert "checksum" in ended(start, d.data)
    assert edit(path, "UPDATE tenants SET weight = 7 WHERE id = 'acme'") == [1]
    d = start("mlp", d.data)
    assert d.client().get("/tenants/acme").json["quota"]["weight"] == 7
    assert shown(d, keys)[2:] == before[2:]


def remove(path):
    os.unlink(path)


def replace(path):
    shutil.copy(path, path + ".copy")
    os.rename(path + ".copy", path)


def write_over(path):
    content = read(path)
    with open(path, "wb") as f:
        f.write(content)


@pytest.mark.parametrize("harm", [remove, replace, write_over])
def test_a_registry_that_goes_while_the_daemon_runs(start, ctl, contents, tmp_path, harm):
    d = start("mlp")
    acme = d.tenant("acme")
    assert acme.upload(config=contents[0].config, weights=contents[0].weights, name="a").status == 201
    output = acme.infer(adapter="a", input=INPUT).json["output"]
    assert d.anonymous().get("/readyz").status == 200
    harm(os.path.join(d.data, "registry.db"))
    for answer in (d.client().post("/tenants", {"id": "late"}), acme.delete("/adapters/a"),
                   acme.upload(config=contents[1].config, weights=contents[1].weights, name="b")):
        assert (answer.status, answer.code) == (503, "registry_replaced")
    deadline = time.monotonic() + WAIT_S
    while d.anonymous().get("/readyz").status == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    ready = d.anonymous().get("/readyz")
    assert (ready.status, ready.json) == (503, {"status": "registry_replaced"})
    assert acme.infer(adapter="a", input=INPUT).json["output"] == output
    report = d.client().request("POST", "/fsck").json
    assert not report["ok"] and [p["kind"] for p in report["problems"]] == ["database"]
    # What it holds can be saved, and serves elsewhere.
    assert ctl(d, "backup", tmp_path / "backup").status == 0
    d.stop()
    assert ctl(None, "restore", tmp_path / "backup", tmp_path / "restored").status == 0
    again = start("mlp", tmp_path / "restored")
    assert again.client(acme.key).infer(adapter="a", input=INPUT).json["output"] == output


# ---- blobs ----

def digests_of(content):
    return {"config": hashlib.sha256(content.config).hexdigest(), "weights": hashlib.sha256(content.weights).hexdigest()}


def download(d, client, path):
    """(status, body, whole): a connection that breaks is not whole."""
    connection = http.client.HTTPConnection(d.address, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {client.key}"})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read(), True
        except (http.client.IncompleteRead, ConnectionError) as e:
            return answer.status, getattr(e, "partial", b""), False
    except (http.client.RemoteDisconnected, ConnectionError):
        return None, b"", False
    finally:
        connection.close()


def padded(content, size):
    """The same tensors in a larger file: a header may end in spaces."""
    length = struct.unpack("<Q", content.weights[:8])[0]
    padding = size - len(content.weights)
    return SimpleNamespace(config=content.config, weights=struct.pack("<Q", length + padding) + content.weights[8 : 8 + length]
                           + padding * b" " + content.weights[8 + length :])


@pytest.mark.parametrize("part, size", [("adapter_config.json", None), ("adapter_model.safetensors", None),
                                        ("adapter_model.safetensors", 900_000)])
def test_a_download_never_ends_well_with_other_bytes(start, contents, part, size):
    d = start("mlp")
    acme = d.tenant("acme")
    content = padded(contents[0], size) if size else contents[0]
    assert acme.upload(config=content.config, weights=content.weights, name="a").status == 201
    path = blob_path(d, digests_of(content)["config" if "config" in part else "weights"])
    good = read(path)
    address = f"/adapters/a/versions/{acme.get('/adapters/a').json['version']}/files/{part}"
    assert download(d, acme, address) == (200, good, True)
    for bit in (0, 4 * len(good), 8 * len(good) - 1):
        flip(path, bit)
        status, body, whole = download(d, acme, address)
        assert not (status == 200 and whole), (status, whole)
        assert status == 503 if not size else not body.endswith(good[-1000:])
        # It is known from now on, and the same files repair it.
        answer = acme.infer(adapter="a", input=INPUT)
        assert (answer.status, answer.code) == (503, "adapter_broken")
        assert acme.upload(config=content.config, weights=content.weights, name="a").status in (200, 201)
        assert download(d, acme, address) == (200, good, True)


def put_directory(path):
    os.mkdir(path)
    with open(os.path.join(path, "inner"), "w") as f:
        f.write("x")


def put_link(path):
    os.symlink("/etc/hostname", path)


def put_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("put", [None, put_directory, put_link, put_pipe])
def test_an_upload_repairs_whatever_stands_in_a_blobs_place(start, contents, put, restarted):
    d = start("mlp")
    acme = d.tenant("acme")
    content = contents[0]
    assert acme.upload(config=content.config, weights=content.weights, name="a").status == 201
    output = acme.infer(adapter="a", input=INPUT).json["output"]
    path = blob_path(d, digests_of(content)["weights"])
    if restarted:
        d.stop()
    os.unlink(path)
    if put:
        put(path)
    if restarted:
        d = start("mlp", d.data)
        acme = d.client(acme.key)
    assert acme.upload(config=content.config, weights=content.weights, name="a").status in (200, 201)
    assert stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_size == len(content.weights)
    d.stop()
    d = start("mlp", d.data)
    assert d.client(acme.key).infer(adapter="a", input=INPUT).json["output"] == output


def test_what_a_start_sweeps_waits_in_the_quarantine(start, ctl, filled):
    d, keys, before = filled
    database = os.path.join(d.data, "registry.db")
    late = read(database)
    digest = "ab" + 62 * "0"
    with open(blob_path(d, digest), "wb") as f:
        f.write(b"nobody's")
    d = start("mlp", d.data)
    report = d.client().request("POST", "/fsck").json
    assert report["ok"] and report["quarantine"]["count"] == 1 and report["quarantine"]["bytes"] == 8
    (file,) = report["quarantine"]["files"]
    assert file["name"] == digest and file["since"] < file["until"]
    said = ctl(d, "fsck")
    assert said.status == 0 and digest in said.out
    d.stop()
    assert read(os.path.join(d.data, "quarantine", digest)) == b"nobody's" and late


# ---- who may read it ----

@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_everything_below_the_data_directory_is_its_owners_alone(start, tmp_path, contents, umask):
    before = os.umask(umask)
    try:
        d = start("mlp", tmp_path / "data")
    finally:
        os.umask(before)
    acme = d.tenant("acme")
    assert acme.upload(config=contents[0].config, weights=contents[0].weights, name="a").status == 201

    def modes():
        for directory, directories, names in os.walk(d.data):
            for name in directories + names:
                path = os.path.join(directory, name)
                yield os.path.relpath(path, d.data), stat.S_IMODE(os.lstat(path).st_mode), name in directories

    assert {(p, oct(m)) for p, m, is_directory in modes() if m != (0o700 if is_directory else 0o600)} == set()
    d.stop()
    for path, _, is_directory in list(modes()):  # as older programs left it
        os.chmod(os.path.join(d.data, path), 0o755 if is_directory else 0o644)
    d = start("mlp", d.data)
    assert {(p, oct(m)) for p, m, is_directory in modes() if m != (0o700 if is_directory else 0o600)} == set()
