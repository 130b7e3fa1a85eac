/* What an answer has to be: the first byte tells whether a JSON Schema (s), GBNF (g), a regular expression
 * (r) or a pattern with lengths (p) follows. What compiles is written under, byte by byte or in tokens: the
 * text never comes to a place where nothing goes on, and a JSON Schema's is JSON. */
#include <jansson.h>
#include <string.h>

#include "core/grammar/gbnf.h"
#include "core/grammar/json/json_pattern.h"
#include "core/grammar/regex.h"
#include "core/grammar/schema/json_schema.h"
#include "core/grammar/tokens/guide.h"
#include "tests/fuzz/support/fuzz.h"

enum { TOKENS = 300, END = 299, WRITTEN_MAX = 200 };

static const struct token_trie *tokens(void)
{
    static const char *const more[] = {"\", \"", "\": ",     "}}",           "true",     "null",
                                       "abc",    "\xc3\xa9", "  ",           "\n  ",     "]}",
                                       "12",     "\\\"",     "\xe4\xbd\xa0", "aaaaaaaa", "-1"};
    static struct token_trie *trie;
    static char bytes[256];
    struct token_text all[TOKENS] = {{0}};
    struct err e;
    if (trie)
        return trie;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        all[i] = (struct token_text){&bytes[i], 1};
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        all[256 + i] = (struct token_text){more[i], strlen(more[i])};
    fuzz_check(token_trie_new(&trie, all, TOKENS, &(int32_t){END}, 1, &e) == 0);
    return trie;
}

/* One of the tokens that may come; rather what ends things. */
static int32_t choose(const struct guide_mask *m, uint32_t *random)
{
    static const int32_t closing[] = {END, '"', '}', ']', ':', '0', '\\'};
    *random = *random * 1664525u + 1013904223u;
    uint32_t start = *random >> 16;
    for (size_t i = 0; start % 4 && i < sizeof closing / sizeof *closing; i++)
        if (m->bits[closing[i] / 64] >> (closing[i] % 64) & 1)
            return closing[i];
    for (uint32_t i = 0; i < TOKENS; i++) {
        uint32_t token = (start + i) % TOKENS;
        if (m->bits[token / 64] >> (token % 64) & 1)
            return (int32_t)token;
    }
    return -1;
}

static void check_json(const struct buf *text)
{
    json_t *value = json_loadb(text->data, text->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    fuzz_check(value);
    json_decref(value);
}

static void write_text(struct guide *g, bool json, uint32_t random)
{
    struct guide_text *t;
    struct guide_mask m;
    struct buf out = {0};
    struct err e;
    fuzz_check(guide_text_new(&t, g, &e) == 0);
    for (int i = 0; i < WRITTEN_MAX && !guide_text_ended(t); i++) {
        const char *bytes;
        fuzz_check(guide_text_mask(t, &m, &e) == 0);
        int32_t token = choose(&m, &random);
        fuzz_check(token >= 0);
        fuzz_check(guide_text_accept(t, token, &e) == 0);
        size_t length = token_trie_bytes(tokens(), token, &bytes);
        fuzz_check(buf_append(&out, bytes, length) == 0);
    }
    if (guide_text_ended(t) && json)
        check_json(&out);
    guide_text_free(t);
    buf_fini(&out);
}

static int read_schema(struct grammar *g, const char *text, struct err *e)
{
    json_t *schema = json_loads(text, JSON_DECODE_ANY, NULL);
    int result = schema ? json_schema_grammar(g, schema, e) : err_set(e, "fuzz", "not JSON");
    json_decref(schema);
    return result;
}

static int read_pattern(struct grammar *g, const char *text, size_t size, struct err *e)
{
    int max = size > 1 ? (uint8_t)text[1] % 40 : 0, min = size > 0 ? (uint8_t)text[0] % 10 : 0;
    int root = grammar_rule(g, "root", 4);
    int node = size < 2 ? grammar_empty(g)
                        : json_pattern(g, text + 2, size - 2, min, max < 30 && max < min ? min : max - 1, e);
    grammar_define(g, root, GRAMMAR_ALL_OF(g, grammar_string(g, "\""), node, grammar_string(g, "\"")));
    return node < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar g = {0};
    struct automaton *a = NULL;
    struct guide *guide;
    struct err e;
    if (size == 0)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    bool schema = data[0] == 's', pattern = data[0] == 'p';
    int result = schema           ? read_schema(&g, text, &e)
                 : pattern        ? read_pattern(&g, text, size - 1, &e)
                 : data[0] == 'g' ? gbnf_grammar(&g, text, size - 1, &e)
                                  : regex_grammar(&g, text, size - 1, &e);
    if (result == 0 && automaton_compile(&a, &g, &e) == 0) {
        fuzz_check(guide_new(&guide, a, tokens(), &e) == 0);
        for (uint32_t i = 0; i < 4; i++)
            write_text(guide, schema || pattern, i);
        guide_unref(guide);
    }
    automaton_unref(a);
    grammar_fini(&g);
    free(text);
    return 0;
}
