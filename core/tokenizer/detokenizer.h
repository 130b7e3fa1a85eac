/* Token ids to text, step by step. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct tokenizer;

/* Incremental decoding: pushes append whole UTF-8 characters only; all pushes and the finish together append
 * exactly what tokenizer_decode gives for all ids. Each push takes time bounded by the token's own length,
 * but for the one that ends a run of byte tokens (<0xNN>): one bad byte turns the whole run into U+FFFD, so
 * it shows when it is over. An id without a string appends nothing. One thread. */
struct detokenizer {
    const struct tokenizer *tokenizer;
    bool skip_special_tokens;
    bool started;       /* something was decoded already (leading-space rules) */
    struct buf pending; /* bytes that are not yet a whole character */
    size_t stripped;    /* characters that Strip took off the front */
    size_t held;        /* characters at the end that Strip may have to take off */
};
void detokenizer_init(struct detokenizer *d, const struct tokenizer *t, bool skip_special_tokens);
MUST_USE int detokenizer_push(struct detokenizer *d, int32_t id, struct buf *out, struct err *e);
MUST_USE int detokenizer_finish(struct detokenizer *d, struct buf *out, struct err *e);
void detokenizer_fini(struct detokenizer *d);

/* Append the bytes that a token of this string stands for by itself: 1; 0: its decoder knows none; -1: out of
 * memory. */
MUST_USE int detokenizer_bytes(const struct tokenizer *t, const char *text, size_t length, struct buf *out);
