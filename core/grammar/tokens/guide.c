#include "core/grammar/tokens/guide.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/grammar/automaton/states.h"
#include "core/grammar/tokens/token_mask.h"

struct mask {
    int32_t count, first;
    bool ends_only;
    uint64_t bits[];
};

/* What is known until memory is at its limit. A text that has not gone on since then still has the one
 * before. */
struct known {
    struct states *states;
    struct mask **masks; /* [capacity] of the states; NULL: not worked out yet */
    int32_t capacity;
    size_t bytes; /* of the masks */
    int32_t start;
    struct mask *first; /* of the text's first token, where it differs from the start's */
    int references;     /* texts, and the guide */
};

struct guide {
    struct automaton *automaton;
    const struct token_trie *tokens;
    struct known *known;
    atomic_int references;
};

struct guide_text {
    struct guide *guide;
    struct known *known; /* NULL: not used yet, and so no other thread's */
    int32_t state;
    bool begun, ended;
};

/* ---- what is known ---- */

static void known_unref(struct known *k)
{
    if (!k || --k->references > 0)
        return;
    for (int32_t i = 0; i < k->capacity; i++)
        free(k->masks[i]);
    free(k->masks);
    free(k->first);
    states_free(k->states);
    free(k);
}

static int known_new(struct known **out, const struct automaton *a, struct err *e)
{
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return err_memory(e);
    k->references = 1;
    if (states_new(&k->states, a, e) != 0 || (k->start = states_start(k->states)) == STATES_NONE) {
        known_unref(k);
        return err_memory(e);
    }
    *out = k;
    return 0;
}

static size_t known_bytes(const struct known *k)
{
    return k->bytes + k->states->bytes + (size_t)k->capacity * sizeof *k->masks;
}

static int reserve_masks(struct known *k, struct err *e)
{
    int32_t wanted = k->states->count;
    if (wanted <= k->capacity)
        return 0;
    struct mask **masks = reallocarray(k->masks, 2 * (size_t)wanted, sizeof *masks);
    if (!masks)
        return err_memory(e);
    memset(masks + k->capacity, 0, (size_t)(2 * wanted - k->capacity) * sizeof *masks);
    k->masks = masks;
    k->capacity = 2 * wanted;
    return 0;
}

/* ---- masks ---- */

static void count_bits(struct mask *m, const struct token_trie *t)
{
    bool others = false;
    m->first = -1;
    for (size_t i = 0; i < t->words; i++) {
        if (m->bits[i] && m->first < 0)
            m->first = (int32_t)(i * 64) + __builtin_ctzll(m->bits[i]);
        m->count += __builtin_popcountll(m->bits[i]);
        others |= (m->bits[i] & ~t->ends[i]) != 0;
    }
    m->ends_only = !others;
}

static int make_mask(struct guide_text *t, bool at_start, struct mask **out, struct err *e)
{
    const struct token_trie *tokens = t->guide->tokens;
    size_t size = sizeof(struct mask) + tokens->words * sizeof(uint64_t);
    struct mask *m = malloc(size);
    if (!m)
        return err_memory(e);
    *m = (struct mask){0};
    if (token_mask_fill(t->known->states, tokens, t->state, at_start, m->bits) != 0) {
        free(m);
        return err_memory(e);
    }
    count_bits(m, tokens);
    t->known->bytes += size;
    *out = m;
    return 0;
}

/* Go over to what the guide knows now, which is begun anew when it has become too much. */
static int keep_up(struct guide_text *t, struct err *e)
{
    struct guide *g = t->guide;
    if (known_bytes(g->known) > GUIDE_BYTES_MAX) {
        struct known *anew;
        if (known_new(&anew, g->automaton, e) != 0)
            return -1;
        known_unref(g->known);
        g->known = anew;
    }
    if (t->known == g->known)
        return 0;
    int32_t state = t->known ? states_move(g->known->states, t->known->states, t->state) : g->known->start;
    if (state == STATES_NONE)
        return err_memory(e);
    known_unref(t->known);
    t->known = g->known;
    t->known->references++;
    t->state = state;
    return 0;
}

