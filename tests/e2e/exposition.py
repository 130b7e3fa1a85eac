"""A strict reader of Prometheus' text format 0.0.4: what it does not like is an AssertionError."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
VALUE = re.compile(r"\+Inf|-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?")


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.type = name, text, None
        self.samples = {}  # (name of the series, ((label, value), ...)) -> number


def labels_of(text):
    found, at = [], 0
    while text and at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels: {text}"
        found.append(match.groups())
        at = match.end()
    assert len({name for name, _ in found}) == len(found), f"a label twice: {text}"
    return tuple(sorted(found))


def read(text):
    """Name -> Family. Every line is understood, every series is declared, in one group, with its type before it."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        word = line.split(" ", 3)
        if line.startswith("# HELP "):
            assert re.fullmatch(NAME, word[2]) and word[2] not in families and len(word) == 4 and word[3], line
            current = families[word[2]] = Family(word[2], word[3])
        elif line.startswith("# TYPE "):
            assert len(word) == 4 and word[2] == current.name and current.type is None and not current.samples, line
            assert word[3] in ("counter", "gauge", "histogram"), line
            current.type = word[3]
        else:
            match = SAMPLE.fullmatch(line)
            assert match and VALUE.fullmatch(match[3]), f"no sample: {line!r}"
            series = match[1], labels_of(match[2])
            suffixes = ("_bucket", "_sum", "_count") if current.type == "histogram" else ("",)
            assert series[0] in [current.name + suffix for suffix in suffixes] and current.type, f"not declared: {line}"
            assert series not in current.samples, f"twice: {line}"
            current.samples[series] = float(match[3])
    for family in families.values():
        check(family)
    return families


def check(family):
    assert family.type, f"{family.name} has no type"
    assert (family.type == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.type}"
    if family.type == "counter":
        assert all(value >= 0 and math.isfinite(value) for value in family.samples.values())
    if family.type == "histogram":
        for labels in {tuple(pair for pair in labels if pair[0] != "le") for _, labels in family.samples}:
            check_histogram(family, labels)


def check_histogram(family, labels):
    buckets = [(dict(found)["le"], value) for (name, found), value in family.samples.items()
               if name == family.name + "_bucket" and tuple(pair for pair in found if pair[0] != "le") == labels]
    bounds = [float(le) for le, _ in buckets]
    counts = [value for _, value in buckets]
    assert len(bounds) > 2 and bounds == sorted(set(bounds)) and bounds[-1] == math.inf, family.name
    assert counts == sorted(counts), f"{family.name} is not cumulative: {counts}"
    count, total = (family.samples[family.name + suffix, labels] for suffix in ("_count", "_sum"))
    assert counts[-1] == count, family.name
    # Each value lies between the bounds of its bucket; what is above all bounds may be anything.
    each = [b - a for a, b in zip([0, *counts], counts)]
    if count == 0:
        assert total == 0
    if each[-1] == 0:
        assert total <= sum(n * bound for n, bound in zip(each, bounds) if n) + 1e-9, family.name
    assert total >= sum(n * bound for n, bound in zip(each[1:], bounds)) - 1e-9, family.name
