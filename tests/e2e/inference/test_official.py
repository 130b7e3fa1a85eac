"""OpenAI's own clients, unmodified, over real sockets: a table of all calls that are served, each tried by the scripts of tests/clients.

They are no part of what the tests need: `make clients CLIENT_PYTHON=PYTHON CLIENT_NODE=DIRECTORY` says which Python has `openai`, and which directory
node_modules with `openai` and `zod`. Without them the rows are skipped."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from client import SCALE, read
from daemon import DEMO, ROOT, Daemon
from test_tools import TEMPLATE, make_model

PYTHON = os.environ.get("ADAPTERD_CLIENT_PYTHON") or (sys.executable if importlib.util.find_spec("openai") else None)
MODULES = os.environ.get("ADAPTERD_CLIENT_NODE")
SCRIPTS = os.path.join(ROOT, "tests", "clients")


def calls(file, pattern):
    return re.findall(pattern, read(os.path.join(SCRIPTS, file)).decode(), re.M)


TABLE = {"python": calls("official.py", r"^@call\ndef (\w+)"), "node": calls("official.mjs", r"^  async (\w+)\(\)")}


@pytest.fixture(scope="module")
def tenant(tmp_path_factory):
    path = tmp_path_factory.mktemp("official")
    d = Daemon(make_model(path / "model", TEMPLATE), path / "data", "--threads", "1")
    acme = d.tenant("acme")
    assert acme.upload(os.path.join(DEMO, "adapters", "mask"), name="mask").status == 201
    yield d.url, acme.key
    d.stop()


def run(command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "ADAPTERD_"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300 * SCALE, env=environment)
    assert done.returncode == 0, done.stderr
    return {row["call"]: row["problem"] for row in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def results(tenant):
    found = {}

    def get(language):
        if language == "python" and not PYTHON:
            pytest.skip("no Python that has openai: ADAPTERD_CLIENT_PYTHON names one")
        if language == "node" and not (MODULES and shutil.which("node")):
            pytest.skip("no node, or no directory with its modules: ADAPTERD_CLIENT_NODE names one")
        if language not in found:
            command = [PYTHON, os.path.join(SCRIPTS, "official.py")] if language == "python" else ["node", os.path.join(SCRIPTS, "official.mjs")]
            found[language] = run([*command, *tenant, "mask", *([MODULES] if language == "node" else [])])
        return found[language]

    return get


@pytest.mark.parametrize("language, call", [(language, call) for language, names in TABLE.items() for call in names])
def test_a_call_of_the_official_client(results, language, call):
    assert results(language)[call] is None


def test_the_table_has_what_is_served():
    assert len(TABLE["python"]) > 20 and len(TABLE["node"]) > 15
    for names in TABLE.values():
        for what in ("chat_completions_create", "chat_completions_create_stream", "chat_completions_create_tools", "chat_completions_parse", "embeddings_create",
                     "responses_create", "responses_create_stream", "responses_parse", "responses_tools", "files_create", "models_list", "fine_tuning_jobs_create"):
            assert any(name.startswith(what) for name in names), what
