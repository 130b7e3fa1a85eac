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

static int write_grammar(struct grammar *grammar, enum grammars_kind kind, const json_t *value, struct err *e)
{
    switch (kind) {
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

static int compile(enum grammars_kind kind, const json_t *value, struct automaton **out, struct err *e)
{
    struct grammar grammar = {0};
    int result = write_grammar(&grammar, kind, value, e);
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
    if (compile(kind, value, &automaton, e) != 0)
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
};

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
    return 0;
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
    free(d);
}

static struct constraint *guided_copy(const struct constraint *c)
{
    const struct guided *from = (const struct guided *)c;
    struct guided *d = malloc(sizeof *d);
    struct err ignored;
    if (!d)
        return NULL;
    *d = (struct guided){.constraint = from->constraint, .guide = guide_ref(from->guide)};
    if (!from->text || guide_text_copy(&d->text, from->text, &ignored) == 0)
        return &d->constraint;
    guided_free(&d->constraint);
    return NULL;
}

int grammars_constrain(struct guide *guide, struct constraint **out, struct err *e)
{
    static const struct constraint functions = {guided_mask, guided_accept, guided_copy, guided_free};
    struct guided *d = malloc(sizeof *d);
    if (!d)
        return err_memory(e);
    *d = (struct guided){.constraint = functions, .guide = guide_ref(guide)};
    *out = &d->constraint;
    return 0;
}
