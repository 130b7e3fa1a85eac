/* Tokens to the nodes of expressions, with Jinja2's precedence: filters and tests bind closest, then ** (from
 * the left), * / // %, ~, + -, comparisons, not, and, or, if-else. What a template names and this has not is
 * refused here. NULL: error. */
#pragma once
#include "core/template/syntax/parser.h"

/* `condition`: `a if b else c` may stand here without brackets. */
struct node *expression_parse(struct parser *p, bool condition);
/* The same or, with commas, a tuple without brackets. */
struct node *expression_parse_tuple(struct parser *p, bool condition);
/* | filter | filter ... */
struct node *expression_parse_filters(struct parser *p, struct node *value);
