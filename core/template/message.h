/* A message as clients send it, made into what chat templates read: the names and types that transformers'
 * apply_chat_template hands them. Changes the object in place; checks nothing: whoever takes messages from
 * outside does that before. Stateless; any thread with 1 MiB of stack. */
#pragma once
#include <jansson.h>

#include "core/base/err.h"

/* What is null is as good as absent: templates would write it as a word. */
void message_drop_nulls(json_t *message);
/* Of an object whose calls, if there are any, are objects: arguments of calls become objects where they are
 * texts of such; reasoning gets the names by which templates know it; an assistant's message with neither
 * words nor calls is empty. */
MUST_USE int message_prepare(json_t *message, struct err *e);
