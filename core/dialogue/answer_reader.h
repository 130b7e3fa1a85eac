/* Takes an answer apart while it is written: thoughts, words, calls of tools. What was found only grows, and
 * does not depend on the pieces in which the text came; what may still become something else is held back.
 *
 * A call that is not in the format's form is words, with its marks; one whose arguments have begun stays a
 * call whatever follows, its arguments as they are written, JSON or not. Space around calls, and line feeds
 * around thoughts, are no part of the words. Caller's storage; one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/dialogue/call_format.h"
#include "core/dialogue/call_scan.h"

struct answer_form {
    const struct call_format *calls;       /* NULL: they are words */
    const struct thought_format *thoughts; /* NULL: they are words */
    bool thinking;                         /* the prompt ended within thoughts */
    /* Is there a tool of that name? Asked where a call has no mark before it, NULL: yes. */
    bool (*is_tool)(const void *arg, const char *name, size_t length);
    const void *arg;
};

enum answer_state {
    ANSWER_START, /* space before thoughts or words */
    ANSWER_THOUGHTS,
    ANSWER_BEHIND, /* line feeds behind thoughts */
    ANSWER_WORDS,
    ANSWER_CALL, /* behind a mark; which kind of body it is shows with the next byte */
    ANSWER_JSON,
    ANSWER_NAME,      /* of a NAMED call */
    ANSWER_ARGUMENTS, /* of a NAMED call */
    ANSWER_TAIL       /* behind a call, before its closing mark */
};

struct answer_reader {
    struct answer_form form;
    struct buf thoughts, words; /* found so far */
    struct calls calls;         /* those that are `known` count */
    size_t thoughts_end;        /* bytes of the text up to the end of thoughts; 0: it had none */

    enum answer_state state;
    struct buf held;  /* not decided yet: the beginning of a mark, a call without its name */
    size_t at;        /* bytes of it that were looked at: CALL, JSON */
    struct buf space; /* behind the words, and behind thoughts */
    bool thought;     /* it has thoughts, if only empty ones */
    bool marked;      /* the present call has its mark */
    bool cut;         /* the answer ended within the last call */
    int begun;        /* calls before it */
    struct call_scan scan;
    struct call_value value;
    size_t fed; /* bytes of the whole text */
};
void answer_reader_init(struct answer_reader *r, const struct answer_form *form);
void answer_reader_fini(struct answer_reader *r);
/* More of the text. Error: "out_of_memory". */
MUST_USE int answer_reader_feed(struct answer_reader *r, const char *text, size_t length, struct err *e);
/* There is no more of it. */
MUST_USE int answer_reader_finish(struct answer_reader *r, struct err *e);
/* Calls that are known: the first so many of r->calls. */
int answer_reader_calls(const struct answer_reader *r);
