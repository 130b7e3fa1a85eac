/* Texts written at random under JSON schemas, and what that costs.
 *
 *   grammar DIRECTORY [--texts 3] [--tokens 400] [--seed 1]
 *
 * DIRECTORY has a tokenizer.json. Reads schemas from standard input, one a line, and writes a line of JSON
 * for each: the error that it was refused with ("code", "message"), or the texts that ended ("texts"), how
 * many did not
 * ("unfinished"), microseconds of compiling and of masks ("compile_us", "masks", "mask_us" each,
 * "mask_us_max"), the automaton's states and the bytes that masks and states hold in the end. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "core/grammar/automaton/automaton.h"
#include "core/grammar/schema/json_schema.h"
#include "core/grammar/tokens/guide.h"
#include "core/grammar/tokens/token_bytes.h"

struct options {
    const char *directory;
    int texts, tokens;
    uint64_t seed;
};

/* Of this thread's own work: others may use the machine, too. */
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct figures {
    double compile_us;
    double mask_us, mask_us_max;
    int masks, slow;
};

/* As a model of little sense would: now and then any token, otherwise what ends things. */
static int32_t choose(const struct guide_mask *m, const struct token_trie *t, struct bench_random *random)
{
    static const char closing[] = "\"}],:0";
    for (int i = 0; i < 16; i++) {
        uint32_t at = (uint32_t)(bench_random(random) % (uint64_t)t->vocab_size);
        const char *bytes;
        size_t length = token_trie_bytes(t, (int32_t)at, &bytes);
        bool ends = t->ends[at / 64] >> (at % 64) & 1;
        bool liked = i < 4 || ends || (length > 0 && memchr(closing, bytes[0], sizeof closing - 1));
        if (m->bits[at / 64] >> (at % 64) & 1 && liked)
            return (int32_t)at;
    }
    int32_t wanted = (int32_t)(bench_random(random) % (uint64_t)m->count);
    for (size_t word = 0; word < t->words; word++)
        for (uint64_t bits = m->bits[word]; bits; bits &= bits - 1)
            if (wanted-- == 0)
                return (int32_t)(word * 64) + __builtin_ctzll(bits);
    return m->first;
}

static void time_mask(struct guide *g, struct guide_text *text, struct guide_mask *m, struct figures *f)
{
    struct err e;
    size_t bytes = guide_bytes(g);
    double before = now_us();
    bench_check(guide_text_mask(text, m, &e), &e);
    double took = now_us() - before;
    if (guide_bytes(g) == bytes)
        return; /* known already */
    f->masks++;
    f->slow += took > 1000;
    f->mask_us += took;
    f->mask_us_max = took > f->mask_us_max ? took : f->mask_us_max;
}

/* The text, or NULL where it did not end within the tokens. */
static json_t *write_text(struct guide *g, const struct token_trie *t, int tokens,
                          struct bench_random *random, struct figures *f)
{
    struct buf out = {0};
    struct guide_text *text;
    struct guide_mask m;
    struct err e;
    bench_check(guide_text_new(&text, g, &e), &e);
    for (int i = 0; i < tokens && !guide_text_ended(text); i++) {
        const char *bytes;
        time_mask(g, text, &m, f);
        int32_t token = choose(&m, t, random);
        size_t length = token_trie_bytes(t, token, &bytes);
        bench_check(guide_text_accept(text, token, &e), &e);
        if (!guide_text_ended(text) && buf_append(&out, bytes, length) != 0)
            bench_check(err_memory(&e), &e);
    }
    json_t *written = guide_text_ended(text) ? json_stringn(out.data ? out.data : "", out.length) : NULL;
    if (guide_text_ended(text) && !written)
        fprintf(stderr, "not UTF-8\n");
    guide_text_free(text);
    buf_fini(&out);
    return written;
}

static json_t *refused(const struct err *e)
{
    return json_pack("{s:s, s:s}", "code", e->code, "message", e->message);
}

static json_t *try_schema(const json_t *schema, const struct token_trie *t, const struct options *o, int line)
{
    struct grammar g = {0};
    struct automaton *a = NULL;
    struct guide *guide;
    struct figures f = {0};
    struct err e;
    struct bench_random random = bench_seeded(o->seed, (uint64_t)line);
    double before = now_us();
    int result = json_schema_grammar(&g, schema, &e) != 0 ? -1 : automaton_compile(&a, &g, &e);
    f.compile_us = now_us() - before;
    grammar_fini(&g);
    if (result != 0)
        return refused(&e);
    bench_check(guide_new(&guide, a, t, &e), &e);
    json_t *texts = json_array();
    int unfinished = 0;
    for (int i = 0; i < o->texts; i++) {
        json_t *text = write_text(guide, t, o->tokens, &random, &f);
        unfinished += text == NULL;
        if (text)
            json_array_append_new(texts, text);
    }
    json_t *line_out =
        json_pack("{s:o, s:i, s:f, s:i, s:i, s:f, s:f, s:i, s:I}", "texts", texts, "unfinished", unfinished,
                  "compile_us", f.compile_us, "masks", f.masks, "slow", f.slow, "mask_us",
                  f.mask_us / (f.masks ? f.masks : 1), "mask_us_max", f.mask_us_max, "states", a->state_count,
                  "bytes", (json_int_t)guide_bytes(guide));
    guide_unref(guide);
    automaton_unref(a);
    return line_out;
}

static struct token_trie *open_tokens(const char *directory)
{
    struct tokenizer *t = NULL;
    struct token_trie *trie = NULL;
    struct err e;
    bench_check(tokenizer_open(&t, directory, TOKENIZER_OF_FILE, &e), &e);
    int size = tokenizer_vocab_size(t);
    int32_t end = tokenizer_find(t, "<|im_end|>");
    if (end < 0)
        end = tokenizer_find(t, "<|endoftext|>");
    double before = now_us();
    bench_check(token_bytes_trie(&trie, t, size, &end, 1, &e), &e);
    fprintf(stderr, "%d tokens, %u + %u nodes, in %.1f ms\n", size, trie->plain.node_count,
            trie->other.node_count, (now_us() - before) / 1e3);
    tokenizer_close(t);
    return trie;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"texts", 1, NULL, 't'}, {"tokens", 1, NULL, 'n'}, {"seed", 1, NULL, 's'}, {0}};
    struct options o = {.texts = 3, .tokens = 400, .seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        if (c == 't')
            o.texts = atoi(optarg);
        else if (c == 'n')
            o.tokens = atoi(optarg);
        else if (c == 's')
            o.seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (optind + 1 != argc)
        return 2;
    struct token_trie *t = open_tokens(argv[optind]);
    char *line = NULL;
    size_t size = 0;
    for (int number = 0; getline(&line, &size, stdin) > 0; number++) {
        json_t *schema = json_loads(line, JSON_DECODE_ANY, NULL);
        json_t *out = try_schema(schema, t, &o, number);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(out);
        json_decref(schema);
    }
    free(line);
    token_trie_free(t);
    return 0;
}
