/* Masks against trying every token one by one, along random texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/grammar/tokens/guide.h"
#include "core/grammar/schema/json_schema.h"
#include "core/grammar/automaton/states.h"
#include "tests/unit/core/grammar/matching.h"

enum { VOCAB_MAX = 70000, END = 300, END_TOO = 301, SPECIAL = 302, FIRST_LONG = 310 };

struct vocabulary {
    struct token_text tokens[VOCAB_MAX];
    char bytes[VOCAB_MAX][20];
    int count;
    struct token_trie *trie;
    uint32_t random;
};

static uint32_t draw(struct vocabulary *v, uint32_t below)
{
    v->random = v->random * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)v->random * below) >> 32);
}

static void put(struct vocabulary *v, int id, const char *bytes, size_t length)
{
    memcpy(v->bytes[id], bytes, length);
    v->tokens[id] = (struct token_text){.bytes = v->bytes[id], .length = length};
}

/* All bytes, two ends, a special token, and long ones of parts that JSON is made of. */
static struct vocabulary *vocabulary(int count, bool space_dropped)
{
    static const char *const parts[] = {"a",        "b",
                                        " ",        "\"",
                                        "\\",       "{",
                                        "}",        "[",
                                        "]",        ":",
                                        ",",        "1",
                                        "0",        "-",
                                        ".",        "\n",
                                        "true",     "null",
                                        "\xc3\xa9", "\xc3",
                                        "\xa9",     "\xe2\x80\xa8",
                                        "\xe2\x82", "\xf0\x9f\x98\x80",
                                        "\\u",      "\\n",
                                        "d8",       "\x7f"};
    struct vocabulary *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->random = 7;
    v->count = count;
    for (int i = 0; i < 256; i++)
        put(v, i, &(char){(char)i}, 1);
    put(v, END, "</s>", 4);
    put(v, SPECIAL, "\xff<x>", 4);
    for (int id = FIRST_LONG; id < count; id++) {
        char text[20];
        size_t length = 0;
        for (int n = 1 + (int)draw(v, 4); n > 0; n--) {
            const char *part = parts[draw(v, sizeof parts / sizeof *parts)];
            memcpy(text + length, part, strlen(part));
            length += strlen(part);
        }
        put(v, id, text, length);
    }
    struct err e;
    int32_t ends[] = {END, END_TOO, -1, count};
    assert_int_equal(token_trie_new(&v->trie, v->tokens, count, ends, 4, &e), 0);
    v->trie->first_space_dropped = space_dropped;
    return v;
}

static void vocabulary_free(struct vocabulary *v)
{
    token_trie_free(v->trie);
    free(v);
}

/* What a token does, found byte by byte. */
static int32_t after(struct states *s, int32_t state, const struct vocabulary *v, int id, bool first)
{
    size_t at = first && v->trie->first_space_dropped && v->bytes[id][0] == ' ';
    if (v->tokens[id].length == at)
        return STATES_DEAD;
    for (; at < v->tokens[id].length && state != STATES_DEAD; at++)
        state = states_next(s, state, (uint8_t)v->bytes[id][at]);
    return state;
}

static bool allowed(struct states *s, int32_t state, const struct vocabulary *v, int id, bool first)
{
    if (id == END || id == END_TOO)
        return s->sets[state].accepts;
    return after(s, state, v, id, first) != STATES_DEAD;
}

static bool has(const struct guide_mask *m, int id)
{
    return m->bits[id / 64] >> (id % 64) & 1;
}

/* One text, written at random up to `length` tokens. */
static void write_text(struct vocabulary *v, struct guide *g, const struct automaton *a, int length)
{
    struct guide_text *t;
    struct guide_mask m;
    struct states *s;
    struct err e;
    assert_int_equal(guide_text_new(&t, g, &e), 0);
    assert_int_equal(states_new(&s, a, &e), 0);
    int32_t state = states_start(s);
    for (int i = 0; i < length && !guide_text_ended(t); i++) {
        if (guide_text_mask(t, &m, &e) != 0)
            fail_msg("%s: %s", e.code, e.message);
        int count = 0, lowest = -1, chosen = -1;
        bool others = false;
        for (int id = 0; id < v->count; id++) {
            bool yes = allowed(s, state, v, id, i == 0);
            if (yes != has(&m, id))
                fail_msg("token %d after %d tokens", id, i);
            lowest = lowest < 0 && yes ? id : lowest;
            others |= yes && id != END && id != END_TOO;
            count += yes;
            if (yes && draw(v, (uint32_t)count) == 0)
                chosen = id;
        }
        assert_int_equal(m.count, count);
        assert_int_equal(m.first, lowest);
        assert_int_equal(m.ends_only, !others);
        for (int k = 0; k < 5; k++) {
            int id = (int)draw(v, (uint32_t)v->count);
            if (!has(&m, id))
                assert_int_equal(guide_text_accept(t, id, &e), -1);
        }
        assert_int_equal(guide_text_accept(t, chosen, &e), 0);
        if (!guide_text_ended(t))
            state = after(s, state, v, chosen, i == 0);
    }
    states_free(s);
    guide_text_free(t);
}

static struct automaton *schema(const char *text)
{
    struct grammar g = {0};
    struct err e;
    json_t *parsed = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_int_equal(json_schema_grammar(&g, parsed, &e), 0);
    json_decref(parsed);
    return matching_compile(&g);
}

