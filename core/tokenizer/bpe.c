#include "core/tokenizer/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

enum { NONE = -1 };

struct bpe_symbol {
    int32_t id;         /* NONE: merged into the one before */
    int32_t prev, next; /* indexes, NONE at the ends */
};
struct bpe_candidate {
    uint32_t rank;
    int32_t position; /* of the left symbol */
    int32_t id;       /* what the two would become */
};

struct word { /* a word being put together */
    struct bpe_symbol *symbols;
    int32_t count;
    int32_t pending_unk; /* an unknown token not yet put down, NONE otherwise */
};

void bpe_index(struct bpe *b)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        int length = snprintf(name, sizeof name, "<0x%02X>", byte);
        b->byte_ids[byte] = vocab_find(&b->vocab, name, (size_t)length);
    }
    for (uint32_t code = 0; code < BPE_DIRECT; code++) {
        char text[4];
        b->direct[code] = vocab_find(&b->vocab, text, utf8_encode(code, text));
    }
}

void bpe_fini(struct bpe *b)
{
    vocab_fini(&b->vocab);
    merges_fini(&b->merges);
}

void bpe_work_fini(struct bpe_work *w)
{
    free(w->symbols);
    free(w->candidates);
    *w = (struct bpe_work){0};
}

/* A word of n bytes has at most n symbols. */
static int reserve_symbols(struct bpe_work *w, size_t count, struct err *e)
{
    if (count <= w->symbol_capacity)
        return 0;
    struct bpe_symbol *symbols = realloc(w->symbols, count * sizeof *symbols);
    if (!symbols)
        return err_memory(e);
    w->symbols = symbols;
    w->symbol_capacity = count;
    return 0;
}

/* Of n symbols at most n - 1 pairs wait at first, and each of at most n - 1 merges takes one and adds up to
 * two. */
static int reserve_candidates(struct bpe_work *w, size_t symbols, struct err *e)
{
    if (symbols * 2 <= w->candidate_capacity)
        return 0;
    struct bpe_candidate *candidates = realloc(w->candidates, symbols * 2 * sizeof *candidates);
    if (!candidates)
        return err_memory(e);
    w->candidates = candidates;
    w->candidate_capacity = symbols * 2;
    return 0;
}

static void add_symbol(struct word *w, int32_t id)
{
    w->symbols[w->count] = (struct bpe_symbol){id, w->count - 1, w->count + 1};
    w->count++;
}

static void add_pending_unk(struct word *w)
{
    if (w->pending_unk != NONE)
        add_symbol(w, w->pending_unk);
    w->pending_unk = NONE;
}

static bool add_bytes(const struct bpe *b, struct word *w, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (b->byte_ids[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < size; i++)
        add_symbol(w, b->byte_ids[(unsigned char)text[i]]);
    return true;
}

/* A character that is no token. A pending unknown token stays pending while bytes are put down: it then comes
 * behind them, as in the reference. */
static int add_unknown(const struct bpe *b, struct word *w, const char *text, size_t size, struct err *e)
{
    if (b->byte_fallback && add_bytes(b, w, text, size))
        return 0;
    if (!b->has_unk)
        return 0;
    if (b->unk_id < 0)
        return err_set(e, "tokenizer_malformed",
                       "the text needs the unk_token, which is not in the vocabulary");
    if (!b->fuse_unk)
        add_pending_unk(w);
    w->pending_unk = b->unk_id;
    return 0;
}

static int split_characters(const struct bpe *b, struct word *w, const char *text, size_t length,
                            struct err *e)
{
    for (size_t at = 0, size; at < length; at += size) {
        uint32_t code = utf8_decode(text + at, &size);
        int32_t id = code < BPE_DIRECT ? b->direct[code] : vocab_find(&b->vocab, text + at, size);
        if (id >= 0) {
            add_pending_unk(w);
            add_symbol(w, id);
        } else if (add_unknown(b, w, text + at, size, e) != 0) {
            return -1;
        }
    }
    add_pending_unk(w);
    if (w->count > 0)
        w->symbols[w->count - 1].next = NONE;
    return 0;
}

static bool comes_before(const struct bpe_candidate *a, const struct bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(struct bpe_candidate *heap, size_t *count, struct bpe_candidate item)
{
    size_t at = (*count)++;
    while (at > 0 && comes_before(&item, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

static struct bpe_candidate heap_pop(struct bpe_candidate *heap, size_t *count)
{
    struct bpe_candidate top = heap[0], item = heap[--*count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < *count; at = child) {
        if (child + 1 < *count && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &item))
            break;
        heap[at] = heap[child];
    }
    heap[at] = item;
    return top;
}

static void push_pair(const struct bpe *b, struct bpe_work *w, size_t *count, int32_t left)
{
    int32_t right = left == NONE ? NONE : w->symbols[left].next;
    if (right == NONE)
        return;
    const struct merge *merge = merges_find(&b->merges, w->symbols[left].id, w->symbols[right].id);
    if (merge)
        heap_push(w->candidates, count, (struct bpe_candidate){merge->rank, left, merge->id});
}

/* A candidate is stale when its symbols changed. As in the reference, what counts is whether the two symbols
 * that stand there now still make the same token. */
static bool stale(const struct bpe *b, const struct bpe_work *w, const struct bpe_candidate *c)
{
    const struct bpe_symbol *left = &w->symbols[c->position];
    if (left->id == NONE || left->next == NONE)
        return true;
    const struct merge *merge = merges_find(&b->merges, left->id, w->symbols[left->next].id);
    return !merge || merge->id != c->id;
}

static void merge_all(const struct bpe *b, struct bpe_work *w, int32_t symbol_count)
{
    size_t count = 0;
    for (int32_t i = 0; i < symbol_count; i++)
        push_pair(b, w, &count, i);
    while (count > 0) {
        struct bpe_candidate top = heap_pop(w->candidates, &count);
        if (stale(b, w, &top))
            continue;
        struct bpe_symbol *left = &w->symbols[top.position], *right = &w->symbols[left->next];
        left->id = top.id;
        right->id = NONE;
        left->next = right->next;
        if (left->next != NONE)
            w->symbols[left->next].prev = top.position;
        push_pair(b, w, &count, left->prev);
        push_pair(b, w, &count, top.position);
    }
}

int bpe_encode(const struct bpe *b, struct bpe_work *w, const char *word, size_t length,
               struct token_list *out, struct err *e)
{
    if (length == 0)
        return 0;
    int32_t whole = b->ignore_merges ? vocab_find(&b->vocab, word, length) : NONE;
    if (whole >= 0)
        return token_list_push(out, whole) == 0 ? 0 : err_memory(e);
    if (reserve_symbols(w, length, e) != 0)
        return -1;
    struct word symbols = {.symbols = w->symbols, .pending_unk = NONE};
    if (split_characters(b, &symbols, word, length, e) != 0 ||
        reserve_candidates(w, (size_t)symbols.count, e) != 0)
        return -1;
    merge_all(b, w, symbols.count);
    for (int32_t i = symbols.count ? 0 : NONE; i != NONE; i = w->symbols[i].next)
        if (token_list_push(out, w->symbols[i].id) != 0)
            return err_memory(e);
    return 0;
}
