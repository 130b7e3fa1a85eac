/* Tokens to the nodes of statements. */
#pragma once
#include "core/template/syntax/parser.h"

/* All of them, up to the end, as the body of a NODE_SCOPE; NULL: error. */
struct node *statement_parse_all(struct parser *p);
