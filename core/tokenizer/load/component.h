/* Reading one component of tokenizer.json (an object with fields), with errors that name it. Borrows the
 * JSON; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/tokenizer/piece.h"

/* Fields that are not in `known` (ends with NULL) and whose value switches something on are refused:
 * "tokenizer_unsupported". `where` names the object. Not an object: "tokenizer_malformed". */
MUST_USE int component_check(json_t *component, const char *where, const char *const *known, struct err *e);
/* The value's type decides: absent or null leave *out alone. Error: "tokenizer_malformed". */
MUST_USE int component_bool(json_t *component, const char *where, const char *name, bool *out, struct err *e);
MUST_USE int component_size(json_t *component, const char *where, const char *name, size_t *out,
                            struct err *e);
/* Absent or null is an error. The string stays the JSON's. */
MUST_USE int component_string(json_t *component, const char *where, const char *name, const char **out,
                              size_t *length, struct err *e);
/* Absent or null is an error. */
MUST_USE int component_array(json_t *component, const char *where, const char *name, json_t **out,
                             struct err *e);
/* As component_string, for a string of exactly one character. */
MUST_USE int component_character(json_t *component, const char *where, const char *name, const char **out,
                                 size_t *length, struct err *e);
/* The field "type". */
MUST_USE int component_type(json_t *component, const char *where, const char **type, struct err *e);
int component_refuse_type(const char *where, const char *type, struct err *e);
/* Calls `load` for each member of the list `list_name` of a Sequence that lies `depth` deep in others. */
MUST_USE int component_sequence(json_t *component, const char *where, const char *list_name, int depth,
                                int (*load)(void *arg, json_t *component, int depth, struct err *e),
                                void *arg, struct err *e);
/* {"String": "..."} or {"Regex": "..."} in the field "pattern"; not empty. */
MUST_USE int component_pattern(json_t *component, const char *where, bool *is_regex, const char **text,
                               size_t *length, struct err *e);
/* Metaspace: the character and whether it is put in front (prepend_scheme, or the older add_prefix_space). */
MUST_USE int component_metaspace(json_t *component, const char *where, const char **replacement,
                                 size_t *length, enum prepend_scheme *scheme, struct err *e);
char *component_copy(const char *text, size_t length); /* in new memory, with a NUL behind; or NULL */
