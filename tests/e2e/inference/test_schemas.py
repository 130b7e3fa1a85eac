"""Answers under JSON schemas at random (schemas.py), by the demo's base at temperature 1: what ends by itself parses and is valid, by
Python's jsonschema; what is refused names its keyword. `make test` tries a few, `make schemas N=1000` many."""
import collections
import concurrent.futures
import json
import os
import re

import jsonschema
import pytest

from schemas import Maker

COUNT = int(os.environ.get("ADAPTERD_SCHEMAS", "40"))
SEED = int(os.environ.get("ADAPTERD_SCHEMAS_SEED", "1"))
# The formats of 2020-12; jsonschema.FormatChecker() would have those of draft 3, too.
FORMATS = getattr(jsonschema.Draft202012Validator, "FORMAT_CHECKER", None) or jsonschema.draft202012_format_checker
REFUSALS = {"schema_unsupported", "schema_unsatisfiable", "schema_too_large"}


def errors(schema, text):
    """Why the text is no answer; None: it is."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return str(error)
    found = next(jsonschema.Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value), None)
    return found and found.message


def ask(tenant, schema, seed):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    return tenant.post("/infer", {"prompt": "Where is my parcel?", "temperature": 1, "seed": seed, "max_tokens": 300, "response_format": form})


def try_schema(tenant, number):
    """What became of it: "valid", "length" or a code."""
    schema, refused = Maker(number).whole()
    answer = ask(tenant, schema, number)
    if answer.status != 200:
        error = answer.json["error"]
        assert answer.status == 400 and error["code"] in REFUSALS, (answer, schema)
        assert error["code"] != "schema_unsupported" or re.match(r'keyword ".+" ', error["message"]), (answer, schema)
        return error["code"]
    assert not refused, schema
    if answer.json["finish_reason"] == "length":
        return "length"
    assert answer.json["finish_reason"] == "stop"
    wrong = errors(schema, answer.json["text"])
    assert wrong is None, (wrong, answer.json["text"], schema)
    return "valid"


@pytest.fixture(scope="module")
def tenant(daemon):
    return daemon.tenant("schemas")


def test_schemas_at_random(tenant):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ends = collections.Counter(pool.map(lambda number: try_schema(tenant, number), range(SEED, SEED + COUNT)))
    print(f"schemas: {COUNT} from seed {SEED}: {dict(ends)}")
    assert ends["valid"] >= COUNT // 3 and ends["schema_unsupported"] + ends["schema_unsatisfiable"] < COUNT // 2


@pytest.mark.parametrize("schema, text", [
    ({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}, None),
    ({"const": {"a": ["ä", 1.5, None]}}, '{"a":["ä",1.5,null]}'),
    ({"enum": ["only"]}, '"only"'),
])
def test_an_answer_ends_where_nothing_may_follow(tenant, schema, text):
    """Also without temperature, and where the length would be the answer's to the token."""
    for seed in range(3):
        answer = ask(tenant, schema, seed).json
        assert answer["finish_reason"] == "stop" and errors(schema, answer["text"]) is None
        assert text in (None, answer["text"])
        exact = tenant.post("/infer", {"prompt": "Where is my parcel?", "temperature": 1, "seed": seed, "max_tokens": answer["usage"]["completion_tokens"],
                                       "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}).json
        assert exact["text"] == answer["text"]
