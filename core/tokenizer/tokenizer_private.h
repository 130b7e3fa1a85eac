/* The inside of struct tokenizer, for the files that load, encode and decode. */
#pragma once
#include "core/tokenizer/added.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/decoder.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/pretokenizer.h"
#include "core/tokenizer/token_list.h"

struct tokenizer_id { /* what an id is beside its string in the vocabulary */
    int32_t added;    /* index of its added token, -1: none */
    bool special;     /* that token has the flag */
    bool skipped;     /* decoding with skip_special_tokens leaves it out */
};

struct tokenizer {
    struct bpe bpe;
    struct added added;
    struct normalizer normalizer;
    struct pretokenizer pretokenizer;
    struct decoder decoder;
    struct token_list prefix, suffix; /* the post-processor's template around the text */
    struct tokenizer_id *ids;         /* owned, [shared] */
    struct tokenizer_id *more; /* owned, [size - shared]: of tokens that were added to another tokenizer */
    size_t shared, size;       /* size: highest id + 1 */
    bool borrows;              /* all but added and more are another one's */
    bool disputed;             /* see tokenizer_disputed */
};

/* Of an id below the size. */
static inline const struct tokenizer_id *tokenizer_id_at(const struct tokenizer *t, int32_t id)
{
    return (size_t)id < t->shared ? &t->ids[id] : &t->more[(size_t)id - t->shared];
}

/* The string an id decodes to; NULL where there is none. */
static inline const char *tokenizer_string(const struct tokenizer *t, int32_t id, size_t *length)
{
    if (id < 0 || (size_t)id >= t->size)
        return NULL;
    int32_t added = tokenizer_id_at(t, id)->added;
    if (added >= 0)
        return added_pattern(&t->added.tokens[added], length);
    return vocab_string(&t->bpe.vocab, id, length);
}
