/* Chat templates: the part of Jinja2 3.1 that they use, with the meaning it has in transformers'
 * apply_chat_template (trim_blocks, lstrip_blocks, break and continue, an immutable sandbox). A template is
 * the operator's, what it renders is a tenant's: rendering is bounded in steps, memory, nesting and output,
 * sees nothing but its variables and, by strftime_now, the clock. What is not supported is refused by name,
 * most of it when the template is compiled. Immutable once made: any thread may render. Never reads files. */
#pragma once
#include <jansson.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/template/span.h"
#include "core/template/values/limits.h"

struct template;

/* "chat_template_unsupported": the message names the line and what cannot be done there. */
MUST_USE int template_new(struct template **out, const char *text, size_t length, struct err *e);
void template_free(struct template *t);

/* Append the text. The members of the objects `fixed` and `more` (either may be NULL) are the variables,
 * those of `more` first. "chat_refused": the template called raise_exception, whose text is the message;
 * "chat_template_failed": an error of the template, or a bound; "out_of_memory". */
MUST_USE int template_render(const struct template *t, const json_t *fixed, const json_t *more,
                             struct buf *out, struct err *e);
/* The same, and what its blocks of {% generation %} wrote: bytes from where `out` ended before. Neither what
 * macros write nor captured blocks are seen. After an error `spans` may have some. */
MUST_USE int template_render_spans(const struct template *t, const json_t *fixed, const json_t *more,
                                   struct buf *out, struct template_spans *spans, struct err *e);
