"""The house: which folder knows which, by includes and by what the objects link to. The checker is checked, too.

A folder stands in a block and sees the folders above it in its block, and the blocks that its block names. A file's module is
the file without its suffix; modules make no circles either, but for those listed here with a reason.
"""
import collections
import os
import re
import subprocess

import pytest

from daemon import BUILD, ROOT

FILES_MAX = 20

# Block: (blocks that it sees, its folders from top to bottom). A folder named with a star speaks for its subfolders, too.
BLOCKS = {
    "machine": ([], ["core/base", "core/system", "core/format"]),
    "numbers": (["machine"], ["core/kernels*", "core/kv", "core/head", "core/model/rope", "core/model/config", "core/model", "core/delta", "core/forward"]),
    "text": (["machine"], ["core/unicode", "core/tokenizer", "core/tokenizer/load", "core/template/values", "core/template/builtins",
                           "core/template/syntax", "core/template", "core/grammar", "core/grammar/automaton", "core/grammar/json",
                           "core/grammar/schema", "core/grammar/tokens", "core/dialogue"]),
    "engine": (["machine", "numbers"], ["core/draft", "core/engine", "core/train*"]),
    "adapters": (["machine", "numbers", "text", "engine"],
                 ["adapters/types", "adapters/blobs", "adapters/store/sql", "adapters/store/sqlite", "adapters/store", "adapters/gguf", "adapters/peft/config", "adapters/peft",
                  "adapters/registry", "adapters/serving", "adapters/maintenance", "adapters/training/dataset", "adapters/files", "adapters/training", "adapters/jobs", "adapters/jobs/running"]),
    "server": (["machine", "numbers", "text", "engine", "adapters"],
               ["server/base", "server/accounting", "server/wire", "server/http", "server/transfer", "server/admission", "server/structured", "server/inference", "server/openai", "server/responses", "server/numbers", "server/metrics", "server/routes", "server/training", "server/console", "server"]),
    "client": (["machine"], ["cli/lib", "cli/commands", "cli/training", "cli"]),
}

# Where each library may be used.
LIBRARIES = {
    "microhttpd.h": ["server"],
    "sqlite3.h": ["adapters/store/sqlite"],
    "cblas.h": ["core/kernels"],
    "openblas_config.h": ["core/kernels"],
    "jansson.h": ["server", "adapters", "core/format", "core/head", "core/model", "core/tokenizer", "core/template", "core/grammar", "core/dialogue", "cli"],
    "curl/": ["cli"],
    "nettle/": ["core/base"],
    "utf8proc.h": ["core/unicode", "core/template"],
    "pcre2.h": ["core/unicode", "core/tokenizer", "adapters/peft"],
}

# Modules that know each other, and why.
CIRCLES = {
    # An expression calls a macro, whose body is statements, which are made of expressions.
    frozenset({"core/template/evaluate", "core/template/run"}),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)


def is_in(path, folder):
    return path == folder or path.startswith(folder + "/")


def room(path):
    """(block, place in it) of the folder that a file lies in; None for a folder that no block names."""
    folder = os.path.dirname(path)
    for block, (_, folders) in BLOCKS.items():
        for place, name in enumerate(folders):
            if folder == name or (name.endswith("*") and is_in(folder, name[:-1])):
                return block, place
    return None


def may_know(path, other):
    """May the file at `path` include, or link to, the file at `other`?"""
    own, their = room(path), room(other)
    if own is None or their is None:
        return False
    return their[1] <= own[1] if own[0] == their[0] else their[0] in BLOCKS[own[0]][0]


def violations(path, text):
    """Sentences about the includes of one file, given by its path in the project."""
    if room(path) is None:
        return [f"{path}: lies in no known folder"]
    found = []
    for own, system in INCLUDE.findall(text):
        name = own or system
        if own and not may_know(path, own):
            found.append(f"{path} may not include {own}")
        for library, folders in LIBRARIES.items():
            if name.startswith(library) and not any(is_in(path, f) for f in folders):
                found.append(f"{path}: {name} belongs to {', '.join(folders)}")
    return found


def module(path):
    return os.path.splitext(path)[0]


