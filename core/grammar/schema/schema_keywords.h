/* The keywords of JSON Schema: which are served, which say nothing about a value, which are refused. */
#pragma once
#include "core/grammar/schema/schema.h"

enum { /* types, as a set */
       SCHEMA_NULL = 1,
       SCHEMA_BOOLEAN = 2,
       SCHEMA_OBJECT = 4,
       SCHEMA_ARRAY = 8,
       SCHEMA_STRING = 16,
       SCHEMA_NUMBER = 32,
       SCHEMA_INTEGER = 64,
       SCHEMA_LAST = SCHEMA_INTEGER,
       SCHEMA_ANY = 127
};

/* 0, or -1: one is refused, or no keyword of JSON Schema. */
int schema_check_keywords(struct schema *s, const json_t *schema, const struct schema_place *at);
bool schema_is_annotation(const char *keyword);
/* The types whose values a keyword is about: none, where schema_types or a list of values says it all;
 * SCHEMA_ANY of combinations and of what is not known. */
unsigned schema_keyword_types(const char *keyword);
/* The types that are written for a schema: where it says none, those that its keywords are about. 0: "type"
 * is no type. Numbers are SCHEMA_NUMBER and SCHEMA_INTEGER. */
unsigned schema_types(const json_t *schema);
/* The types that are valid: where it says none, all. */
unsigned schema_types_valid(const json_t *schema);
