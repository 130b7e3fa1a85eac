"""`make run`, as a newcomer meets it: demo/run.sh with a free port, its curl lines, and Ctrl-C."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

from client import SCALE
from daemon import BUILD, ROOT


@pytest.fixture
def programs_copy(tmp_path):
    """A build directory with the two programs only: the demo's data do not go where somebody's demo may be running."""
    for name in ("adapterd", "adapterctl"):
        shutil.copy(os.path.join(BUILD, name), tmp_path / name)
    return tmp_path


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def start_demo(build, address):
    environment = {**os.environ, "BUILD": str(build), "DEMO_LISTEN": address}
    return subprocess.Popen(["demo/run.sh"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)


def read_until(process, text, seconds=60):
    seen, deadline = "", time.monotonic() + seconds * SCALE
    while text not in seen:
        assert select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0], seen
        chunk = os.read(process.stdout.fileno(), 65536).decode()
        assert chunk, seen
        seen += chunk
    return seen


def interrupt(process):
    """Ctrl-C: SIGINT to the process group, as a terminal sends it."""
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read().decode()
    process.stdout.close()
    return process.wait(30 * SCALE), rest


def accepts(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


def test_the_demo_twice(programs_copy):
    address = free_address()
    for _ in range(2):
        process = start_demo(programs_copy, address)
        try:
            seen = read_until(process, "Ctrl-C stops.")
            flat = " ".join(seen.split())
            for tenant in ("acme", "globex", "initech"):
                assert f"tenant {tenant} created" in seen
            assert "Thank you for your message, Karim." in flat
            assert "SSN [SSN]. My phone number is [PHONE]. Please answer to [EMAIL]. Yours, [NAME]" in flat
            assert '{"topic": "refund", "product": "mixer", "order": "W85393", "urgent": false, "customer": "Karim Sato"}' in flat
            assert "Ahoy Karim! Captain Support at your service." in flat
            lines = re.findall(r"^  (curl .*)$", seen, re.M)
            assert len(lines) == 3
            if shutil.which("curl"):
                answers = [subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60 * SCALE).stdout
                           for line in lines]
                assert json.loads(answers[0])["text"].endswith("Call me at [PHONE].")
                assert json.loads(json.loads(answers[1])["text"])["order"] == "R44920"
                assert answers[2].rstrip().endswith("data: [DONE]")
        finally:
            status, rest = interrupt(process)
        assert (status, rest.strip()) == (0, "adapterd stopped.")
        assert not accepts(address), "no stray daemon"


def test_a_busy_port(programs_copy):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = f"127.0.0.1:{s.getsockname()[1]}"
        process = start_demo(programs_copy, address)
        out = process.stdout.read().decode()
        process.stdout.close()
        assert process.wait(30 * SCALE) == 1
    assert f"{address} is in use" in out and "DEMO_LISTEN" in out
    assert not (programs_copy / "demo").exists()


def test_a_daemon_that_does_not_start(programs_copy):
    (programs_copy / "adapterd").write_text("#!/bin/sh\necho 'adapterd: no luck today' >&2\nexit 1\n")
    process = start_demo(programs_copy, free_address())
    out = process.stdout.read().decode()
    process.stdout.close()
    assert process.wait(30 * SCALE) == 1
    assert "no luck today" in out and "did not start" in out
