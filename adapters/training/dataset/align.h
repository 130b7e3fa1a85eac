/* Which token of a text holds a given byte of it. A tokenizer says what a text's tokens are, not where they
 * stand: here both are laid side by side. Stateless; any thread. */
#pragma once
#include "core/tokenizer/tokenizer.h"

struct align_mark {
    size_t byte;  /* of the text: where a character begins */
    size_t token; /* result: index of the token that holds it */
};

/* `tokens` are those of the whole text, without any around it. Marks ascend, each within the text. Errors:
 * those of tokenizer_encode. */
MUST_USE int align_tokens(const struct tokenizer *t, const char *text, size_t length,
                          const struct token_list *tokens, struct align_mark *marks, size_t count,
                          struct err *e);
