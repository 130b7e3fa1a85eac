/* A template's text to tokens. Source: the lexer of Jinja2 3.1 with trim_blocks and lstrip_blocks,
 * keep_trailing_newline off. */
#pragma once
#include "core/template/values/operators.h"

enum token_kind {
    TOKEN_END,
    TOKEN_DATA, /* text between tags */
    TOKEN_OUTPUT_BEGIN,
    TOKEN_OUTPUT_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_OPERATOR
};

struct token {
    enum token_kind kind;
    int line;
    int symbol;         /* TOKEN_OPERATOR */
    struct value value; /* TOKEN_DATA, _NAME, _STRING: a string; TOKEN_NUMBER: a number */
};

/* `text` with plain line breaks, in `arena`; *out: an array that ends with TOKEN_END, to be freed. */
MUST_USE int lex(struct arena *arena, const char *text, size_t length, struct token **out, struct err *e);
