/* How models write what is not plain words: calls of tools and thoughts. One table each; which of its rows a
 * model writes is read from its chat template, which has the same texts in it. Static data; any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum {
    CALL_NAME_MAX = 256, /* bytes of a tool's name, as it stands in an answer */
    CALL_MARKS_MAX = 6,  /* texts that are one token, often a special one */
    CALL_RECOGNIZED_MAX = 2
};

/* What stands between the marks of a call. */
enum call_body {
    CALL_OBJECT, /* {"name": ..., "arguments": {...}}, each between marks of its own */
    CALL_LIST,   /* the same in an array, between one pair of marks */
    CALL_NAMED   /* the name as plain text, then the arguments as an object */
};

struct call_format {                             /* texts that are NULL: nothing */
    const char *name;                            /* as options have it */
    const char *recognized[CALL_RECOGNIZED_MAX]; /* all of these stand in the template; none: it is not
                                                    recognized */
    const char *begin, *end;                     /* around all calls */
    const char *open, *close;                    /* around one call, or one list */
    const char *between;                         /* two calls */
    enum call_body body;
    const char *name_key, *arguments_key;         /* OBJECT, LIST; NULL: "name", "arguments" */
    const char *before_name, *after_name, *after; /* NAMED; after: behind the arguments */
    bool bare;                                    /* `open` may be missing at the beginning of an answer */
    bool short_id; /* its template takes ids of nine letters and digits alone */
};

struct thought_format {
    const char *open, *close;
};

/* By its name; NULL: there is none. */
const struct call_format *call_format_named(const char *name, size_t length);
/* The first that a template's text shows; NULL: none. */
const struct call_format *call_format_of(const char *text, size_t length);
/* All names, for messages, with commas between. */
void call_format_names(char *out, size_t size);
/* Texts that may be single tokens, in `out`; how many there are. */
int call_format_marks(const struct call_format *f, const char *out[CALL_MARKS_MAX]);

const struct thought_format *thought_format_of(const char *text, size_t length);
/* By its opening mark; NULL: there is none. */
const struct thought_format *thought_format_named(const char *open);
/* Does a prompt end within thoughts, so that an answer begins with them? */
bool thought_format_begun(const struct thought_format *f, const char *prompt, size_t length);
/* Does it end behind thoughts, so that none follow? */
bool thought_format_over(const struct thought_format *f, const char *prompt, size_t length);
