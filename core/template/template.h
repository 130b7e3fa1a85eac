/* Chat templates: the part of Jinja2 3.1 that they use, with the meaning it has in transformers'
 * apply_chat_template (trim_blocks, lstrip_blocks, break and continue, an immutable sandbox). A template is
 * the operator's, what it renders is a tenant's: rendering is bounded in steps, memory, nesting and output,
 * sees nothing but its variables and, by strftime_now, the clock. What is not supported is refused by name,
 * most of it when the template is compiled. Immutable once made: any thread may render. Never reads files. */
#pragma once
#include <jansson.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum {
    TEMPLATE_BYTES_MAX = 1 << 20,
    TEMPLATE_NESTING_MAX = 100,
    TEMPLATE_NODE_DEPTH_MAX = 200,        /* of statements and brackets */
    TEMPLATE_DEPTH_MAX = 400,             /* of what is being evaluated, macros included */
    TEMPLATE_STEPS_MAX = 1000000,         /* of a rendering, and */
    TEMPLATE_STEPS_PER_BYTE = 16,         /* for each byte that its variables take */
    TEMPLATE_MEMORY_BYTES_MAX = 64 << 20, /* of a rendering */
    TEMPLATE_OUTPUT_BYTES_MAX = 16 << 20
};

struct template;

/* "chat_template_unsupported": the message names the line and what cannot be done there. */
int template_new(struct template **out, const char *text, size_t length, struct err *e);
void template_free(struct template *t);

/* Append the text. The members of the objects `fixed` and `more` (either may be NULL) are the variables,
 * those of `more` first. "chat_refused": the template called raise_exception, whose text is the message;
 * "chat_template_failed": an error of the template, or a bound; "out_of_memory". */
int template_render(const struct template *t, const json_t *fixed, const json_t *more, struct buf *out,
                    struct err *e);