def circles(arrows):
    """Sets of nodes that reach each other, of more than one node. `arrows`: node -> nodes. (Tarjan 1972.)"""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(group) > 1:
                found.append(frozenset(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def sources(*suffixes, tops=("core", "adapters", "server", "cli")):
    for top in tops:
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def symbols(path):
    """(defined, needed) names of one object."""
    defined, needed = set(), set()
    for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            needed.add(name)
        elif kind in "TDBRVW":
            defined.add(name)
    return defined, needed


@pytest.fixture(scope="module")
def links():
    """source -> {source that defines what its object needs: names}"""
    tables = {}
    for path in sources(".c"):
        built = os.path.join(BUILD, os.path.splitext(path)[0] + ".o")
        if os.path.exists(built):
            tables[path] = symbols(built)
    assert len(tables) > 100
    homes = collections.defaultdict(list)
    for path, (defined, _) in tables.items():
        for name in defined:
            homes[name].append(path)
    found = {}
    for path, (_, needed) in tables.items():
        found[path] = collections.defaultdict(set)
        for name in needed:
            # The client and the daemon each have a main, and may have other names twice: a name is looked for nearby first.
            near = [h for h in homes.get(name, ()) if is_in(h, "cli") == is_in(path, "cli")]
            for home in near or homes.get(name, ()):
                if home != path:
                    found[path][home].add(name)
    return found


def test_includes_point_one_way():
    files = sorted(sources(".c", ".h"))
    assert len(files) > 100
    found = [sentence for path in files for sentence in violations(path, read(path))]
    assert not found, "\n".join(found)


def test_links_point_one_way(links):
    found = [f"{path} may not call {other}: {', '.join(sorted(names))}"
             for path, others in sorted(links.items()) for other, names in sorted(others.items()) if not may_know(path, other)]
    assert not found, "\n".join(found)


def test_modules_make_no_circle(links):
    arrows = collections.defaultdict(set)
    for path in sources(".c", ".h"):
        arrows[module(path)] |= {module(own) for own, _ in INCLUDE.findall(read(path)) if own}
    for path, others in links.items():
        arrows[module(path)] |= {module(other) for other in others}
    found = circles({node: others - {node} for node, others in arrows.items()})
    unknown = [sorted(group) for group in found if group not in CIRCLES]
    assert not unknown, "\n".join(map(str, unknown))
    gone = [sorted(group) for group in CIRCLES if group not in found]
    assert not gone, f"no circles any more: {gone}"


def test_no_folder_is_crowded():
    counts = collections.Counter(os.path.dirname(p) for p in sources(".c", ".h", ".py", tops=("core", "adapters", "server", "cli", "tests")))
    crowded = {folder: count for folder, count in counts.items() if count > FILES_MAX}
    assert not crowded


@pytest.mark.parametrize("path, text", [
    ("core/engine/engine.c", '#include "adapters/registry/registry.h"\n'),
    ("core/base/err.c", '#include "core/kernels/linear.h"\n'),
    ("core/base/err.c", '#include "core/system/file.h"\n'),
    ("core/kernels/linear.c", '#include "core/model/model.h"\n'),
    ("core/model/model.c", '#include "core/forward/forward.h"\n'),
    ("core/forward/forward.c", '#include "core/engine/engine.h"\n'),
    ("core/tokenizer/bpe.c", '#include "core/model/model.h"\n'),
    ("core/engine/engine.c", '#include "core/tokenizer/tokenizer.h"\n'),
    ("adapters/serving/cache.c", '#include "server/http/server.h"\n'),
    ("adapters/types/quota.c", '#include "adapters/registry/registry.h"\n'),
    ("server/http/reply.c", '#include "server/routes/handlers.h"\n'),
    ("cli/main.c", '#include "core/model/model.h"\n'),
    ("cli/main.c", '#include "server/http/route.h"\n'),
    ("server/http.c", "#include <sqlite3.h>\n"),
    ("adapters/registry/registry.c", "#include <microhttpd.h>\n"),
    ("core/forward/forward.c", "# include <cblas.h>\n"),
    ("core/engine/engine.c", "\n#include <jansson.h>\n"),
    ("server/main.c", "#include <curl/curl.h>\n"),
    ("core/main.c", "int main;\n"),
    ("extra/new.c", "int x;\n"),
])
def test_a_violation_is_found(path, text):
    assert violations(path, text)


@pytest.mark.parametrize("path, text", [
    ("server/http.c", '#include <microhttpd.h>\n#include "adapters/serving/cache.h"\n#include "core/engine/engine.h"\n'),
    ("core/engine/engine.c", '#include "core/model/model.h"\n#include <stdio.h>\n/* server/http.h */\n'),
    ("core/kernels/x86/fast.c", '#include "core/kernels/linear.h"\n'),
    ("cli/lib/client.c", '#include <curl/curl.h>\n#include "core/base/err.h"\n#include "cli/lib/client.h"\n'),
])
def test_what_is_allowed_passes(path, text):
    assert not violations(path, text)


@pytest.mark.parametrize("arrows, expected", [
    ({"a": {"b"}, "b": {"c"}}, []),
    ({"a": {"b"}, "b": {"a"}}, [{"a", "b"}]),
    ({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": {"d"}}, [{"b", "c"}, {"d", "e"}]),
])
def test_circles_are_found(arrows, expected):
    assert sorted(map(sorted, circles(arrows))) == sorted(map(sorted, expected))
