/* Hugging Face tokenizer.json (BPE): text to token ids and back, equal to the `tokenizers` library.
 * Immutable after opening; any thread may use it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/tokenizer/token_list.h"

struct tokenizer;

/* Where the class that tokenizer_config.json names builds a pipeline of its own: the one of tokenizer.json
 * all the same, as transformers does up to version 4 and the `tokenizers` library always, or the class's. */
enum tokenizer_pipeline { TOKENIZER_OF_FILE, TOKENIZER_OF_CLASS };

/* Reads DIRECTORY/tokenizer.json. A component that is not supported is refused by name
 * ("tokenizer_unsupported"); a damaged file is "tokenizer_malformed". */
MUST_USE int tokenizer_open(struct tokenizer **out, const char *directory, enum tokenizer_pipeline pipeline,
                            struct err *e);
/* Does transformers 5 build other tokens for the class that DIRECTORY/tokenizer_config.json names than
 * tokenizer.json says? */
bool tokenizer_disputed(const struct tokenizer *t);
/* One more entry of "added_tokens" as tokenizer.json has them, for tokenizer_extend. */
struct tokenizer_entry {
    const char *content; /* [length] bytes of UTF-8 */
    size_t length;
    int32_t id; /* not the base's */
    bool single_word, lstrip, rstrip, normalized, special;
};
enum { TOKENIZER_CONTENT_MAX = 1024 }; /* bytes of an entry's content, 1 at least */
/* `base` with these tokens, whose contents and ids are each there once and are none of the base's. Borrows
 * `base`, which is closed later. Errors: "tokenizer_unsupported" (no telling what would match),
 * "out_of_memory". */
MUST_USE int tokenizer_extend(struct tokenizer **out, const struct tokenizer *base,
                              const struct tokenizer_entry *entries, size_t count, struct err *e);
void tokenizer_close(struct tokenizer *t);
int tokenizer_vocab_size(const struct tokenizer *t); /* highest id + 1, added tokens included */

/* Append the ids of valid UTF-8 `text` (U+0000 allowed). `add_special_tokens`: apply the post-processor's
 * template. Special tokens written in the text become themselves. Errors: "out_of_memory", "invalid_utf8",
 * "text_too_long" (over 256 MiB), "tokenizer_split_failed" (a pattern needs too much work). */
MUST_USE int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length,
                              bool add_special_tokens, struct token_list *out, struct err *e);
/* Append the text of the ids; as Hugging Face `decode(ids, skip_special_tokens)` without clean-up. Bytes that
 * are no UTF-8 become U+FFFD as there. Error: "token_out_of_range". */
MUST_USE int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count,
                              bool skip_special_tokens, struct buf *out, struct err *e);
/* Append the bytes that a token stands for by itself, which may be a part of a character; the text of the id
 * where its tokenizer knows no bytes; nothing for an id above the tokenizer's. Errors of tokenizer_decode. */
MUST_USE int tokenizer_bytes(const struct tokenizer *t, int32_t id, struct buf *out, struct err *e);
int32_t tokenizer_find(const struct tokenizer *t,
                       const char *content); /* id of a token or added token, or -1 */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
