/* A form (multipart/form-data) while it arrives: its parts are taken as they come, in slices, on a job
 * thread, while the connection waits. At most one slice of it is in memory. What a form is made of, and where
 * its files go, is its kind's; a form of some kind begins with a struct form and is its request's task. */
#pragma once
#include <microhttpd.h>
#include <stdbool.h>

#include "core/format/multipart.h"
#include "server/http/request.h"

enum { FORM_SLICE_BYTES = 256 << 10, FORM_PARTS_MAX = 12, FORM_TEXT_BYTES_MAX = 256 };

struct form;
struct form_part {
    const char *name;
    size_t text_max; /* of a short text; 0: a file, whose bytes are handed on */
};
struct form_kind {
    const struct form_part *parts;
    int count;
    /* Each on a job thread; -1 ends it. `begin` and `end` may be NULL. */
    int (*begin)(struct form *f, int part, const char *filename, struct err *e); /* filename "": none */
    int (*data)(struct form *f, int part, const void *bytes, size_t length, struct err *e); /* of files */
    int (*end)(struct form *f, int part, struct err *e);
};
struct form {
    const struct form_kind *kind;
    struct request *request; /* whose task it is */
    struct multipart parser;
    bool seen[FORM_PARTS_MAX];
    int part;                        /* the one that is arriving */
    struct buf text[FORM_PARTS_MAX]; /* NUL-terminated once the part has begun, and without other NULs */
};

/* HTTP thread, before the body. Error: "multipart_malformed". */
MUST_USE int form_begin(struct form *f, const struct form_kind *kind, struct request *r,
                        struct MHD_Connection *connection, struct err *e);
void form_fini(struct form *f);
/* HTTP thread: r->body has grown. May pass the request to a job thread (then it is pending). */
void form_more(struct request *r);
/* Job thread: the body is complete. Errors: "multipart_malformed", those of its kind. */
MUST_USE int form_finish(struct form *f, struct err *e);

const char *form_text(const struct form *f, int part); /* NULL: it was not given */
/* A text that says true or false; *out stays where it was not given. "invalid_part" */
MUST_USE int form_switch(const struct form *f, int part, bool *out, struct err *e);
/* -1 and the error: "the part "NAME" PROBLEM". */
int form_error(struct err *e, const char *code, const char *name, const char *problem);
