"""Values made from a JSON Schema: such that fit it, and such that do not. By the standard library alone, so that the tests of a bare
machine have it; the same seed makes the same values."""
import random
import re
import sys

from schema import Schemas, is_type, python_pattern

parser = re._parser if sys.version_info >= (3, 11) else __import__("sre_parse")

REPEATS = 6  # of what may be repeated without end
LETTERS = "aZ09 ._-/\\\"'%&<>\u00e9\u4e2d\U0001f600\n\t\u0001"


class Generator:
    def __init__(self, document, seed):
        self.schemas, self.random = Schemas(document, strict=False), random.Random(seed)

    # ---- strings by a pattern ----

    def of_class(self, parts):
        if parts[0][0] is parser.NEGATE:
            banned = [str(part) for part in parts[1:]]
            return next(c for c in self.random.sample(LETTERS, len(LETTERS)) if not any(self.holds(part, c) for part in parts[1:])) if banned else "x"
        kind, argument = self.random.choice(parts)
        if kind is parser.LITERAL:
            return chr(argument)
        low, high = argument
        edge = self.random.random()
        code = low if edge < 0.1 else high if edge < 0.2 else self.random.randint(low, high)
        return chr(code) if not 0xD800 <= code <= 0xDFFF else "x"

    @staticmethod
    def holds(part, c):
        kind, argument = part
        return ord(c) == argument if kind is parser.LITERAL else argument[0] <= ord(c) <= argument[1]

    def of_parsed(self, parsed):
        return "".join(self.of_part(kind, argument) for kind, argument in parsed)

    def of_part(self, kind, argument):
        if kind is parser.LITERAL:
            return chr(argument)
        if kind is parser.NOT_LITERAL:
            return self.random.choice([c for c in LETTERS if ord(c) != argument])
        if kind is parser.IN:
            return self.of_class(argument)
        if kind is parser.BRANCH:
            return self.of_parsed(self.random.choice(argument[1]))
        if kind is parser.SUBPATTERN:
            return self.of_parsed(argument[-1])
        if kind is parser.MAX_REPEAT:
            low, high, inner = argument
            most = min(int(high), low + REPEATS) if self.random.random() < 0.9 else min(int(high), 2000)
            return "".join(self.of_parsed(inner) for _ in range(self.random.randint(low, most)))
        assert kind is parser.AT, f"{kind} of a pattern is not known here"
        return ""

    def string(self, schema):
        if "pattern" in schema:
            return self.of_parsed(parser.parse(python_pattern(schema["pattern"])))
        low = schema.get("minLength", 0)
        return "".join(self.random.choices(LETTERS, k=self.random.randint(low, min(schema.get("maxLength", 20), low + 20))))

    # ---- other values ----

    def number(self, schema, whole):
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", -1000)), schema.get("maximum", 1 << 31)
        edge = self.random.random()
        if whole:
            return low if edge < 0.2 else high if edge < 0.4 else self.random.randint(low, min(high, low + 1000))
        value = low if edge < 0.2 and "minimum" in schema else high if edge < 0.4 else self.random.uniform(low, high)
        return round(value, 2) if "multipleOf" in schema else value

    def array(self, schema):
        low = schema.get("minItems", 0)
        return [self.value(schema.get("items", {})) for _ in range(self.random.randint(low, min(schema.get("maxItems", low + 3), low + 3)))]

    def object(self, schema, wanted):
        known, required, banned = schema.get("properties", {}), set(schema.get("required", [])), set()
        for choices in (schema.get("oneOf"), schema.get("anyOf")):
            while choices:
                one = self.random.choice(choices)
                required |= set(one.get("required", []))
                banned |= {name for name, inner in one.get("properties", {}).items() if inner is False}
                known = {**known, **{name: inner for name, inner in one.get("properties", {}).items() if inner is not False and "$ref" not in known.get(name, {})}}
                choices = one.get("anyOf")
        names = [name for name in known if name in required or (name not in banned and self.random.random() < wanted)]
        found = {name: self.value(known[name]) for name in names}
        more = schema.get("additionalProperties", True)
        if isinstance(more, dict):
            names = schema.get("propertyNames", {"type": "string"})
            found.update({self.value({"type": "string", **names}): self.value(more) for _ in range(self.random.randint(0, 3))})
        return found

    def value(self, schema, wanted=0.4):
        """One that fits."""
        if schema is True or schema == {}:
            return self.random.choice([None, True, 1, "x", [], {}])
        for _ in range(200):
            found = self.attempt(schema, wanted)
            if not self.schemas.problems(found, schema):
                return found
        raise AssertionError(f"nothing that fits {schema}")

    def attempt(self, schema, wanted):
        if "$ref" in schema:
            return self.value(self.schemas.at(schema["$ref"]))
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        kinds = schema.get("type", "object" if "properties" in schema else None)
        if kinds is None and not {"oneOf", "anyOf"} & set(schema):
            return self.value({})
        if kinds is None:
            return self.value(self.random.choice(schema.get("oneOf") or schema.get("anyOf")))
        kind = kinds if isinstance(kinds, str) else self.random.choice(kinds)
        return {"string": lambda: self.string(schema), "integer": lambda: self.number(schema, True), "number": lambda: self.number(schema, False),
                "boolean": lambda: self.random.random() < 0.5, "null": lambda: None, "array": lambda: self.array(schema),
                "object": lambda: self.object(schema, wanted)}[kind]()

    def wrong(self, schema):
        """One that does not fit, or None where there is none to be thought of."""
        while "$ref" in schema:
            schema = self.schemas.at(schema["$ref"])
        candidates = [None, True, -1, 1 << 40, 0.5, "", "A B", "a\nb", "x" * 5000, "9999-99-99", [], {}, ["x"], {"nobody": 1}, 1e300]
        for key in ("minimum", "maximum"):
            if key in schema:
                candidates.append(schema[key] + (1 if key == "maximum" else -1))
        if "pattern" in schema:
            fitting = self.value({"type": "string", "pattern": schema["pattern"]})
            candidates += [fitting + "\n", fitting + "\0", " " + fitting, fitting.upper() + "!"]
        wrong = [c for c in candidates if self.schemas.problems(c, schema)]
        return self.random.choice(wrong) if wrong else None
