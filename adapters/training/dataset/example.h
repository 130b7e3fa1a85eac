/* One line of a training file: which form it has, and whether it is whole. What depends on the base that is
 * trained (its vocabulary, context, template) is encode.h's. Stateless; any thread with 1 MiB of stack. */
#pragma once
#include <jansson.h>
#include <stddef.h>

#include "core/base/err.h"

enum example_form {
    EXAMPLE_CHAT,              /* messages, tools */
    EXAMPLE_COMPLETION,        /* prompt, completion */
    EXAMPLE_TEXT,              /* text */
    EXAMPLE_TOKENS,            /* tokens, labels */
    EXAMPLE_PREFERENCE,        /* input {messages, tools}, preferred_output, non_preferred_output */
    EXAMPLE_PREFERENCE_TOKENS, /* prompt_tokens, chosen_tokens, rejected_tokens */
    EXAMPLE_NUMERIC            /* input, target */
};
/* What it can be learned by. A file has examples of one kind. */
enum example_kind { EXAMPLE_SUPERVISED, EXAMPLE_PAIR, EXAMPLE_NUMBERS };

/* Lists and objects of one line, which take the most memory for their text. */
enum { EXAMPLE_CONTAINERS_MAX = 1 << 16 };

struct example {
    enum example_form form;
    json_t *json; /* owned; its messages as templates take them */
};

/* `text` is a line without its end. "invalid_training_file": the message says what is wrong; the line's
 * number is the caller's to add. */
MUST_USE int example_read(struct example *out, const char *text, size_t length, struct err *e);
void example_fini(struct example *x);
enum example_kind example_kind(enum example_form form);
const char *example_kind_name(enum example_kind kind); /* "examples of answers" and so on, for messages */
