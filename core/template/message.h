/* A message as clients send it, made into what chat templates read: the names and types that transformers'
 * apply_chat_template hands them. Changes the object in place; refuses nothing: whoever takes messages from
 * outside does that, in words of its own. Stateless; any thread with 1 MiB of stack. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"

bool message_is_assistants(const json_t *message);
/* Is it a role that templates know? The one that OpenAI calls "developer" gets its older name, "system".
 * Error: "out_of_memory". */
MUST_USE int message_know_role(json_t *message, bool *known, struct err *e);
/* A content that came in parts becomes one text, nothing between them. `append` checks a part and appends its
 * words; its error is this function's. */
typedef int message_part_function(json_t *part, struct buf *text, struct err *e);
MUST_USE int message_join_parts(json_t *message, message_part_function *append, struct err *e);
/* What is null is as good as absent: templates would write it as a word. */
void message_drop_nulls(json_t *message);
/* Of an object whose calls, if there are any, are objects: arguments of calls become objects where they are
 * texts of such; reasoning gets the names by which templates know it; an assistant's message with neither
 * words nor calls is empty. */
MUST_USE int message_prepare(json_t *message, struct err *e);
