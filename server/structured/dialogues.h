/* What an answer has to be where it has thoughts, calls of tools, or both around words: as one JSON value, by
 * whose content the grammar is kept, and back as the plan of that grammar. Owns nothing; any thread. */
#pragma once
#include <jansson.h>

#include "core/dialogue/dialogue_grammar.h"

enum { DIALOGUES_TOOLS_MAX = 128 };

/* What is no call and no thought: words of any kind, or of a form. */
struct dialogues_content {
    int kind;      /* enum grammars_kind, which this does not know; 0: any words */
    json_t *value; /* borrowed; NULL: the kind says all */
};

/* A new reference; NULL: out of memory. `plan` without `content`; its tools' schemas are referenced. */
json_t *dialogues_value(const struct dialogue_plan *plan, const struct dialogues_content *content);
void dialogues_content(const json_t *value, struct dialogues_content *out);
/* A node of dialogue_grammar; `content` is one where the value has a form. */
int dialogues_write(struct grammar *g, const json_t *value, int content,
                    bool (*is_special)(const void *arg, const char *mark), const void *arg, struct err *e);
