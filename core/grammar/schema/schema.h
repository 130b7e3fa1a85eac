/* A schema on its way to a grammar: what the kinds of values (schema_object.c, schema_array.c,
 * schema_string.c, schema_number.c) share. The first refusal is kept, and whatever is made after it is
 * GRAMMAR_BAD. */
#pragma once
#include <jansson.h>

#include "core/grammar/grammar.h"
#include "core/grammar/json/json_rules.h"

enum {
    /* Schemas within the schema, each counted again where it is combined with others. */
    SCHEMA_NODES_MAX = 20000,
    SCHEMA_DEPTH_MAX = 64,
    SCHEMA_PROPERTIES_MAX = 1000, /* of one object */
    SCHEMA_ENUM_MAX = 10000,
    SCHEMA_ALTERNATIVES_MAX = 256,
};

struct schema_place {              /* where a schema is in the whole, for messages */
    const struct schema_place *up; /* NULL: the root */
    const char *key;               /* a member of `up` */
    int index;                     /* key NULL: an element */
    int level;                     /* of the value in the text: objects and arrays around it */
};

struct schema {
    struct grammar *grammar;
    struct json_rules rules;
    const json_t *root;
    json_t *references; /* owned: what a $ref says -> its rule */
    json_t *made;       /* owned: schemas that were made of others */
    struct err *e;
    bool failed;
    int nodes, depth;
    /* A schema's values: json_schema.c, which the kinds of values are called from. */
    int (*value)(struct schema *s, const json_t *schema, const struct schema_place *at);
};

/* Both refuse and return GRAMMAR_BAD. The reason completes: keyword "x" at PLACE ... */
int schema_unsupported(struct schema *s, const struct schema_place *at, const char *keyword,
                       const char *reason);
int schema_invalid(struct schema *s, const struct schema_place *at, const char *keyword, const char *reason);
/* The reason is what went wrong with the keyword's value. */
int schema_unserved(struct schema *s, const struct schema_place *at, const char *keyword,
                    const struct err *why);
int schema_no_memory(struct schema *s);
int schema_too_large(struct schema *s,
                     const struct schema_place *at); /* SCHEMA_NODES_MAX, SCHEMA_DEPTH_MAX */
/* The value of a keyword below `at`. */
struct schema_place schema_below(const struct schema_place *at, const char *key);
struct schema_place schema_element(const struct schema_place *at, int index);
/* *out becomes the keyword's count, 0 or more; `otherwise` where it is missing. -1: refused. A count above
 * GRAMMAR_REPEAT_MAX is that, which is no limit for a text that ends. */
int schema_count(struct schema *s, const json_t *schema, const struct schema_place *at, const char *keyword,
                 int otherwise, int *out);
