/* Reads what comes over a connection as HTTP/1.1 (RFC 9112), more strictly than libmicrohttpd, which is
 * lenient and shows names and values as C strings: folded lines, bare line feeds and NULs are gone by then.
 * It looks at the same bytes, keeps none of them, and only says which request is not well formed; http.c
 * refuses that one.
 *
 * Where the end of a body is in doubt (framing.c refuses such a request and its connection), and behind a
 * problem, it looks no further. Pure; one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STRICT_TEXT_BYTES = 20 };

struct strict {
    uint32_t requests;   /* that have begun */
    const char *problem; /* static; NULL: none */
    uint32_t problem_of; /* the number of its request, from 1 on */
    /* ---- its own ---- */
    int state;
    uint64_t left;                                                  /* of a body or of a chunk */
    char name[STRICT_TEXT_BYTES + 1], value[STRICT_TEXT_BYTES + 1]; /* as far as they matter */
    size_t name_length, value_length;                               /* as they are */
    int lengths, codings, digits;
    bool kept, unclear, trailer;
};

/* Begins as zeros. What the library is to see of these bytes takes their place, and is no longer; returns how
 * many bytes it is. Extensions of chunks are left out. */
size_t strict_read(struct strict *s, char *bytes, size_t length);
/* What is wrong with the connection's request of that number, or with one before; NULL: nothing (yet). A
 * request that was not seen here has a problem. */
const char *strict_problem(const struct strict *s, uint32_t request);