static void masks_are_what_each_token_does(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "true",
        "{\"type\": \"object\"}",
        "{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 40}",
        "{\"properties\": {\"a\": {\"type\": \"string\"}, \"ab\": {\"enum\": [\"a\", \"ab\", 10, 11]}}, "
        "\"additionalProperties\": {\"type\": \"array\", \"items\": {\"type\": \"number\"}}}",
    };
    for (int dropped = 0; dropped < 2; dropped++) {
        struct vocabulary *v = vocabulary(3000, dropped);
        for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
            struct automaton *a = schema(schemas[i]);
            struct guide *g;
            struct err e;
            assert_int_equal(guide_new(&g, a, v->trie, &e), 0);
            for (int k = 0; k < 20; k++)
                write_text(v, g, a, 60);
            guide_unref(g);
            automaton_unref(a);
        }
        vocabulary_free(v);
    }
}

static void compare(struct guide_text *a, struct guide_text *b, size_t words)
{
    struct guide_mask x, y;
    struct err e;
    uint64_t *copy = malloc(words * sizeof *copy);
    assert_non_null(copy);
    assert_int_equal(guide_text_mask(a, &x, &e), 0);
    memcpy(copy, x.bits, words * sizeof *copy);
    assert_int_equal(guide_text_mask(b, &y, &e), 0);
    assert_memory_equal(copy, y.bits, words * sizeof *copy);
    free(copy);
}

static void memory_is_bounded_and_changes_nothing(void **state)
{
    (void)state;
    struct vocabulary *v = vocabulary(VOCAB_MAX, false);
    struct automaton *a = schema("{\"items\": {\"type\": \"string\", \"minLength\": 5000}}");
    struct guide *g, *fresh;
    struct guide_text *t, *early, *other;
    struct guide_mask m;
    struct err e;
    assert_int_equal(guide_new(&g, a, v->trie, &e), 0);
    assert_int_equal(guide_text_new(&t, g, &e), 0);
    assert_int_equal(guide_text_accept(t, '[', &e), 0);
    assert_int_equal(guide_text_accept(t, '"', &e), 0);
    assert_int_equal(guide_text_accept(t, 'a', &e), 0);
    assert_int_equal(guide_text_copy(&early, t, &e), 0);
    size_t most = 0;
    for (int i = 0; i < 4500; i++) {
        assert_int_equal(guide_text_mask(t, &m, &e), 0);
        assert_int_equal(guide_text_accept(t, 'a', &e), 0);
        most = guide_bytes(g) > most ? guide_bytes(g) : most;
    }
    assert_in_range(most, GUIDE_BYTES_MAX / 2, GUIDE_BYTES_MAX + (4 << 20));
    assert_int_equal(guide_text_accept(early, 'b', &e), 0);
    assert_int_equal(guide_new(&fresh, a, v->trie, &e), 0);
    assert_int_equal(guide_text_new(&other, fresh, &e), 0);
    for (const char *c = "[\"ab"; *c; c++)
        assert_int_equal(guide_text_accept(other, *c, &e), 0);
    compare(early, other, v->trie->words);
    for (int i = 2; i < 4501; i++)
        assert_int_equal(guide_text_accept(other, 'b', &e), 0);
    compare(t, other, v->trie->words);
    guide_text_free(t);
    guide_text_free(early);
    guide_text_free(other);
    guide_unref(g);
    guide_unref(fresh);
    automaton_unref(a);
    vocabulary_free(v);
}

static void a_vocabulary_that_cannot_go_on_is_told(void **state)
{
    (void)state;
    struct token_text tokens[] = {{"nu", 2}, {"ll", 2}, {"n", 1}, {NULL, 0}};
    struct automaton *a = schema("{\"type\": \"null\"}");
    struct token_trie *trie;
    struct guide *g;
    struct guide_text *t;
    struct guide_mask m;
    struct err e;
    assert_int_equal(token_trie_new(&trie, tokens, 4, &(int32_t){3}, 1, &e), 0);
    assert_int_equal(guide_new(&g, a, trie, &e), 0);
    assert_int_equal(guide_text_new(&t, g, &e), 0);
    assert_int_equal(guide_text_mask(t, &m, &e), 0);
    assert_int_equal(m.bits[0], 5);
    assert_int_equal(guide_text_accept(t, 0, &e), 0);
    assert_int_equal(guide_text_mask(t, &m, &e), 0);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.first, 1);
    assert_int_equal(guide_text_accept(t, 1, &e), 0);
    assert_int_equal(guide_text_mask(t, &m, &e), 0);
    assert_true(m.ends_only);
    guide_text_free(t);
    assert_int_equal(guide_text_new(&t, g, &e), 0);
    assert_int_equal(guide_text_accept(t, 2, &e), 0);
    assert_int_equal(guide_text_mask(t, &m, &e), -1);
    assert_string_equal(e.code, "grammar_stuck");
    guide_text_free(t);
    guide_unref(g);
    token_trie_free(trie);
    automaton_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_are_what_each_token_does),
        cmocka_unit_test(memory_is_bounded_and_changes_nothing),
        cmocka_unit_test(a_vocabulary_that_cannot_go_on_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
