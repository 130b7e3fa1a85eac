/* A JSON Schema (2020-12, and what drafts 4 to 7 spell otherwise) as a grammar of the JSON texts that are
 * valid under it. What of it cannot be held is refused by keyword and place, never ignored;
 * docs/structured-output.md lists what is served. The texts may be fewer than the valid ones, never others:
 * properties come in the order of the schema, numbers have a bounded number of digits, and so on. Owns
 * nothing; any thread. */
#pragma once
#include <jansson.h>

#include "core/grammar/grammar.h"

/* Texts begin with the rule "root", the first that is made: the grammar's own where `g` is new. Errors:
 * "schema_unsupported" and "schema_invalid" name keyword and place, "schema_too_large", those of
 * grammar_check. That no value is valid ("schema_unsatisfiable"), or a $ref goes round in circles, is told
 * when the grammar is compiled. */
MUST_USE int json_schema_grammar(struct grammar *g, const json_t *schema, struct err *e);
/* A node for the values, in a grammar that has more than them, such as a call of a tool around its arguments.
 * GRAMMAR_BAD: the errors above. */
int json_schema_value(struct grammar *g, const json_t *schema, struct err *e);
/* How errors of compiling a grammar that is made of schemas are worded, for grammar.wording. */
extern const struct grammar_wording json_schema_wording;
/* Any JSON object. */
MUST_USE int json_schema_any_object(struct grammar *g, struct err *e);
