/* A conversation as tokens, and which of them the assistant is to learn. Stateless; any thread with 1 MiB of
 * stack. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "adapters/training/dataset/encoding.h"

/* Messages as messages.h leaves them; `tools` may be NULL. Takes "weight" out of them. What is learnt of each
 * turn begins with its first token and ends with the token that ends it. Where the template marks the
 * assistant's words itself ({% generation %}), those; otherwise what rendering up to each turn adds. Where a
 * template writes a turn otherwise once more follow, only the last turn is learnt, *last_only says so. */
MUST_USE int conversation_encode(const struct encode_options *o, json_t *messages, const json_t *tools,
                                 struct encoded_sequence *out, bool *last_only, struct err *e);
