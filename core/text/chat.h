/* Chat templates. Known so far: plain ChatML, recognized by the template's exact text. Any thread. */
#pragma once
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum chat_template { CHAT_NONE, CHAT_UNKNOWN, CHAT_CHATML };

struct chat_message {
    const char *role, *content; /* UTF-8, may hold U+0000 */
    size_t role_length, content_length;
};

/* What DIRECTORY/chat_template.jinja, or chat_template in DIRECTORY/tokenizer_config.json, says. */
int chat_template_read(const char *directory, enum chat_template *out, struct err *e);
/* Append the prompt, ending with the opening of the assistant's turn. Error: "chat_template_unsupported". */
int chat_render(enum chat_template t, const struct chat_message *messages, size_t count, struct buf *out,
                struct err *e);
