/* A model's chat template: from messages to the prompt. Immutable once opened; any thread may render. Never
 * tokenizes: special tokens that stand in a message's content are part of the text, as they are in
 * transformers. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/template/span.h"

struct chat;

/* From DIRECTORY/chat_template.jinja, or chat_template in DIRECTORY/tokenizer_config.json, with the special
 * tokens of the latter and of special_tokens_map.json. A template that is missing or not supported is no
 * error here but in chat_render. Errors: "io_error", "file_too_large", "tokenizer_malformed",
 * "out_of_memory". */
MUST_USE int chat_open(struct chat **out, const char *directory, struct err *e);
/* The chat of an adapter that came with its own settings: what they say goes before what `base` has, which
 * outlives it. `config`: the content of a tokenizer_config.json, or NULL; `text`: that of a
 * chat_template.jinja, which goes before the template in `config`, or NULL. Errors: "out_of_memory". */
MUST_USE int chat_derive(struct chat **out, const struct chat *base, const json_t *config, const char *text,
                         size_t length, struct err *e);
/* Do they make the same prompts? */
bool chat_same(const struct chat *a, const struct chat *b);
void chat_close(struct chat *c);
/* The text of a special token by its name, such as "eos_token"; NULL: there is none. */
const char *chat_special(const struct chat *c, const char *name);
/* The template's text, which shows the forms that the model writes; empty: it has none. */
const char *chat_source(const struct chat *c, size_t *length);
/* Why messages are refused: no template, or what is not supported in it; NULL: they are not. */
const char *chat_problem(const struct chat *c);

/* Append the prompt, ending with what opens the assistant's turn. `messages` is an array of objects with
 * "role" and "content". Errors: "chat_template_unsupported"; those of template_render. */
MUST_USE int chat_render(const struct chat *c, const json_t *messages, struct buf *out, struct err *e);
/* The same as the caller wants it. The members of `variables` are variables of the template, before those
 * that it has anyway: `add_generation_prompt` false leaves the assistant's turn closed. `continued`: the
 * prompt ends where the content of the last message does, as with transformers' continue_final_message; one
 * that the template does not write is "chat_template_failed". */
MUST_USE int chat_render_with(const struct chat *c, json_t *messages, const json_t *variables, bool continued,
                              struct buf *out, struct err *e);
/* The whole conversation, and which stretches of it the assistant says, where the template marks them with
 * {% generation %}; bytes from where `out` ended before. */
MUST_USE int chat_render_spans(const struct chat *c, const json_t *messages, const json_t *variables,
                               struct buf *out, struct template_spans *spans, struct err *e);
/* The special token of that name ("eos_token") in the model's files; NULL: none is named. */
const char *chat_special_token(const struct chat *c, const char *name);
