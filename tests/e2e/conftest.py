"""Fixtures of the end-to-end tests: real daemons, from build/ or from the directory that ADAPTERD_BUILD names."""
import os
import subprocess
from types import SimpleNamespace

import pytest

import daemon as daemons
from client import SCALE


@pytest.fixture(scope="session", autouse=True)
def programs():
    for path in (daemons.ADAPTERD, daemons.ADAPTERCTL):
        if not os.access(path, os.X_OK):
            pytest.exit(f"{path} is not there: run `make` first, or set ADAPTERD_BUILD", 2)


@pytest.fixture
def start(tmp_path):
    """start(model="demo", data=None, *arguments): a daemon of this test's own; all are stopped and checked at the end.

    `model`: "demo", a name under tests/fixtures/models, or a path. Without `data` each gets a directory of its own;
    give `.data` of an earlier one to start again on what it left."""
    started = []

    def run(model="demo", data=None, *arguments, **options):
        data = data or tmp_path / f"data-{len(started)}"
        started.append(daemons.Daemon(daemons.model_path(model), data, *arguments, **options))
        return started[-1]

    yield run
    failures = []
    for d in started:
        if d.process.returncode is None:
            try:
                d.stop()
            except AssertionError as error:
                failures.append(str(error))
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon with the demo's base for all tests of a file; give tenants names of the test's own. It has one compute
    thread: the answers are the same, and on a busy machine they come much sooner than from several that wait for each other."""
    d = daemons.Daemon(daemons.model_path("demo"), tmp_path_factory.mktemp("daemon") / "data", "--threads", "1")
    yield d
    d.stop()


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """One daemon with the model that takes numbers for all tests of a file."""
    d = daemons.Daemon(daemons.model_path("mlp"), tmp_path_factory.mktemp("mlp") / "data", "--threads", "1")
    d.tenants = 0
    yield d
    d.stop()


@pytest.fixture
def tenant(mlp):
    """A client of a tenant of this test's own."""
    mlp.tenants += 1
    return mlp.tenant(f"t{mlp.tenants}")


@pytest.fixture
def ctl():
    """ctl(daemon, *arguments, key=..., stdin=...): runs adapterctl; status, out, err. key None: the admin key."""

    def run(daemon, *arguments, key=None, stdin="", environment=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ADAPTERD_")}
        if daemon is not None:
            env.update(ADAPTERD_URL=daemon.url, ADAPTERD_KEY=daemon.admin_key if key is None else key)
        env.update(environment or {})
        done = subprocess.run([daemons.ADAPTERCTL, *map(str, arguments)], input=stdin, env=env, text=True,
                              capture_output=True, timeout=60 * SCALE)
        return SimpleNamespace(status=done.returncode, out=done.stdout, err=done.stderr)

    return run
