#include "server/structured/grammars.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"
#include "core/grammar/choice.h"
#include "core/grammar/gbnf.h"
#include "core/grammar/regex.h"
#include "core/grammar/schema/json_schema.h"
#include "core/grammar/tokens/token_bytes.h"
#include "server/structured/dialogues.h"

struct kept {
    uint8_t key[SHA256_BYTES];
    struct guide *guide; /* owned reference; NULL: free */
    uint64_t used;
};

struct grammars {
    const struct tokenizer *tokenizer;
    int vocab_size;
    int32_t *ends; /* owned, [end_count] */
    size_t end_count;

    pthread_mutex_t lock; /* for what follows */
    struct token_trie *trie;
    struct kept kept[GRAMMARS_KEPT];
    uint64_t clock;
};

int grammars_new(struct grammars **out, const struct tokenizer *t, int vocab_size, const int32_t *ends,
                 size_t end_count, struct err *e)
{
    struct grammars *g = calloc(1, sizeof *g);
    int32_t *copy = malloc((end_count + 1) * sizeof *copy);
    if (!g || !copy) {
        free(g);
        free(copy);
        return err_memory(e);
    }
    if (end_count)
        memcpy(copy, ends, end_count * sizeof *copy);
    *g = (struct grammars){.tokenizer = t, .vocab_size = vocab_size, .ends = copy, .end_count = end_count};
    pthread_mutex_init(&g->lock, NULL);
    *out = g;
    return 0;
}

void grammars_free(struct grammars *g)
{
    if (!g)
        return;
    for (int i = 0; i < GRAMMARS_KEPT; i++)
        guide_unref(g->kept[i].guide);
    token_trie_free(g->trie);
    pthread_mutex_destroy(&g->lock);
    free(g->ends);
    free(g);
}

/* ---- what is kept ---- */

static struct kept *find_locked(struct grammars *g, const uint8_t *key)
{
    for (int i = 0; i < GRAMMARS_KEPT; i++)
        if (g->kept[i].guide && memcmp(g->kept[i].key, key, SHA256_BYTES) == 0)
            return &g->kept[i];
    return NULL;
}

/* A new reference, or NULL. */
static struct guide *recall(struct grammars *g, const uint8_t *key)
{
    pthread_mutex_lock(&g->lock);
    struct kept *k = find_locked(g, key);
    if (k)
        k->used = ++g->clock;
    struct guide *guide = k ? guide_ref(k->guide) : NULL;
    pthread_mutex_unlock(&g->lock);
    return guide;
}

/* Takes the place of the one that was not asked for the longest. Where another thread was faster, its guide
 * is given: texts of one grammar share what is known of it. */
static struct guide *keep(struct grammars *g, const uint8_t *key, struct guide *guide)
{
    pthread_mutex_lock(&g->lock);
    struct kept *k = find_locked(g, key);
    struct guide *gone = guide;
    if (!k) {
        k = &g->kept[0];
        for (int i = 1; i < GRAMMARS_KEPT; i++)
            if (g->kept[i].used < k->used)
                k = &g->kept[i];
        gone = k->guide;
        memcpy(k->key, key, SHA256_BYTES);
        k->guide = guide;
    }
    k->used = ++g->clock;
    struct guide *given = guide_ref(k->guide);
    pthread_mutex_unlock(&g->lock);
    guide_unref(gone);
    return given;
}

/* ---- compiling ---- */

static int write_choice(struct grammar *grammar, const json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    struct choice_text *texts = calloc(count + 1, sizeof *texts);
    if (!texts)
        return err_memory(e);
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(list, i);
        texts[i] = (struct choice_text){json_string_value(text), json_string_length(text)};
    }
    int result = choice_grammar(grammar, texts, count, e);
    free(texts);
    return result;
}

static int write_grammar(const struct grammars *g, struct grammar *grammar, enum grammars_kind kind,
                         const json_t *value, struct err *e);

static bool is_special(const void *arg, const char *mark)
{
    const struct tokenizer *t = arg;
    int32_t id = tokenizer_find(t, mark);
    return id >= 0 && tokenizer_is_special(t, id);
}

