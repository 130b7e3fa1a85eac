/* What people and programs read: text made safe for terminals, tables, JSON. One thread.
 * Everything that came from the daemon passes through print_text before it reaches a terminal. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/lib/client.h"
#include "core/base/err.h"

/* Characters that could steer a terminal (control characters, those that change the writing direction, broken
 * UTF-8) are written as \u escapes. `lines`: line feeds and tabs stay. */
void print_text(FILE *out, const char *text, size_t length, int lines);
/* As it is, unless `out` is a terminal. */
void print_output(FILE *out, const char *text, size_t length);

/* An answer as the daemon wrote it, with a line feed behind it. */
void print_answer(const struct answer *a);
MUST_USE int print_json(const json_t *value, struct err *e);

/* An array of objects as RFC 4180: a line of the members' names, then one for each object, every field
 * quoted. A text that a spreadsheet would take for a formula gets a ' before it. */
MUST_USE int print_csv(const json_t *rows, const char *const *members, size_t count, struct err *e);

enum { TABLE_COLUMNS_MAX = 12 };

struct table {
    size_t columns;
    char **cell; /* row by row, the titles first; owned */
    size_t count, capacity;
    int failed; /* memory ran out */
};
/* Titles in one string, "NAME|VERSION". The caller's storage. A title that begins with ">" is for numbers. */
void table_init(struct table *t, const char *titles);
/* The next cell: NULL and "" become "-". */
void table_add(struct table *t, const char *text);
/* The member of an object, as it reads best: text, number, yes or no, "-" for null or nothing. */
void table_add_member(struct table *t, const json_t *object, const char *name);
/* "sha256:" and the first twelve digits: still a valid reference to a version. */
void table_add_digest(struct table *t, const json_t *object, const char *name);
void table_add_bytes(struct table *t, const json_t *object, const char *name);
/* Seconds are enough for people. */
void table_add_time(struct table *t, const json_t *object, const char *name);
/* Write it to standard output and forget it. */
MUST_USE int table_print(struct table *t, struct err *e);
void table_fini(struct table *t); /* forget it */

/* "12.3 MiB" */
enum { PRINT_BYTES_SIZE = 32 };
void print_bytes(double bytes, char out[PRINT_BYTES_SIZE]);
