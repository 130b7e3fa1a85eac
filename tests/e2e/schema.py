"""JSON Schema as far as server/routes/openapi.json uses it. A keyword that is not known here is an error, so nothing goes unchecked."""
import re

ANNOTATIONS = {"description", "default", "contentMediaType"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def same(a, b):
    """1 is not true."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def python_pattern(pattern):
    """In Python, $ stands before a last line feed, too."""
    return re.sub(r"\$$", r"\\Z", pattern)


CHECKS = {
    "type": lambda v, names: any(is_type(v, name) for name in ([names] if isinstance(names, str) else names)),
    "enum": lambda v, values: any(same(v, value) for value in values),
    "const": same,
    "pattern": lambda v, pattern: not isinstance(v, str) or re.search(python_pattern(pattern), v),
    "multipleOf": lambda v, n: not is_type(v, "number") or abs(v / n - round(v / n)) < 1e-9,
    "minLength": lambda v, n: not isinstance(v, str) or len(v) >= n,
    "maxLength": lambda v, n: not isinstance(v, str) or len(v) <= n,
    "minimum": lambda v, n: not is_type(v, "number") or v >= n,
    "maximum": lambda v, n: not is_type(v, "number") or v <= n,
    "exclusiveMinimum": lambda v, n: not is_type(v, "number") or v > n,
    "minItems": lambda v, n: not isinstance(v, list) or len(v) >= n,
    "maxItems": lambda v, n: not isinstance(v, list) or len(v) <= n,
    "minProperties": lambda v, n: not isinstance(v, dict) or len(v) >= n,
    "maxProperties": lambda v, n: not isinstance(v, dict) or len(v) <= n,
    "required": lambda v, names: not isinstance(v, dict) or set(names) <= set(v),
}
APPLIED = {"$ref", "oneOf", "anyOf", "items", "properties", "additionalProperties", "propertyNames"}


class Schemas:
    """Those of one document. `strict`: a property that the schema does not name is an error unless it says otherwise."""

    def __init__(self, document, strict):
        self.document, self.strict = document, strict

    def at(self, reference):
        found = self.document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found

    def problems(self, value, schema, place="$"):
        assert set(schema) <= set(CHECKS) | APPLIED | ANNOTATIONS, f"{place}: {set(schema)}"
        found = [f"{place}: {value!r:.100} against {key} {schema[key]!r:.200}" for key, check in CHECKS.items()
                 if key in schema and not check(value, schema[key])]
        if "$ref" in schema:
            found += self.problems(value, self.at(schema["$ref"]), place)
        if "oneOf" in schema:
            each = [self.problems(value, one, place) for one in schema["oneOf"]]
            if sum(not one for one in each) != 1:
                found.append(f"{place}: {value!r:.100} fits {sum(not one for one in each)} of oneOf: {each}")
        if "anyOf" in schema and all(self.problems(value, one, place) for one in schema["anyOf"]):
            found.append(f"{place}: {value!r:.100} fits none of anyOf")
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                found += self.problems(item, schema["items"], f"{place}[{i}]")
        if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
            found += self.of_properties(value, schema, place)
        if isinstance(value, dict) and "propertyNames" in schema:
            for name in value:
                found += self.problems(name, schema["propertyNames"], f"{place}, the name {name}")
        return found

    def of_properties(self, value, schema, place):
        found, others = [], schema.get("additionalProperties", not self.strict)
        for name, item in value.items():
            known = schema.get("properties", {}).get(name, others)
            if known is False:
                found.append(f"{place}: unknown property {name}")
            elif known is not True:
                found += self.problems(item, known, f"{place}.{name}")
        return found