int guide_text_mask(struct guide_text *t, struct guide_mask *out, struct err *e)
{
    if (keep_up(t, e) != 0 || reserve_masks(t->known, e) != 0)
        return -1;
    bool at_start = !t->begun && t->guide->tokens->first_space_dropped;
    struct mask **m = at_start ? &t->known->first : &t->known->masks[t->state];
    if (!*m && make_mask(t, at_start, m, e) != 0)
        return -1;
    if ((*m)->count == 0)
        return err_set(e, "grammar_stuck",
                       "no token of the vocabulary goes on with the text that the grammar asks for");
    *out = (struct guide_mask){
        .bits = (*m)->bits, .count = (*m)->count, .first = (*m)->first, .ends_only = (*m)->ends_only};
    return 0;
}

/* ---- texts ---- */

static int accept_end(struct guide_text *t, struct err *e)
{
    if (!t->known->states->sets[t->state].accepts)
        return err_set(e, "token_not_allowed", "the text may not end here");
    t->ended = true;
    return 0;
}

int guide_text_accept(struct guide_text *t, int32_t token, struct err *e)
{
    const struct token_trie *tokens = t->guide->tokens;
    if (token < 0 || token >= tokens->vocab_size || t->ended)
        return err_set(e, "token_not_allowed", "token %d does not go on with the text", token);
    if (keep_up(t, e) != 0)
        return -1;
    if (tokens->ends[token / 64] >> (token % 64) & 1)
        return accept_end(t, e);
    const char *bytes;
    size_t length = token_trie_bytes(tokens, token, &bytes);
    size_t at = !t->begun && tokens->first_space_dropped && length > 0 && bytes[0] == ' ';
    int32_t state = at < length ? t->state : STATES_DEAD;
    for (; at < length && state > STATES_DEAD; at++)
        state = states_next(t->known->states, state, (uint8_t)bytes[at]);
    if (state == STATES_NONE)
        return err_memory(e);
    if (state == STATES_DEAD)
        return err_set(e, "token_not_allowed", "token %d does not go on with the text", token);
    t->state = state;
    t->begun = true;
    return 0;
}

bool guide_text_ended(const struct guide_text *t)
{
    return t->ended;
}

int guide_text_new(struct guide_text **out, struct guide *g, struct err *e)
{
    struct guide_text *t = calloc(1, sizeof *t);
    if (!t)
        return err_memory(e);
    t->guide = guide_ref(g);
    *out = t;
    return 0;
}

int guide_text_copy(struct guide_text **out, const struct guide_text *from, struct err *e)
{
    struct guide_text *t = malloc(sizeof *t);
    if (!t)
        return err_memory(e);
    *t = *from;
    guide_ref(t->guide);
    if (t->known)
        t->known->references++;
    *out = t;
    return 0;
}

void guide_text_free(struct guide_text *t)
{
    if (!t)
        return;
    known_unref(t->known);
    guide_unref(t->guide);
    free(t);
}

/* ---- guides ---- */

int guide_new(struct guide **out, struct automaton *a, const struct token_trie *tokens, struct err *e)
{
    struct guide *g = calloc(1, sizeof *g);
    if (!g)
        return err_memory(e);
    g->automaton = automaton_ref(a);
    g->tokens = tokens;
    atomic_init(&g->references, 1);
    if (known_new(&g->known, a, e) != 0) {
        guide_unref(g);
        return -1;
    }
    *out = g;
    return 0;
}

struct guide *guide_ref(struct guide *g)
{
    atomic_fetch_add(&g->references, 1);
    return g;
}

void guide_unref(struct guide *g)
{
    if (!g || atomic_fetch_sub(&g->references, 1) > 1)
        return;
    known_unref(g->known);
    automaton_unref(g->automaton);
    free(g);
}

size_t guide_bytes(const struct guide *g)
{
    return sizeof *g + known_bytes(g->known);
}
