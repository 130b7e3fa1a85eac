"""The manual pages and the bash completion say what the programs say of themselves: every command and option, and no other."""
import os
import re
import shutil
import subprocess

import pytest

from client import read
from daemon import ADAPTERCTL, ADAPTERD, BUILD, ROOT

MAN = {ADAPTERCTL: "adapterctl.1", ADAPTERD: "adapterd.8"}


def page(program):
    """Text of the page without its fonts and escapes."""
    text = read(os.path.join(ROOT, "docs", "man", MAN[program])).decode()
    return re.sub(r"\\f[BIR]|\\&", "", text).replace("\\-", "-").replace("\\e", "\\")


def help_of(program, *words):
    done = subprocess.run([program, *words, "--help"], text=True, capture_output=True, check=True)
    return done.stdout


def commands():
    """["tenants list", "status", ...]"""
    listed = re.search(r"^commands:\n((?:  .*\n)+)", help_of(ADAPTERCTL), re.M).group(1)
    return [re.match(r"  ([a-z-]+(?: [a-z][a-z-]*(?= |$))?)", line).group(1) for line in listed.splitlines()]


def options(text):
    """{"--name": "VALUE" or ""} of a help text."""
    found = {}
    for line in re.findall(r"^  (--.*)$", text, re.M):
        for head in re.split(r"\s{2,}", line)[0].split(", "):
            name, _, value = head.partition(" ")
            found[name] = value
    return found


def section(text, command):
    """The page's part on one command: from its heading to the next one's."""
    parts = re.split(r"^(?=\.TP\n(?!--))", text[text.index(".SH COMMANDS") : text.index(".SH ENVIRONMENT")], flags=re.M)
    found = [p for p in parts if re.match(rf"\.TP\n{command}(\n| (?![a-z]))", p)]
    assert len(found) == 1, f"{command}: {len(found)} headings"
    return found[0]


def test_the_checker_reads_help_as_it_is():
    assert {"status", "tenants list", "keys revoke", "infer"} <= set(commands()) and "tenants" not in commands()
    assert options(help_of(ADAPTERCTL, "keys", "create"))["--label"] == "TEXT"
    assert options(help_of(ADAPTERD))["--no-auth"] == "" and "--version" in options(help_of(ADAPTERD))


@pytest.mark.parametrize("command", commands())
def test_the_page_has_each_command_with_its_options(command):
    text = page(ADAPTERCTL)
    everywhere = options(help_of(ADAPTERCTL))
    mine = {k: v for k, v in options(help_of(ADAPTERCTL, *command.split())).items() if k not in everywhere}
    part = section(text, command)
    usage = re.search(rf"^usage: adapterctl \[OPTIONS\] {command} ?(.*)$", help_of(ADAPTERCTL, *command.split()), re.M).group(1)
    assert part.splitlines()[1] == f"{command} {usage}".strip()
    heads = dict(re.findall(r"^\.TP\n(--\S+) ?(.*)$", part, re.M))
    assert heads == mine


def test_the_page_has_no_command_that_is_not_there():
    text = page(ADAPTERCTL)
    text = text[text.index(".SH COMMANDS") : text.index(".SH ENVIRONMENT")]
    heads = [h for h in re.findall(r"^\.TP\n(.*)$", text, re.M) if not h.startswith("--")]
    assert sorted(" ".join(w for w in h.split() if re.fullmatch(r"[a-z][a-z-]*", w)) for h in heads) == sorted(commands())


def test_the_options_of_every_command_and_of_the_daemon():
    head = page(ADAPTERCTL)
    head = head[: head.index(".SH COMMANDS")]
    assert dict(re.findall(r"^\.TP\n(--\S+) ?(.*)$", head, re.M)) == options(help_of(ADAPTERCTL))
    found = {}
    for line in re.findall(r"^\.TP\n(--.*)$", page(ADAPTERD), re.M):
        for one in line.split(", "):
            name, _, value = one.partition(" ")
            found[name] = value
    assert found == options(help_of(ADAPTERD))


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not there")
@pytest.mark.parametrize("name", MAN.values())
def test_the_pages_are_well_formed(name):
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", os.path.join(ROOT, "docs", "man", name)], capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert len(done.stdout.splitlines()) > 50


def test_they_are_installed(tmp_path):
    subprocess.run(["make", "-C", ROOT, f"BUILD={BUILD}", f"DESTDIR={tmp_path}", "PREFIX=/usr", "install"], check=True,
                   capture_output=True)
    for path in ("man/man1/adapterctl.1", "man/man8/adapterd.8", "bash-completion/completions/adapterctl",
                 "bash-completion/completions/adapterd"):
        assert (tmp_path / "usr" / "share" / path).is_file(), path


# ---- completion ----

def complete(*words, program="adapterctl", cwd=None):
    """What bash offers behind these words, the last of which is being typed."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_$PROGRAM"; printf "%s\\n" "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": BUILD + ":" + os.environ["PATH"], "PROGRAM": program}
    done = subprocess.run(["bash", "-euc", script, "bash", os.path.join(ROOT, "deploy", "completion", "adapterctl"), program, *words],
                          env=environment, text=True, capture_output=True, cwd=cwd)
    assert done.returncode == 0 and not done.stderr, done
    return {line for line in done.stdout.splitlines() if line}


def test_bash_completes_commands():
    first = {c.split()[0] for c in commands()}
    assert complete("") == first
    assert complete("sta") == {"status"}
    for group in first:
        assert complete(group, "") >= {c.split()[1] for c in commands() if c.startswith(group + " ")}
    assert complete("tenants", "cr") == {"create"}
    assert complete("nonsense", "") == set()


@pytest.mark.parametrize("command", commands())
def test_bash_completes_options(command):
    words = command.split()
    assert complete(*words, "--") == set(options(help_of(ADAPTERCTL, *words)))
    assert complete("--json", "--url", "http://127.0.0.1:1", *words, "--he") == {"--help"}


def test_bash_completes_values(tmp_path):
    (tmp_path / "one.key").write_text("")
    (tmp_path / "one-directory").mkdir()
    assert complete("--key-file", "on", cwd=tmp_path) == {"one.key", "one-directory"}
    assert complete("keys", "create", "acme", "--label", "", cwd=tmp_path) == set()
    assert complete("backup", "one-", cwd=tmp_path) == {"one-directory"}
    assert complete("infer", "--message", "user", "", cwd=tmp_path) <= {"one.key", "one-directory"}


def test_bash_completes_the_daemons_options(tmp_path):
    assert complete("--", program="adapterd") == set(options(help_of(ADAPTERD)))
    assert complete("--model", "x", "--da", program="adapterd") == {"--data"}
    assert complete("--precision", "int", program="adapterd") == {"int8", "int4"}
    assert complete("--kv-precision", "", program="adapterd") == {"bf16", "int8"}
    assert complete("--log-format", "", program="adapterd") == {"text", "json"}
    (tmp_path / "base").mkdir()
    (tmp_path / "bag").write_text("")
    assert complete("--model", "ba", program="adapterd", cwd=tmp_path) == {"base"}
