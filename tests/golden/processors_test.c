/* What a request changes in the logits, against transformers' logits processors on the same random logits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/engine/processors.h"

enum { VOCAB_MAX = 64, LIST_MAX = 64 };

static int read_ids(const json_t *list, int32_t *out)
{
    assert_true(json_array_size(list) <= LIST_MAX);
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int)json_array_size(list);
}

struct lists {
    int32_t tokens[LIST_MAX], ends[LIST_MAX], banned[8 * LIST_MAX];
    struct sampling_ban bans[LIST_MAX];
    struct sampling_bias biases[LIST_MAX];
};

static void read_bans(const json_t *list, struct lists *l, struct sampling *how)
{
    assert_true(json_array_size(list) <= 8);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct sampling_ban *ban = &l->bans[how->ban_count++];
        ban->begin = how->ban_token_count;
        ban->count = read_ids(json_array_get(list, i), l->banned + ban->begin);
        how->ban_token_count += ban->count;
    }
    how->bans = l->bans;
    how->ban_tokens = l->banned;
}

static void read_biases(const json_t *list, struct lists *l, struct sampling *how)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        l->biases[how->bias_count++] =
            (struct sampling_bias){(int32_t)json_integer_value(json_array_get(pair, 0)),
                                   (float)json_real_value(json_array_get(pair, 1))};
    }
    how->biases = l->biases;
}

static void check_case(size_t index, const json_t *c)
{
    struct lists l;
    float logits[VOCAB_MAX];
    uint32_t counts[VOCAB_MAX] = {0};
    const json_t *given = json_object_get(c, "logits"), *expected = json_object_get(c, "expected");
    int vocab = (int)json_array_size(given), count = read_ids(json_object_get(c, "tokens"), l.tokens);
    int prompt = (int)json_integer_value(json_object_get(c, "prompt"));
    struct processors_history h = {.tokens = l.tokens,
                                   .prompt = prompt,
                                   .answered = count - prompt,
                                   .ends = l.ends,
                                   .end_count = read_ids(json_object_get(c, "ends"), l.ends)};
    struct sampling how = {.repetition_penalty =
                               (float)json_real_value(json_object_get(c, "repetition_penalty")),
                           .min_tokens = (int)json_integer_value(json_object_get(c, "min_tokens"))};
    read_bans(json_object_get(c, "bans"), &l, &how);
    read_biases(json_object_get(c, "biases"), &l, &how);
    for (int i = 0; i < vocab; i++)
        logits[i] = (float)json_real_value(json_array_get(given, (size_t)i));
    processors_apply(&how, &h, logits, counts, vocab);
    for (int i = 0; i < vocab; i++) {
        const json_t *value = json_array_get(expected, (size_t)i);
        float wanted = json_is_null(value) ? -INFINITY : (float)json_real_value(value);
        if (logits[i] != wanted)
            fail_msg("case %zu: logit %d is %g, expected %g", index, i, (double)logits[i], (double)wanted);
    }
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *cases = json_load_file("tests/fixtures/processors/processors.json", 0, NULL);
    assert_true(json_array_size(cases) > 100);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(i, json_array_get(cases, i));
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_are_those_of_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
