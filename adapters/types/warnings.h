/* What an upload was accepted with although its sender may have meant something else. Bounded: so many
 * sentences, each of so many bytes. One thread. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"

enum { WARNINGS_MAX = 32, WARNING_BYTES = 320 };

struct warnings {              /* zero-initialize; warnings_fini */
    char *texts[WARNINGS_MAX]; /* owned; UTF-8 */
    size_t count;
    size_t dropped; /* beyond WARNINGS_MAX */
};

/* Add a sentence, cut to fit. NULL: nobody wants to know. Error: "out_of_memory". */
int warnings_add(struct warnings *w, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Move what is in `from` to `to`, which is empty. */
void warnings_move(struct warnings *to, struct warnings *from);
void warnings_fini(struct warnings *w);

/* Names in one field that nothing answers to, collected for one sentence. */
struct warning_names { /* zero-initialize */
    char text[160];    /* the first ones, in quotes */
    size_t count, shown;
};
void warning_names_add(struct warning_names *n, const char *name);
/* "FIELD: "a", "b" and 3 more: WHY; ignored, as by PEFT". Nothing where there are none. */
int warning_names_say(const struct warning_names *n, struct warnings *w, const char *field, const char *why,
                      struct err *e);
