#include "core/tokenizer/tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/detokenizer.h"
#include "core/tokenizer/tokenizer_private.h"

static void fini_own(struct tokenizer *t)
{
    bpe_fini(&t->bpe);
    normalizer_fini(&t->normalizer);
    pretokenizer_fini(&t->pretokenizer);
    decoder_fini(&t->decoder);
    token_list_fini(&t->prefix);
    token_list_fini(&t->suffix);
    free(t->ids);
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    added_fini(&t->added);
    free(t->more);
    if (!t->borrows)
        fini_own(t);
    free(t);
}

int tokenizer_vocab_size(const struct tokenizer *t)
{
    return (int)t->size;
}

bool tokenizer_disputed(const struct tokenizer *t)
{
    return t->disputed;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size && tokenizer_id_at(t, id)->special;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *content)
{
    size_t length = strlen(content);
    for (size_t i = 0; i < t->added.count; i++)
        if (t->added.tokens[i].content_length == length &&
            memcmp(t->added.tokens[i].content, content, length) == 0)
            return t->added.tokens[i].id;
    return vocab_find(&t->bpe.vocab, content, length);
}

/* ---- encoding ---- */

struct encoder { /* one call of tokenizer_encode */
    const struct tokenizer *tokenizer;
    struct token_list *out;
    struct err *e;
    struct pattern_work *pattern_work;
    struct bpe_work bpe_work;
    struct pretokenizer_run run;
    struct buf buffers[2]; /* normalized text */
    struct piece piece;    /* the one that is being cut at its added tokens */
};

static int encode_word(void *arg, const char *text, size_t length, struct err *e)
{
    struct encoder *x = arg;
    return bpe_encode(&x->tokenizer->bpe, &x->bpe_work, text, length, x->out, e);
}

static int push_token(struct encoder *x, int32_t id)
{
    return token_list_push(x->out, id) == 0 ? 0 : err_memory(x->e);
}

/* A stretch of normalized text, or an added token found in it. */
static int take_normalized(void *arg, size_t from, size_t to, int32_t id)
{
    struct encoder *x = arg;
    return id >= 0 ? push_token(x, id) : pretokenizer_feed(&x->run, piece_slice(x->piece, from, to));
}

/* A stretch of the text as it came, or an added token found in it. */
static int take_raw(void *arg, size_t from, size_t to, int32_t id)
{
    struct encoder *x = arg;
    if (id >= 0)
        return push_token(x, id);
    const struct tokenizer *t = x->tokenizer;
    struct piece whole = x->piece;
    x->piece = piece_slice(whole, from, to);
    int result = normalizer_apply(&t->normalizer, x->pattern_work, x->buffers, &x->piece, x->e);
    if (result == 0)
        result =
            added_split(&t->added, &t->added.normalized, x->piece.text, x->piece.length, take_normalized, x);
    x->piece = whole;
    return result;
}

static int encode_text(struct encoder *x, const char *text, size_t length)
{
    const struct tokenizer *t = x->tokenizer;
    if (pattern_work_new(&x->pattern_work, x->e) != 0)
        return -1;
    x->run = (struct pretokenizer_run){
        .pretokenizer = &t->pretokenizer, .work = x->pattern_work, .word = encode_word, .arg = x, .e = x->e};
    x->piece = (struct piece){text, length, true, length ? utf8_size(text[0]) : 0};
    int result = added_split(&t->added, &t->added.raw, text, length, take_raw, x);
    pretokenizer_run_fini(&x->run);
    pattern_work_free(x->pattern_work);
    bpe_work_fini(&x->bpe_work);
    buf_fini(&x->buffers[0]);
    buf_fini(&x->buffers[1]);
    return result;
}

static int push_all(struct encoder *x, const struct token_list *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (push_token(x, tokens->ids[i]) != 0)
            return -1;
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length, bool add_special_tokens,
                     struct token_list *out, struct err *e)
{
    if (length > PIECE_BYTES_MAX)
        return err_set(e, "text_too_long", "the text has %zu bytes, at most %d are taken", length,
                       PIECE_BYTES_MAX);
    if (!utf8_valid(text, length))
        return err_set(e, "invalid_utf8", "the text is not valid UTF-8");
    struct encoder x = {.tokenizer = t, .out = out, .e = e};
    size_t before = out->count;
    if ((add_special_tokens && push_all(&x, &t->prefix) != 0) || encode_text(&x, text, length) != 0 ||
        (add_special_tokens && push_all(&x, &t->suffix) != 0)) {
        out->count = before;
        return -1;
    }
    return 0;
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special_tokens,
                     struct buf *out, struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= t->size)
            return err_set(e, "token_out_of_range", "token %zu is %d, expected 0 to %zu", i, ids[i],
                           t->size - 1);
    struct detokenizer d;
    detokenizer_init(&d, t, skip_special_tokens);
    size_t before = out->length;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = detokenizer_push(&d, ids[i], out, e);
    if (result == 0)
        result = detokenizer_finish(&d, out, e);
    detokenizer_fini(&d);
    if (result != 0 && out->data) {
        out->length = before;
        out->data[before] = '\0';
    }
    return result;
}

int tokenizer_bytes(const struct tokenizer *t, int32_t id, struct buf *out, struct err *e)
{
    size_t length;
    const char *text = tokenizer_string(t, id, &length);
    if (!text && id >= 0)
        return 0;
    int known = text ? detokenizer_bytes(t, text, length, out) : 0;
    return known > 0 ? 0 : known < 0 ? err_memory(e) : tokenizer_decode(t, &id, 1, false, out, e);
}
