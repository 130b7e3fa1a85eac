/* A tokenizer with a few tokens more than another one, whose vocabulary it shares. */
#include <stdlib.h>
#include <string.h>

#include "core/tokenizer/load/component.h"
#include "core/tokenizer/load/tokenizer_parts.h"
#include "core/tokenizer/tokenizer.h"

_Static_assert((int)TOKENIZER_CONTENT_MAX == (int)ADDED_LENGTH_MAX, "what is accepted can be kept");

static int copy_text(char **out, const char *text, size_t length, struct err *e)
{
    *out = text ? component_copy(text, length) : NULL;
    return *out || !text ? 0 : err_memory(e);
}

/* On failure what was made is freed with the tokenizer. */
static int copy_token(struct added *a, const struct added_token *from, struct err *e)
{
    struct added_token *to = &a->tokens[a->count++];
    *to = *from;
    to->content = to->normalized_content = NULL;
    if (copy_text(&to->content, from->content, from->content_length, e) != 0)
        return -1;
    return copy_text(&to->normalized_content, from->normalized_content, from->normalized_length, e);
}

static int add_entry(struct tokenizer *t, const struct tokenizer_entry *n, struct err *e)
{
    const struct added_token token = {.content = (char *)n->content,
                                      .content_length = n->length,
                                      .id = n->id,
                                      .single_word = n->single_word,
                                      .lstrip = n->lstrip,
                                      .rstrip = n->rstrip,
                                      .normalized = n->normalized,
                                      .special = n->special};
    if (copy_token(&t->added, &token, e) != 0)
        return -1;
    if ((size_t)n->id >= t->size)
        t->size = (size_t)n->id + 1;
    return n->normalized ? tokenizer_normalize_added(&t->normalizer, &t->added.tokens[t->added.count - 1], e)
                         : 0;
}

static int index_more(struct tokenizer *t, size_t first, struct err *e)
{
    t->more = calloc(t->size - t->shared + 1, sizeof *t->more);
    if (!t->more)
        return err_memory(e);
    for (size_t i = t->shared; i < t->size; i++)
        t->more[i - t->shared].added = -1;
    for (size_t i = first; i < t->added.count; i++) {
        const struct added_token *token = &t->added.tokens[i];
        t->more[(size_t)token->id - t->shared] =
            (struct tokenizer_id){(int32_t)i, token->special, token->special && !token->normalized_content};
    }
    return 0;
}

static int fill(struct tokenizer *t, const struct tokenizer *base, const struct tokenizer_entry *entries,
                size_t count, struct err *e)
{
    t->added.capacity = base->added.count + count;
    t->added.tokens = calloc(t->added.capacity + 1, sizeof *t->added.tokens);
    if (!t->added.tokens)
        return err_memory(e);
    for (size_t i = 0; i < base->added.count; i++)
        if (copy_token(&t->added, &base->added.tokens[i], e) != 0)
            return -1;
    for (size_t i = 0; i < count; i++)
        if (add_entry(t, &entries[i], e) != 0)
            return -1;
    return added_index(&t->added, e) != 0 ? -1 : index_more(t, base->added.count, e);
}

int tokenizer_extend(struct tokenizer **out, const struct tokenizer *base,
                     const struct tokenizer_entry *entries, size_t count, struct err *e)
{
    struct tokenizer *t = malloc(sizeof *t);
    if (!t)
        return err_memory(e);
    *t = *base;
    t->borrows = true;
    t->more = NULL;
    t->added = (struct added){0};
    if (fill(t, base, entries, count, e) != 0) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}
