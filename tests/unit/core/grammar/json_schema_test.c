/* JSON Schema: which texts match, which schemas are refused, and by what name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/grammar/schema/json_schema.h"
#include "tests/unit/core/grammar/matching.h"

static struct automaton *compile(const char *schema)
{
    struct grammar g = {0};
    struct err e;
    json_t *parsed = json_loads(schema, JSON_DECODE_ANY, NULL);
    if (!parsed)
        fail_msg("not JSON: %s", schema);
    if (json_schema_grammar(&g, parsed, &e) != 0)
        fail_msg("%s: %s: %s", schema, e.code, e.message);
    json_decref(parsed);
    return matching_compile(&g);
}

struct expectation {
    const char *schema;
    const char *valid[12], *invalid[12];
};

static void check(const struct expectation *x)
{
    struct automaton *a = compile(x->schema);
    for (int i = 0; x->valid[i]; i++)
        if (!matching_whole(a, x->valid[i], strlen(x->valid[i])))
            fail_msg("%s does not take %s beyond byte %zu", x->schema, x->valid[i],
                     matching_prefix(a, x->valid[i], strlen(x->valid[i])));
    for (int i = 0; x->invalid[i]; i++)
        if (matching_whole(a, x->invalid[i], strlen(x->invalid[i])))
            fail_msg("%s takes %s", x->schema, x->invalid[i]);
    automaton_unref(a);
}

static void texts_match_as_the_schema_says(void **state)
{
    (void)state;
    static const struct expectation cases[] = {
        {"true", {"1", "null", "\"a\"", "[1, {}]", "{\"a\": {\"b\": []}}"}, {"", "tru", "[1,]", "{a:1}"}},
        {"{\"type\": \"null\"}", {"null"}, {"true", "nul", " null", "null "}},
        {"{\"type\": \"boolean\"}", {"true", "false"}, {"null", "True"}},
        {"{\"type\": \"integer\"}", {"0", "-1", "120"}, {"01", "1.0", "-", "+1", "1e3"}},
        {"{\"type\": \"number\"}", {"0", "-1.5", "12e+3", "0.25E-1"}, {".5", "1.", "1e", "00", "1e999"}},
        {"{\"type\": \"string\"}",
         {"\"\"", "\"a\\n\\u00e9\"", "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\xc3\xa9\"", "\"\\/\\\\\\\"\""},
         {"\"", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\xff\"",
          "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"\x01\""}},
        {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}",
         {"\"ab\"", "\"abc\"", "\"\xc3\xa9\\n\\ud83d\\ude00\""},
         {"\"a\"", "\"abcd\"", "\"\\n\""}},
        {"{\"type\": [\"integer\", \"null\"]}", {"1", "null"}, {"true", "1.5"}},
        {"{\"type\": \"integer\", \"nullable\": true}", {"1", "null"}, {"\"\""}},
        {"{\"enum\": [\"a\", 1, null, {\"b\": [2]}, 0.1]}",
         {"\"a\"", "1", "null", "{\"b\":[2]}", "0.1"},
         {"\"b\"", "2", "a", "0.10"}},
        {"{\"type\": \"string\", \"enum\": [\"a\", 1]}", {"\"a\""}, {"1"}},
        {"{\"const\": \"x\\n\"}", {"\"x\\n\""}, {"\"x\"", "\"x\n\""}},
        {"{\"enum\": [\"x\", \"xy\", \"xyz\"], \"maxLength\": 2}", {"\"x\"", "\"xy\""}, {"\"xyz\"", "\"\""}},
        {"{\"type\": \"object\"}", {"{}", "{ }", "{\"a\":1,\"b\":{}}", "{\n    \"a\": 1\n}"}, {"[]", "{,}"}},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": true, \"c\": {\"type\": \"null\"}}, "
         "\"required\": "
         "[\"b\"]}",
         {"{\"b\":1}", "{\"a\":null,\"b\":1}", "{\"b\":1,\"c\":null}",
          "{\"a\": null, \"b\": [], \"c\": null}"},
         {"{}", "{\"a\":null}", "{\"b\":1,\"a\":null}", "{\"b\":1,\"d\":1}", "{\"b\":1,}", "{,\"b\":1}",
          "1"}},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}}}",
         {"{}", "{\"a\":null}", "{\"b\":null}", "{\"a\":null,\"b\":null}"},
         {"{\"a\":1}", "{\"b\":null,\"a\":null}", "{\"c\":null}"}},
        {"{\"properties\": {\"ab\": {\"type\": \"null\"}}, \"additionalProperties\": {\"type\": "
         "\"integer\"}}",
         {"{}", "{\"ab\":null}", "{\"ab\":null,\"a\":1,\"abc\":2}", "{\"\":1,\"x\\n\":2,\"b\xc3\xa9\":3}"},
         {"{\"ab\":1}", "{\"a\\u0062\":1}", "{\"\\u0061b\":1}", "{\"a\":null}"}},
        {"{\"additionalProperties\": {\"type\": \"integer\"}, \"minProperties\": 1, \"maxProperties\": 2}",
         {"{\"a\":1}", "{\"a\":1,\"b\":2}"},
         {"{}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":\"\"}"}},
        {"{\"required\": [\"z\"], \"properties\": {\"a\": {\"type\": \"null\"}}, \"additionalProperties\": "
         "{\"type\": "
         "\"integer\"}}",
         {"{\"z\":1}", "{\"a\":null,\"z\":1,\"y\":2}"},
         {"{}", "{\"a\":null}", "{\"z\":null}"}},
        {"{\"type\": \"array\"}", {"[]", "[1]", "[1, \"a\", []]", "[\n    1,\n    2\n]"}, {"[,]", "{}"}},
        {"{\"items\": {\"type\": \"integer\"}, \"minItems\": 1, \"maxItems\": 3}",
         {"[1]", "[1,2]", "[1, 2, 3]"},
         {"[]", "[1,2,3,4]", "[\"a\"]"}},
        {"{\"prefixItems\": [{\"type\": \"null\"}, {\"type\": \"integer\"}], \"items\": {\"type\": "
         "\"boolean\"}, "
         "\"minItems\": 1}",
         {"[null]", "[null,1]", "[null,1,true,false]"},
         {"[]", "[1]", "[null,true]", "[null,1,2]"}},
        {"{\"prefixItems\": [{\"type\": \"null\"}], \"items\": false}", {"[]", "[null]"}, {"[null,null]"}},
        {"{\"items\": [{\"type\": \"null\"}], \"additionalItems\": {\"type\": \"integer\"}}",
         {"[]", "[null]", "[null, 1]"},
         {"[1]", "[null, null]"}},
        {"{\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"string\", \"maxLength\": 1}]}",
         {"1", "\"a\""},
         {"\"ab\"", "null"}},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}}, "
         "\"anyOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}",
         {"{\"a\":null}", "{\"b\":null}", "{\"a\":null,\"b\":null}"},
         {"{}", "{\"c\":null}"}},
        {"{\"oneOf\": [{\"properties\": {\"k\": {\"const\": \"a\"}, \"x\": {\"type\": \"null\"}}, "
         "\"required\": "
         "[\"k\", \"x\"]}, {\"properties\": {\"k\": {\"const\": \"b\"}}, \"required\": [\"k\"]}]}",
         {"{\"k\":\"a\",\"x\":null}", "{\"k\":\"b\"}"},
         {"{\"k\":\"a\"}", "{\"k\":\"b\",\"x\":null}"}},
        {"{\"allOf\": [{\"$ref\": \"#/$defs/base\"}, {\"properties\": {\"b\": {\"type\": \"integer\"}}, "
         "\"required\": "
         "[\"b\"]}], \"$defs\": {\"base\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
         "\"null\"}}, "
         "\"required\": [\"a\"]}}}",
         {"{\"a\":null,\"b\":1}"},
         {"{\"a\":null}", "{\"b\":1}", "{\"b\":1,\"a\":null}"}},
        {"{\"$ref\": \"#/definitions/n\", \"description\": \"x\", \"definitions\": {\"n\": {\"type\": "
         "\"integer\"}}}",
         {"1"},
         {"null"}},
        {"{\"$ref\": \"#/$defs/a~1b%20c\", \"maxLength\": 2, \"$defs\": {\"a/b c\": {\"type\": \"string\", "
         "\"minLength\": 2}}}",
         {"\"ab\""},
         {"\"a\"", "\"abc\""}},
        {"{\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, \"next\": {\"anyOf\": "
         "[{\"$ref\": "
         "\"#\"}, {\"type\": \"null\"}]}}, \"required\": [\"v\", \"next\"]}",
         {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}"},
         {"{\"v\":1}", "{\"v\":1,\"next\":{}}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}"}},
        {"{\"type\": \"integer\", \"minimum\": -12, \"maximum\": 105}",
         {"-12", "-1", "0", "9", "10", "99", "100", "105"},
         {"-13", "-0", "106", "110", "1000", "00", "1.0"}},
        {"{\"type\": \"integer\", \"exclusiveMinimum\": 3.5, \"exclusiveMaximum\": 7}",
         {"4", "6"},
         {"3", "7", "-4"}},
        {"{\"type\": \"integer\", \"minimum\": 3, \"exclusiveMinimum\": true}", {"4", "1000"}, {"3", "-4"}},
        {"{\"type\": \"integer\", \"multipleOf\": 7, \"minimum\": 10, \"maximum\": 150}",
         {"14", "98", "105", "147"},
         {"7", "15", "154", "0"}},
        {"{\"type\": \"number\", \"multipleOf\": 5}", {"0", "-5", "125"}, {"3", "5.5"}},
        {"{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}",
         {"0", "1", "0.5", "0.00", "1.000", "0.00000000000001"},
         {"-0.1", "1.1", "1.00000000000001", "2", "-0", "0.", "1e0"}},
        {"{\"type\": \"number\", \"exclusiveMinimum\": -1.25, \"exclusiveMaximum\": 12.5}",
         {"-1.2499", "0", "12", "12.4999", "7.3", "-0.5"},
         {"-1.25", "-1.3", "12.5", "12.50", "13", "-2"}},
        {"{\"type\": \"number\", \"minimum\": 0.1}",
         {"0.1", "0.10", "5", "123456789.123456"},
         {"0", "0.09", "-1"}},
        {"{\"type\": \"number\", \"maximum\": -99.5}", {"-99.5", "-100", "-99.51"}, {"-99.4", "99.5", "0"}},
        {"{\"type\": \"string\", \"pattern\": \"^[A-Z]{2}-\\\\d+$\"}",
         {"\"AB-12\""},
         {"\"AB-\"", "\"xAB-1\""}},
        {"{\"type\": \"string\", \"pattern\": \"b\", \"maxLength\": 3}",
         {"\"abc\"", "\"b\""},
         {"\"ac\"", "\"abcd\""}},
        {"{\"type\": \"string\", \"format\": \"date\"}",
         {"\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""},
         {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"", "\"24-01-01\""}},
        {"{\"type\": \"string\", \"format\": \"date-time\"}",
         {"\"2024-05-01T23:59:59Z\"", "\"2024-05-01T00:00:00.5+01:30\""},
         {"\"2024-05-01\"", "\"2024-05-01T24:00:00Z\"", "\"2024-05-01T00:00:00\""}},
        {"{\"type\": \"string\", \"format\": \"ipv6\"}",
         {"\"::\"", "\"::1\"", "\"fe80::1:2\"", "\"1:2:3:4:5:6:7:8\"", "\"1::\""},
         {"\"1\"", "\"1::2::3\"", "\"1:2:3:4:5:6:7:8:9\"", "\":1\""}},
        {"{\"type\": \"string\", \"format\": \"ipv4\"}",
         {"\"0.0.0.0\"", "\"255.10.1.99\""},
         {"\"256.1.1.1\"", "\"1.1.1\"", "\"01.1.1.1\""}},
        {"{\"type\": \"string\", \"format\": \"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\""},
         {"\"123e4567\""}},
        {"{\"type\": \"string\", \"format\": \"email\"}",
         {"\"a.b+c@example.org\""},
         {"\"a@b\"", "\".a@b.c\"", "\"@b.c\""}},
        {"{\"type\": \"string\", \"format\": \"duration\"}",
         {"\"P1Y2M\"", "\"PT5M\"", "\"P3W\"", "\"P1DT2H\""},
         {"\"P\"", "\"PT\"", "\"1D\""}},
        {"{\"type\": \"string\", \"format\": \"uri\"}",
         {"\"https://example.org/a?b=c#d\""},
         {"\"example.org\"", "\"http:///\""}},
        {"{\"allOf\": [{\"minimum\": 3, \"maximum\": 9}, {\"type\": \"integer\", \"maximum\": 5}]}",
         {"3", "5"},
         {"2", "6", "4.5"}},
        {"{\"allOf\": [{\"enum\": [1, 2, 3]}, {\"enum\": [2.0, 3, 4]}]}", {"2", "3"}, {"1", "4"}},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}, \"c\": {\"type\": "
         "\"null\"}}, \"minProperties\": 2}",
         {"{\"a\":null,\"b\":null}", "{\"a\":null,\"c\":null}", "{\"b\":null,\"c\":null}",
          "{\"a\":null,\"b\":null,\"c\":null}"},
         {"{}", "{\"a\":null}", "{\"c\":null}"}},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}, \"c\": {\"type\": "
         "\"null\"}}, \"required\": [\"c\"], \"maxProperties\": 2}",
         {"{\"c\":null}", "{\"a\":null,\"c\":null}", "{\"b\":null,\"c\":null}"},
         {"{}", "{\"a\":null,\"b\":null}", "{\"a\":null,\"b\":null,\"c\":null}"}},
        {"{\"properties\": {\"a\": {\"type\": \"null\"}}, \"additionalProperties\": {\"type\": \"integer\"}, "
         "\"minProperties\": 2, \"maxProperties\": 3}",
         {"{\"a\":null,\"b\":1}", "{\"a\":null,\"b\":1,\"c\":1}"},
         {"{}", "{\"a\":null}", "{\"b\":1}", "{\"a\":null,\"b\":1,\"c\":1,\"d\":1}"}},
        {"{\"patternProperties\": {\"^[a-z]+$\": {\"type\": \"integer\"}}, \"properties\": {\"A\": "
         "{\"type\": \"null\"}}, \"additionalProperties\": false}",
         {"{}", "{\"A\":null}", "{\"A\":null,\"a\":1,\"bc\":2}", "{\"x\":1}"},
         {"{\"B\":1}", "{\"a\":null}", "{\"a1\":1}"}},
        {"{\"propertyNames\": {\"enum\": [\"a\", \"b\"]}, \"additionalProperties\": {\"type\": \"integer\"}}",
         {"{}", "{\"a\":1,\"b\":2}"},
         {"{\"c\":1}", "{\"a\":\"\"}"}},
        {"{\"propertyNames\": {\"maxLength\": 2}, \"type\": \"object\"}", {"{\"ab\":1}"}, {"{\"abc\":1}"}},
        {"{\"enum\": [\"ab\", \"b\", \"c\", 1, [1], [\"x\"]], \"pattern\": \"b\", \"items\": {\"type\": "
         "\"integer\"}}",
         {"\"ab\"", "\"b\"", "1", "[1]"},
         {"\"c\"", "[\"x\"]"}},
        {"{\"uniqueItems\": true, \"minItems\": 1, \"items\": {\"type\": [\"string\", \"integer\"], "
         "\"enum\": [\"a\", \"b\", 1, 1.0, null]}}",
         {"[\"a\"]", "[\"b\", \"a\", 1]", "[1,\"b\"]"},
         {"[]", "[\"a\",\"a\"]", "[1,\"a\",1]", "[null]"}},
        {"{\"uniqueItems\": true, \"maxItems\": 2, \"items\": {\"$ref\": \"#/$defs/e\"}, \"$defs\": {\"e\": "
         "{\"enum\": [1, 2, 3]}}}",
         {"[]", "[3,1]"},
         {"[1,2,3]", "[1,1]"}},
        {"{\"type\": \"array\", \"uniqueItems\": true, \"maxItems\": 1}", {"[]", "[[1]]"}, {"[1,2]"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

static void what_cannot_be_held_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *code, *message;
    } cases[] = {
        {"{\"not\": {}}", "schema_unsupported", "\"not\" at the root"},
        {"{\"properties\": {\"a\": {\"items\": {\"if\": true}}}}", "schema_unsupported",
         "\"if\" at /properties/a/items"},
        {"{\"propertees\": {}}", "schema_unsupported", "\"propertees\""},
        {"{\"type\": \"array\", \"uniqueItems\": true}", "schema_unsupported", "\"uniqueItems\""},
        {"{\"$ref\": \"https://example.org/x\"}", "schema_unsupported", "\"$ref\""},
        {"{\"$ref\": \"#/$defs/none\"}", "schema_invalid", "\"$ref\""},
        {"{\"type\": \"strng\"}", "schema_invalid", "\"type\""},
        {"{\"type\": [\"string\", 1]}", "schema_invalid", "\"type\""},
        {"{\"anyOf\": []}", "schema_invalid", "\"anyOf\""},
        {"{\"anyOf\": [1]}", "schema_invalid", "/anyOf/0"},
        {"{\"minLength\": -1}", "schema_invalid", "\"minLength\""},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\"}]}", "schema_unsupported", "\"oneOf\""},
        {"{\"oneOf\": [{\"properties\": {\"a\": {}}}, {\"type\": \"string\"}]}", "schema_unsupported",
         "\"oneOf\""},
        {"{\"required\": [\"a\"], \"additionalProperties\": false}", "schema_unsupported", "\"required\""},
        {"{\"allOf\": [{\"pattern\": \"a\"}, {\"pattern\": \"b\"}]}", "schema_unsupported", "\"pattern\""},
        {"1", "schema_invalid", "the root"},
        {"{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "schema_unsupported", "\"pattern\""},
        {"{\"patternProperties\": {\"^a\": {}, \"b$\": {}}}", "schema_unsupported", "\"patternProperties\""},
        {"{\"patternProperties\": {\"^a\": {}}, \"properties\": {\"ab\": {}}}", "schema_unsupported",
         "\"patternProperties\""},
        {"{\"patternProperties\": {\"(?=a)\": {}}}", "schema_unsupported", "\"patternProperties\""},
        {"{\"minProperties\": 2}", "schema_unsupported", "\"minProperties\""},
        {"{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"allOf\": [{\"$ref\": \"#/$defs/a\"}, "
         "{\"maxLength\": 1}]}}}",
         "schema_too_large", "/allOf/0"},
        {"{\"pattern\": 1}", "schema_invalid", "\"pattern\""},
        {"{\"type\": \"string\", \"pattern\": \"a\", \"format\": \"date\"}", "schema_unsupported",
         "\"pattern\""},
        {"{\"type\": \"string\", \"format\": \"regex\"}", "schema_unsupported", "\"format\""},
        {"{\"type\": \"number\", \"multipleOf\": 0.01}", "schema_unsupported", "\"multipleOf\""},
        {"{\"type\": \"number\", \"multipleOf\": 0}", "schema_invalid", "\"multipleOf\""},
        {"{\"type\": \"number\", \"minimum\": 1e30}", "schema_unsupported", "\"minimum\""},
        {"{\"type\": \"integer\", \"minimum\": \"1\"}", "schema_invalid", "\"minimum\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct err e = {0};
        json_t *parsed = json_loads(cases[i].schema, JSON_DECODE_ANY, NULL);
        assert_non_null(parsed);
        if (json_schema_grammar(&g, parsed, &e) == 0)
            fail_msg("%s is taken", cases[i].schema);
        if (strcmp(e.code, cases[i].code) != 0 || !strstr(e.message, cases[i].message))
            fail_msg("%s: %s: %s", cases[i].schema, e.code, e.message);
        json_decref(parsed);
        grammar_fini(&g);
    }
}

static void schemas_without_any_text_are_refused(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "false",
        "{\"type\": \"string\", \"enum\": [1]}",
        "{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 1}",
        "{\"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}",
        "{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"integer\"}]}",
        "{\"allOf\": [{\"const\": 1}, {\"const\": 2}]}",
        "{\"items\": false, \"minItems\": 1}",
        "{\"type\": \"integer\", \"minimum\": 2, \"maximum\": 1}",
        "{\"type\": \"number\", \"minimum\": 2, \"exclusiveMaximum\": 2}",
        "{\"type\": \"integer\", \"multipleOf\": 10, \"minimum\": 11, \"maximum\": 19}",
    };
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct grammar g = {0};
        struct automaton *a;
        struct err e = {0};
        json_t *parsed = json_loads(schemas[i], JSON_DECODE_ANY, NULL);
        if (json_schema_grammar(&g, parsed, &e) != 0)
            fail_msg("%s: %s", schemas[i], e.message);
        assert_int_equal(automaton_compile(&a, &g, &e), -1);
        assert_string_equal(e.code, "schema_unsatisfiable");
        json_decref(parsed);
        grammar_fini(&g);
    }
}

static void any_object(void **state)
{
    (void)state;
    struct grammar g = {0};
    struct err e;
    assert_int_equal(json_schema_any_object(&g, &e), 0);
    struct automaton *a = matching_compile(&g);
    assert_true(matching_whole(a, "{\"a\": [1, {\"b\": null}]}", 23));
    assert_false(matching_whole(a, "[]", 2));
    assert_false(matching_whole(a, "{} ", 3));
    char deep[3000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    assert_in_range(matching_prefix(a, deep, sizeof deep), 500, 520);
    automaton_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match_as_the_schema_says),
        cmocka_unit_test(what_cannot_be_held_is_refused_by_name),
        cmocka_unit_test(schemas_without_any_text_are_refused),
        cmocka_unit_test(any_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
