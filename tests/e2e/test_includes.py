"""The directions of includes: docs/internals describes the house, this holds it to that. The checker is checked, too."""
import os
import re

import pytest

from daemon import ROOT

# What each part may include of the project. Longest prefix wins; a part may always include itself.
ALLOWED = {
    "core/base": [],
    "core/kernels": ["core/base"],
    "core/model": ["core/kernels", "core/base"],
    "core/text": ["core/base"],
    "core/engine": ["core/model", "core/kernels", "core/base"],
    "adapters": ["core"],
    "server": ["adapters", "core"],
    "cli": ["core/base"],
}

# Where each library may be used. base uses nettle for SHA-256; nobody else may speak to it.
LIBRARIES = {
    "microhttpd.h": ["server"],
    "sqlite3.h": ["adapters"],
    "cblas.h": ["core/kernels"],
    "openblas_config.h": ["core/kernels"],
    "jansson.h": ["server", "adapters", "core/model", "core/text", "cli"],
    "curl/": ["cli"],
    "nettle/": ["core/base"],
    "utf8proc.h": ["core/text"],
    "pcre2.h": ["core/text", "adapters"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)


def part_of(path):
    """The longest known part that a path lies in; None for none."""
    inside = [part for part in ALLOWED if path == part or path.startswith(part + "/")]
    return max(inside, key=len, default=None)


def is_in(path, part):
    return path == part or path.startswith(part + "/")


def violations(path, text):
    """Sentences about the includes of one file, given by its path in the project."""
    part = part_of(path)
    if part is None:
        return [f"{path}: lies in no known part"]
    found = []
    for match in INCLUDE.finditer(text):
        own, system = match.groups()
        name = own or system
        if own and not any(is_in(own, allowed) for allowed in [part, *ALLOWED[part]]):
            found.append(f"{path}: {part} may not include {own}")
        for library, parts in LIBRARIES.items():
            if name.startswith(library) and not any(is_in(path, p) for p in parts):
                found.append(f"{path}: {name} belongs to {', '.join(parts)}")
    return found


def sources():
    for top in ("core", "adapters", "server", "cli"):
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def test_includes_point_one_way():
    files = sorted(sources())
    assert len(files) > 50
    found = []
    for path in files:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            found += violations(path, f.read())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path, text", [
    ("core/engine/engine.c", '#include "adapters/registry.h"\n'),
    ("core/base/err.c", '#include "core/kernels/linear.h"\n'),
    ("core/kernels/linear.c", '#include "core/model/model.h"\n'),
    ("core/model/forward.c", '#include "core/engine/engine.h"\n'),
    ("core/text/bpe.c", '#include "core/model/model.h"\n'),
    ("core/engine/engine.c", '#include "core/text/tokenizer.h"\n'),
    ("adapters/cache.c", '#include "server/server.h"\n'),
    ("cli/main.c", '#include "core/model/model.h"\n'),
    ("cli/main.c", '#include "server/route.h"\n'),
    ("server/http.c", "#include <sqlite3.h>\n"),
    ("adapters/registry.c", "#include <microhttpd.h>\n"),
    ("core/model/forward.c", "# include <cblas.h>\n"),
    ("core/engine/engine.c", "\n#include <jansson.h>\n"),
    ("server/main.c", "#include <curl/curl.h>\n"),
    ("core/main.c", "int main;\n"),
    ("extra/new.c", "int x;\n"),
])
def test_a_violation_is_found(path, text):
    assert violations(path, text)


@pytest.mark.parametrize("path, text", [
    ("server/http.c", '#include <microhttpd.h>\n#include "adapters/cache.h"\n#include "core/engine/engine.h"\n'),
    ("core/engine/engine.c", '#include "core/model/model.h"\n#include <stdio.h>\n/* server/http.h */\n'),
    ("cli/client.c", '#include <curl/curl.h>\n#include "core/base/err.h"\n#include "cli/client.h"\n'),
])
def test_what_is_allowed_passes(path, text):
    assert not violations(path, text)
