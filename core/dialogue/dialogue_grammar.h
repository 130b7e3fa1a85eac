/* What an answer has to be where tools are to be called, as a grammar: thoughts, words or a form of the
 * caller's own, calls whose arguments are valid under the tools' schemas. The texts are those that
 * answer_reader.h takes apart. Owns nothing; any thread. */
#pragma once
#include <jansson.h>

#include "core/dialogue/call_format.h"
#include "core/grammar/grammar.h"

enum { DIALOGUE_CALLS_MAX = 32 /* of one answer that a grammar holds */ };

struct dialogue_tool {
    const char *name;     /* nothing that JSON would escape */
    const json_t *schema; /* of the arguments, which are an object under it */
};

struct dialogue_plan {
    const struct call_format *calls; /* NULL: there are none */
    bool must;                       /* nothing but calls */
    bool several;                    /* more than one call */
    const struct dialogue_tool *tools;
    size_t tool_count;
    const struct thought_format *thoughts; /* NULL: there are none */
    bool thinking;                         /* they have begun */
    bool formed;                           /* what is no call is `content`, a node; otherwise any words */
    int content;
    /* Is the mark a special token? It is in the grammar as TOKEN_SPECIAL_BYTE and its text. */
    bool (*is_special)(const void *arg, const char *mark);
    const void *arg;
};

/* A node for the answers. GRAMMAR_BAD: errors of json_schema_value, whose messages name the tool, and of
 * grammar_check. */
int dialogue_grammar(struct grammar *g, const struct dialogue_plan *p, struct err *e);