/* Around the grammar of what is no call, whose rules are found by their names and so come first. */
static int write_dialogue(const struct grammars *g, struct grammar *grammar, const json_t *value,
                          struct err *e)
{
    struct dialogues_content content;
    dialogues_content(value, &content);
    int root = grammar_rule(grammar, "", 0), inner = grammar->rule_count;
    if (content.kind != GRAMMARS_NONE &&
        write_grammar(g, grammar, (enum grammars_kind)content.kind, content.value, e) != 0)
        return -1;
    int node = content.kind == GRAMMARS_NONE ? GRAMMAR_BAD : grammar_call(grammar, inner);
    node = dialogues_write(grammar, value, node, is_special, g->tokenizer, e);
    grammar_define(grammar, root, node);
    return node == GRAMMAR_BAD ? -1 : 0;
}

static int write_grammar(const struct grammars *g, struct grammar *grammar, enum grammars_kind kind,
                         const json_t *value, struct err *e)
{
    switch (kind) {
    case GRAMMARS_DIALOGUE:
        return write_dialogue(g, grammar, value, e);
    case GRAMMARS_OBJECT:
        return json_schema_any_object(grammar, e);
    case GRAMMARS_SCHEMA:
        return json_schema_grammar(grammar, value, e);
    case GRAMMARS_GBNF:
        return gbnf_grammar(grammar, json_string_value(value), json_string_length(value), e);
    case GRAMMARS_REGEX:
        return regex_grammar(grammar, json_string_value(value), json_string_length(value), e);
    default:
        return write_choice(grammar, value, e);
    }
}

static int compile(const struct grammars *g, enum grammars_kind kind, const json_t *value,
                   struct automaton **out, struct err *e)
{
    struct grammar grammar = {0};
    int result = write_grammar(g, &grammar, kind, value, e);
    if (result == 0)
        result = automaton_compile(out, &grammar, e);
    grammar_fini(&grammar);
    return result;
}

/* The tokens' bytes, read once: other threads wait for them. */
static int read_tokens(struct grammars *g, struct err *e)
{
    pthread_mutex_lock(&g->lock);
    int result =
        g->trie ? 0 : token_bytes_trie(&g->trie, g->tokenizer, g->vocab_size, g->ends, g->end_count, e);
    pthread_mutex_unlock(&g->lock);
    return result;
}

/* Of two sources that are written alike the grammar is the same. */
static int key_of(enum grammars_kind kind, const json_t *value, uint8_t key[SHA256_BYTES], struct err *e)
{
    struct sha256 s;
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
    if (!text)
        return err_memory(e);
    sha256_init(&s);
    sha256_update(&s, &kind, sizeof kind);
    sha256_update(&s, text, strlen(text));
    sha256_final(&s, key);
    free(text);
    return 0;
}

int grammars_compile(struct grammars *g, enum grammars_kind kind, const json_t *value, struct guide **out,
                     struct err *e)
{
    uint8_t key[SHA256_BYTES];
    struct automaton *automaton;
    struct guide *guide;
    if (key_of(kind, value, key, e) != 0)
        return -1;
    if ((*out = recall(g, key)))
        return 0;
    if (compile(g, kind, value, &automaton, e) != 0)
        return -1;
    int result = read_tokens(g, e);
    if (result == 0)
        result = guide_new(&guide, automaton, g->trie, e);
    automaton_unref(automaton);
    if (result == 0)
        *out = keep(g, key, guide);
    return result;
}

/* ---- constraints ---- */

struct guided {
    struct constraint constraint; /* first: the engine's pointer is ours */
    struct guide *guide;          /* owned reference */
    struct guide_text *text;      /* owned; made by the thread that all texts of the guide belong to */
    const struct grammars *grammars;
    int32_t *ends; /* owned, [end_count]: in the place of the model's; NULL: these */
    int end_count;
    uint64_t *bits; /* owned, [vocab_size] bits: the mask with these ends; NULL: not made yet */
};

static bool bit_at(const uint64_t *bits, int32_t token)
{
    return bits[token / 64] >> (token % 64) & 1;
}

