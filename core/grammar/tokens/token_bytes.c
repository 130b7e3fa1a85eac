#include "core/grammar/tokens/token_bytes.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

struct reading {
    const struct tokenizer *tokenizer;
    struct buf bytes; /* of all tokens */
    struct buf alone, twice;
    bool space_dropped; /* some token has a space in front but at the beginning of a text */
    struct err *e;
};

/* What the token adds behind another: behind itself, since at the beginning a decoder may leave a space out.
 * Bytes that are a part of a character show in no text, but are the same everywhere. */
static int add_text(struct reading *r, int32_t id)
{
    int32_t pair[2] = {id, id};
    buf_clear(&r->alone);
    buf_clear(&r->twice);
    if (tokenizer_bytes(r->tokenizer, id, &r->alone, r->e) != 0)
        return -1;
    const char *text = r->alone.data ? r->alone.data : "";
    size_t length = r->alone.length;
    if (utf8_valid(text, length)) {
        if (tokenizer_decode(r->tokenizer, pair, 2, false, &r->twice, r->e) != 0)
            return -1;
        if (r->twice.length > length && memcmp(r->twice.data, text, length) == 0) {
            text = r->twice.data + length;
            length = r->twice.length - length;
        }
    }
    r->space_dropped |= length == r->alone.length + 1 && text[0] == ' ';
    return buf_append(&r->bytes, text, length) == 0 ? 0 : err_memory(r->e);
}

static int add_special(struct reading *r, int32_t id)
{
    if (buf_append(&r->bytes, &(char){(char)TOKEN_SPECIAL_BYTE}, 1) != 0)
        return err_memory(r->e);
    return tokenizer_decode(r->tokenizer, &id, 1, false, &r->bytes, r->e);
}

static int read_tokens(struct reading *r, size_t *lengths, int vocab_size)
{
    int known = tokenizer_vocab_size(r->tokenizer);
    for (int32_t id = 0; id < vocab_size && id < known; id++) {
        size_t before = r->bytes.length;
        if ((tokenizer_is_special(r->tokenizer, id) ? add_special(r, id) : add_text(r, id)) != 0)
            return -1;
        lengths[id] = r->bytes.length - before;
    }
    return 0;
}

static int make_trie(struct token_trie **out, const struct reading *r, const size_t *lengths, int vocab_size,
                     const int32_t *ends, size_t end_count)
{
    struct token_text *tokens = calloc((size_t)vocab_size + 1, sizeof *tokens);
    if (!tokens)
        return err_memory(r->e);
    size_t at = 0;
    for (int i = 0; i < vocab_size; at += lengths[i++])
        tokens[i] = (struct token_text){.bytes = r->bytes.data + at, .length = lengths[i]};
    int result = token_trie_new(out, tokens, vocab_size, ends, end_count, r->e);
    free(tokens);
    if (result == 0)
        (*out)->first_space_dropped = r->space_dropped;
    return result;
}

int token_bytes_trie(struct token_trie **out, const struct tokenizer *t, int vocab_size, const int32_t *ends,
                     size_t end_count, struct err *e)
{
    struct reading r = {.tokenizer = t, .e = e};
    size_t *lengths = calloc((size_t)vocab_size + 1, sizeof *lengths);
    int result = !lengths ? err_memory(e)
                 : read_tokens(&r, lengths, vocab_size) != 0
                     ? -1
                     : make_trie(out, &r, lengths, vocab_size, ends, end_count);
    free(lengths);
    buf_fini(&r.bytes);
    buf_fini(&r.alone);
    buf_fini(&r.twice);
    return result;
}
