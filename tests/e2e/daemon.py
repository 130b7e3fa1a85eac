"""Runs the real daemon for the tests: a free port, a data directory of its own, stopped with SIGTERM and looked at."""
import contextlib
import os
import re
import select
import signal
import subprocess
import time

from client import SCALE, Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("ADAPTERD_BUILD", "build"))
ADAPTERD = os.path.join(BUILD, "adapterd")
ADAPTERCTL = os.path.join(BUILD, "adapterctl")
DEMO = os.path.join(ROOT, "demo")
FIXTURES = os.path.join(ROOT, "tests", "fixtures")


def model_path(model):
    """"demo", a name under tests/fixtures/models, or a path."""
    if model == "demo":
        return os.path.join(DEMO, "base")
    fixture = os.path.join(FIXTURES, "models", str(model))
    return fixture if os.path.isdir(fixture) else model


SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")


class Daemon:
    """One daemon process. `data` outlives it: start another Daemon on the same directory to test a restart."""

    def __init__(self, model, data, *arguments, environment=None, wait=True, listen="127.0.0.1:0"):
        self.data = str(data)
        self.log = self.data.rstrip("/") + ".log"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ADAPTERD_")}
        self.environment.update(environment or {})
        command = [ADAPTERD, "--model", str(model), "--data", self.data, "--listen", listen, *map(str, arguments)]
        with open(self.log, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            env=self.environment)
        self.address = None
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=60):
        """Read standard output until `listening on`."""
        deadline, text = time.monotonic() + timeout * SCALE, b""
        while b"\n" not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise AssertionError(f"no `listening on` line in {timeout * SCALE:.0f} s; log:\n{self.read_log()}")
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                raise AssertionError(f"the daemon ended with {self.process.wait()}; log:\n{self.read_log()}")
            text += chunk
        found = re.match(rb"listening on http://(\S+)\n", text)
        assert found, f"unexpected first line {text!r}"
        self.address = found.group(1).decode()

    def read_log(self):
        """What this process (not an earlier one on the same data) wrote to standard error."""
        with open(self.log, "rb") as f:
            f.seek(self.log_start)
            return f.read().decode(errors="replace")

    @property
    def url(self):
        return "http://" + self.address

    @property
    def admin_key(self):
        with open(os.path.join(self.data, "admin.key")) as f:
            return f.read().split()[0]

    def client(self, key=None):
        """A client under `key`; without one, under the admin key."""
        return Client(self.address, self.admin_key if key is None else key)

    def anonymous(self):
        return Client(self.address, None)

    def tenant(self, name):
        """Create the tenant and a key for it; a client under that key."""
        admin = self.client()
        answer = admin.post("/tenants", {"id": name})
        assert answer.status == 201, answer
        answer = admin.post(f"/tenants/{name}/keys", {"label": "test"})
        assert answer.status == 201, answer
        return self.client(answer.json["key"])

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        """Open descriptors: the smallest of some looks, for a connection is closed a moment after its answer."""
        counts = []
        for _ in range(10):
            counts.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))
            time.sleep(0.05)
        return min(counts)

    def files(self):
        """What lies in the data directory's blobs and tmp: relative path -> size."""
        found = {}
        for top in ("blobs", "tmp"):
            for directory, _, names in os.walk(os.path.join(self.data, top)):
                for name in names:
                    path = os.path.join(directory, name)
                    with contextlib.suppress(FileNotFoundError):  # it went while we looked
                        found[os.path.relpath(path, self.data)] = os.path.getsize(path)
        return found

    def kill(self):
        """SIGKILL, as a crash."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.check_log()

    def stop(self, timeout=30):
        """SIGTERM; the daemon must end by itself, with status 0 and without a sanitizer's complaint."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {timeout * SCALE:.0f} s after SIGTERM; log:\n{self.read_log()}") from None
        finally:
            self.process.stdout.close()
        self.check_log()
        assert status == 0, f"exit status {status} after SIGTERM; log:\n{self.read_log()}"

    def check_log(self):
        log = self.read_log()
        found = SANITIZER.search(log)
        assert not found, f"sanitizer: {log[found.start():][:6000]}"