/* May the text end here? A model without end tokens never says. */
static bool may_end(const struct grammars *g, const uint64_t *bits)
{
    for (size_t i = 0; i < g->end_count; i++)
        if (bit_at(bits, g->ends[i]))
            return true;
    return false;
}

static void count_bits(struct constraint_mask *m, size_t words)
{
    m->count = 0;
    for (size_t i = words; i-- > 0;) {
        m->count += __builtin_popcountll(m->bits[i]);
        if (m->bits[i])
            m->first = (int32_t)(i * 64) + __builtin_ctzll(m->bits[i]);
    }
}

/* The same mask with the ends of this text instead of the model's. */
static int put_ends(struct guided *d, struct constraint_mask *m, struct err *e)
{
    const struct grammars *g = d->grammars;
    size_t words = ((size_t)g->vocab_size + 63) / 64;
    if (!d->ends || m->ends_only || !may_end(g, m->bits))
        return 0;
    if (!d->bits && !(d->bits = malloc(words * sizeof *d->bits)))
        return err_memory(e);
    memcpy(d->bits, m->bits, words * sizeof *d->bits);
    for (size_t i = 0; i < g->end_count; i++)
        d->bits[g->ends[i] / 64] &= ~(UINT64_C(1) << (g->ends[i] % 64));
    for (int i = 0; i < d->end_count; i++)
        d->bits[d->ends[i] / 64] |= UINT64_C(1) << (d->ends[i] % 64);
    m->bits = d->bits;
    count_bits(m, words);
    return 0;
}

static int guided_text(struct guided *d, struct err *e)
{
    return d->text ? 0 : guide_text_new(&d->text, d->guide, e);
}

static int guided_mask(struct constraint *c, struct constraint_mask *out, struct err *e)
{
    struct guided *d = (struct guided *)c;
    struct guide_mask mask;
    if (guided_text(d, e) != 0 || guide_text_mask(d->text, &mask, e) != 0)
        return -1;
    *out = (struct constraint_mask){mask.bits, mask.count, mask.first, mask.ends_only};
    return put_ends(d, out, e);
}

static int guided_accept(struct constraint *c, int32_t token, struct err *e)
{
    struct guided *d = (struct guided *)c;
    return guided_text(d, e) == 0 ? guide_text_accept(d->text, token, e) : -1;
}

static void guided_free(struct constraint *c)
{
    struct guided *d = (struct guided *)c;
    guide_text_free(d->text);
    guide_unref(d->guide);
    free(d->ends);
    free(d->bits);
    free(d);
}

static const struct constraint functions;

/* Without a text. */
static struct guided *guided_new(const struct grammars *g, struct guide *guide,
                                 const struct grammars_ends *ends)
{
    struct guided *d = calloc(1, sizeof *d);
    size_t bytes = (size_t)ends->count * sizeof *ends->tokens;
    if (d && ends->tokens && (d->ends = malloc(bytes + 1)))
        memcpy(d->ends, ends->tokens, bytes);
    if (!d || (ends->tokens && !d->ends)) {
        free(d);
        return NULL;
    }
    d->constraint = functions;
    d->guide = guide_ref(guide);
    d->grammars = g;
    d->end_count = ends->count;
    return d;
}

static struct constraint *guided_copy(const struct constraint *c)
{
    const struct guided *from = (const struct guided *)c;
    struct guided *d =
        guided_new(from->grammars, from->guide, &(struct grammars_ends){from->ends, from->end_count});
    struct err ignored;
    if (!d || !from->text || guide_text_copy(&d->text, from->text, &ignored) == 0)
        return d ? &d->constraint : NULL;
    guided_free(&d->constraint);
    return NULL;
}

static const struct constraint functions = {guided_mask, guided_accept, guided_copy, guided_free};

int grammars_constrain(const struct grammars *g, struct guide *guide, const struct grammars_ends *ends,
                       struct constraint **out, struct err *e)
{
    struct guided *d = guided_new(g, guide, ends);
    if (!d)
        return err_memory(e);
    *out = &d->constraint;
    return 0;
}
