"""adapterctl files: what it shows, what it refuses, and that what comes back is what went."""
import os
import re

import pytest

GOOD = '{"prompt": "Hi", "completion": "Hello."}\n'


@pytest.fixture(scope="module")
def tenant(daemon):
    return daemon.tenant("files-ctl")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "support.jsonl"
    path.write_text(GOOD * 3)
    return path


def good(result):
    assert (result.status, result.err) == (0, ""), result
    return result.out


def test_a_file_from_upload_to_delete(daemon, tenant, ctl, data, tmp_path):
    shown = good(ctl(daemon, "files", "upload", data, key=tenant.key))
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in shown.splitlines())
    assert rows["filename"] == "support.jsonl" and rows["examples"] == "3" and rows["expires"] == "-"
    assert good(ctl(daemon, "files", "show", rows["id"], key=tenant.key)) == shown
    listed = good(ctl(daemon, "files", "list", key=tenant.key)).splitlines()
    assert listed[0].split() == ["FILE", "NAME", "PURPOSE", "EXAMPLES", "BYTES", "CREATED", "EXPIRES"] and rows["id"] in listed[1]
    copy = tmp_path / "copy.jsonl"
    good(ctl(daemon, "files", "download", rows["id"], copy, key=tenant.key))
    assert copy.read_text() == data.read_text()
    refused = ctl(daemon, "files", "download", rows["id"], copy, key=tenant.key)
    assert refused.status == 1 and "(exists)" in refused.err
    good(ctl(daemon, "files", "download", rows["id"], copy, "--force", key=tenant.key))
    assert good(ctl(daemon, "files", "download", rows["id"], "-", key=tenant.key)) == data.read_text()
    assert sorted(os.listdir(tmp_path)) == ["copy.jsonl", "support.jsonl"]
    assert good(ctl(daemon, "files", "delete", rows["id"], key=tenant.key)) == f"deleted {rows['id']}\n"
    gone = ctl(daemon, "files", "show", rows["id"], key=tenant.key)
    assert gone.status == 1 and "(file_not_found)" in gone.err


def test_lists_go_over_pages(daemon, ctl, data):
    daemon.tenant("files-pages")
    for _ in range(105):
        good(ctl(daemon, "files", "upload", data, "--tenant", "files-pages", "--expires-after", 3600))
    assert len(good(ctl(daemon, "files", "list", "--tenant", "files-pages")).splitlines()) == 106
    assert len(good(ctl(daemon, "files", "list", "--tenant", "files-pages", "--limit", 2)).splitlines()) == 3
    assert len(good(ctl(daemon, "files", "list", "--tenant", "files-pages", "--purpose", "fine-tune-results")).splitlines()) == 1


def test_a_bad_line_is_named(daemon, tenant, ctl, data):
    data.write_text(GOOD + "{'prompt': 1}\n")
    refused = ctl(daemon, "files", "upload", data, key=tenant.key)
    assert refused.status == 1 and "line 2: not JSON" in refused.err and "(invalid_training_file)" in refused.err


@pytest.mark.parametrize("arguments, status, message", [
    (["upload", "nowhere.jsonl"], 1, "cannot read nowhere.jsonl"),
    (["upload", "/"], 1, "is not a file"),
    (["upload", "/dev/null", "--expires-after", "60"], 2, "from 3600 to 2592000"),
    (["show", "../keys"], 1, "invalid_name"),
    (["download", "file-none", "/tmp/never"], 1, "file_not_found"),
    (["delete", "file-none"], 1, "file_not_found"),
])
def test_what_is_refused(daemon, tenant, ctl, arguments, status, message):
    done = ctl(daemon, "files", *arguments, key=tenant.key)
    assert done.status == status and message in done.err and done.out == ""
