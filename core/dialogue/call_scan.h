/* The JSON of calls, byte by byte: an object with a name and arguments, or an array of such objects. It is
 * read as models write it: what follows the arguments, or lacks at the end, costs no call. Whoever feeds it
 * gets the arguments as they are written. Caller's storage; one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"

enum { CALL_KEY_MAX = 32, CALL_SCAN_COUNT_MAX = 128 /* calls of one answer */ };

struct call { /* zero-initialize */
    struct buf name, arguments;
    bool known;   /* the name is whole and the arguments have begun: it is a call */
    size_t words; /* those found before it; bytes */
    size_t begin; /* bytes of the whole text before its mark */
    size_t end;   /* and before what follows it; 0: nothing does */
};

struct calls {       /* zero-initialize */
    struct call *of; /* owned, [count] */
    int count, capacity;
    size_t words, begin; /* of those that are added */
};
void calls_fini(struct calls *c);
/* A new one at the end; NULL: out of memory. */
struct call *calls_add(struct calls *c);
/* Forget the last one. */
void calls_drop(struct calls *c);

/* The end of a JSON value that begins with the first byte that is fed. */
struct call_value { /* zero-initialize */
    int depth;
    bool quoted, escaped;
};
/* Is the value whole with this byte? Of an object, an array or a string. */
bool call_value_feed(struct call_value *v, char byte);

enum call_scanned {
    CALL_SCAN_MORE, /* taken */
    CALL_SCAN_DONE, /* taken; it was the last one */
    CALL_SCAN_BAD,  /* not taken: this is no call, or no longer one */
    CALL_SCAN_NO_MEMORY
};

enum call_state {
    CALL_STATE_START,
    CALL_STATE_OBJECT, /* in an array, before the next object */
    CALL_STATE_KEY,    /* before a key or the end of the object */
    CALL_STATE_IN_KEY,
    CALL_STATE_COLON,
    CALL_STATE_VALUE,
    CALL_STATE_IN_VALUE,
    CALL_STATE_IN_PLAIN, /* a number, true, false or null */
    CALL_STATE_COMMA,    /* behind a value */
    CALL_STATE_LIST      /* behind an object of an array */
};

enum call_member { CALL_MEMBER_OTHER, CALL_MEMBER_NAME, CALL_MEMBER_ARGUMENTS };

struct call_scan { /* zero-initialize but for the keys and the calls */
    const char *name_key, *arguments_key;
    struct calls *calls; /* borrowed: those that are found are added */
    enum call_state state;
    bool listed;
    bool named, argued; /* what the present object has had */
    enum call_member member;
    struct call_value value;
    struct buf text; /* of the key, or of a value that is looked at when it is whole */
    bool as_text;    /* the arguments are a text that holds them */
};
void call_scan_fini(struct call_scan *s);
/* Begin anew, with the same keys and calls. */
void call_scan_reset(struct call_scan *s);
enum call_scanned call_scan_feed(struct call_scan *s, char byte);
