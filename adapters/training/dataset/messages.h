/* The messages of a training example: OpenAI's form, checked, and made into what chat templates take. Any
 * thread with 1 MiB of stack. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"

enum { MESSAGES_MAX = 4096 };

/* A conversation with something to learn: a turn of the assistant whose weight is not 0. All errors here:
 * "invalid_training_file", "out_of_memory". */
MUST_USE int messages_read(json_t *list, struct err *e);
/* What a preference is about: a conversation up to where the answer comes. */
MUST_USE int messages_read_input(json_t *list, struct err *e);
/* One answer: a list of one turn of the assistant. `name` is of the field. */
MUST_USE int messages_read_answer(json_t *list, const char *name, struct err *e);
/* "tools", or NULL: a list of objects. */
MUST_USE int messages_read_tools(const json_t *tools, struct err *e);

/* Is this turn of the assistant to be learnt? */
bool messages_is_learnt(const json_t *message);
/* Takes out what is said about learning and no template should see. */
void messages_strip(json_t *list);
