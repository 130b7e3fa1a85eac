"""adapterctl is stopped by a signal in the middle of what it writes: nothing of it stays behind, and it ends as the signal would have it."""
import hashlib
import json
import os
import signal
import subprocess
import threading

import pytest

from client import SCALE, eventually
from daemon import ADAPTERCTL
from impostor import Impostor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def stalls():
    """stalls(answers): an impostor; a piece of its bodies may be the function `stall`, which waits for the test's end."""
    end, started = threading.Event(), []

    def run(answers):
        started.append(Impostor(answers))
        return started[-1]

    run.stall = lambda: end.wait(60 * SCALE)
    yield run
    end.set()
    for impostor in started:
        impostor.close()


def interrupt(number, url, begun, *arguments):
    """Start adapterctl, wait until it has begun, send the signal; its message."""
    process = subprocess.Popen([ADAPTERCTL, "--url", url, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: begun() or process.poll() is not None)
    process.send_signal(number)
    out, err = process.communicate(timeout=60 * SCALE)
    assert process.returncode == -number and out == b"" and b"interrupted" in err, (process.returncode, out, err)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_backup(stalls, tmp_path, number):
    head = bytearray(512)
    for at, text in ((0, b"SHA256SUMS"), (100, b"0000600\0"), (124, b"00000000744\0"), (156, b"0"), (257, b"ustar\x0000"), (148, 8 * b" ")):
        head[at : at + len(text)] = text
    head[148:156] = b"%06o\0 " % sum(head)
    impostor = stalls({("POST", "/backup"): (200, {"Content-Length": "9999999"}, [bytes(head), stalls.stall])})
    interrupt(number, impostor.url, lambda: os.listdir(tmp_path) and os.listdir(tmp_path / os.listdir(tmp_path)[0]),
              "backup", tmp_path / "backup")
    assert os.listdir(tmp_path) == []


def test_a_download(stalls, tmp_path):
    digest = hashlib.sha256(b"{}").hexdigest()
    files = [{"name": name, "bytes": 2, "sha256": digest} for name in ("adapter_config.json", "adapter_model.safetensors")]
    version = {"version": "sha256:" + digest, "active": True, "files": files}
    base = f"/adapters/a/versions/{digest}/files/"
    impostor = stalls({("GET", "/adapters/a"): (200, {}, json.dumps({"version": version["version"], "versions": [version]})),
                       ("GET", base + "adapter_config.json"): (200, {}, "{}"),
                       ("GET", base + "adapter_model.safetensors"): (200, {"Content-Length": "2"}, ["{", stalls.stall])})
    out = tmp_path / "out"
    interrupt(signal.SIGINT, impostor.url, lambda: out.exists() and len(os.listdir(out)) == 2, "adapters", "download", "a", out)
    assert os.listdir(out) == []


def test_a_restore(tmp_path):
    """Of a database so large that it is not copied before the signal comes."""
    backup, data = tmp_path / "backup", tmp_path / "data"
    backup.mkdir()
    (backup / "SHA256SUMS").write_text(f"{64 * '0'}  registry.db\n")
    with open(backup / "registry.db", "wb") as f:
        f.truncate(8 << 30)
    interrupt(signal.SIGTERM, "http://127.0.0.1:1", lambda: (data / "registry.db.partial").exists(), "restore", backup, data)
    assert not data.exists()
