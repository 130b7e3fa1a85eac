"""adapterctl: NAME and NAME@VERSION in every command that takes them, and what people are shown of versions."""
import json
import os

import pytest

from fixtures import adapter
from names import CONFIG, Names, weights

COMMANDS = {"show": (), "delete": (), "download": ("DIR",), "canary": ("5",)}
NO_VERSIONS = ("", "@", "abc", "ABCD", "sha256:", "sha256:abc", "zzzz", "0" * 65, "abcd@")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_version_is_refused_and_touches_nothing(mlp, tenant, ctl, tmp_path, command):
    names = Names(tenant)
    before = names.show()
    for version in (*NO_VERSIONS, b"\xff".decode(errors="surrogateescape")):
        operands = [x.replace("DIR", str(tmp_path / "out")) for x in COMMANDS[command]]
        done = ctl(mlp, "adapters", command, f"a@{version}", *operands, key=tenant.key)
        assert done.status == 1 and done.out == "" and "(version_not_found)" in done.err, (version, done)
        assert "4 to 64 hexadecimal digits" in done.err, done
    assert names.show() == before and not os.path.exists(tmp_path / "out")


@pytest.mark.parametrize("arguments", [
    ("adapters", "show", "N"), ("adapters", "delete", "N"), ("adapters", "download", "N", "DIR"), ("adapters", "activate", "N", "abcd"),
    ("adapters", "rollback", "N"), ("adapters", "note", "N", "x"), ("adapters", "pin", "N"), ("tenants", "show", "N"),
    ("tenants", "delete", "N"), ("tenants", "quota", "N"), ("keys", "list", "N"), ("keys", "revoke", "t", "N")], ids=" ".join)
def test_what_is_no_name_is_said_to_be_none(mlp, ctl, arguments):
    for name in ("", "A", "a/b", "..", "-", "_x", "a" * 65, "ä"):
        done = ctl(mlp, *arguments[:2], "--", *(name if x == "N" else x for x in arguments[2:]))
        assert done.status == 1 and "(invalid_name)" in done.err and "[a-z0-9]" in done.err, (name, done)


def test_a_share_must_be_a_number(mlp, tenant, ctl):
    names = Names(tenant)
    for percent in ("nan", "inf", "1e999", "5%", "", "x"):
        done = ctl(mlp, "adapters", "canary", f"a@{names.versions[0][7:15]}", percent, key=tenant.key)
        assert done.status == 2 and "PERCENT" in done.err, (percent, done)


def test_versions_are_shown_with_their_shares_and_lists_with_what_stops_requests(mlp, tenant, ctl):
    names = Names(tenant)
    one, two = names.versions
    done = ctl(mlp, "adapters", "canary", f"a@{one}", "12.5", key=tenant.key)
    active = {line.split()[0]: line.split()[1:3] for line in done.out.splitlines()[1:]}
    assert active == {one[:19]: ["canary", "12.5"], two[:19]: ["yes", "ready"]}, done
    admin = mlp.client()
    where = f"/adapters/a?tenant={names.show()['tenant']}"
    assert admin.patch(where, {"pinned": True}).status == 200
    assert "ready, pinned" in ctl(mlp, "adapters", "list", key=tenant.key).out
    assert tenant.request("DELETE", f"/adapters/a/versions/{two}?force=true").status == 204
    assert "none active, pinned" in ctl(mlp, "adapters", "list", key=tenant.key).out


def test_an_upload_that_does_not_change_the_name(mlp, tenant, ctl):
    names = Names(tenant, count=1)
    done = ctl(mlp, "--json", "adapters", "upload", adapter("mlp", "r8-fc2"), "--name", "a", "--no-activate", key=tenant.key)
    uploaded = json.loads(done.out)
    assert done.status == 0 and uploaded["active"] is False and names.show()["version"] == names.versions[0], done
    done = ctl(mlp, "adapters", "canary", f"a@{uploaded['version']}", "100", key=tenant.key)
    assert done.status == 0 and names.served() == uploaded["version"], done


def test_an_upload_without_effect_is_taken_when_asked_for(mlp, tenant, ctl, tmp_path):
    (tmp_path / "adapter_config.json").write_bytes(CONFIG)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights(0))
    upload = ("adapters", "upload", tmp_path, "--name", "zero")
    done = ctl(mlp, *upload, key=tenant.key)
    assert done.status == 1 and "(adapter_no_effect)" in done.err, done
    assert "--allow-no-effect" in done.err and "allow_no_effect" not in done.err
    assert ctl(mlp, *upload, "--allow-no-effect", key=tenant.key).status == 0


def test_hints_are_those_of_a_command_line(mlp, ctl):
    done = ctl(mlp, "adapters", "list")
    assert done.status == 1 and "hint: say whose with --tenant TENANT" in done.err, done
    done = ctl(mlp, "adapters", "list", key="ad_wrong")
    assert done.status == 1 and "--key-file" in done.err and "Authorization" not in done.err, done


def test_the_status_of_another_address_is_not_that_of_a_daemon_that_stops(mlp, ctl):
    done = ctl(mlp, "--url", mlp.url + "/elsewhere", "status")
    assert done.status == 1 and done.out == "" and "(not_adapterd)" in done.err, done


def test_a_prompt_for_a_model_of_numbers_says_what_it_takes(mlp, tenant, ctl):
    done = ctl(mlp, "infer", "--prompt", "hello", key=tenant.key)
    assert done.status == 1 and 'takes "input", rows of numbers' in done.err, done
    assert tenant.infer(input=[[0.5] * 16], stream=True).code == "input_unsupported"


def test_a_backup_needs_a_name(mlp, ctl):
    done = ctl(mlp, "backup", "")
    assert done.status == 2 and "no name" in done.err, done
