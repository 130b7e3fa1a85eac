/* What answers have to be, as requests ask for it: schemas, grammars, expressions and choices, compiled once
 * and kept by their content for those that ask the same again. Any thread compiles; that takes a while, so
 * not the HTTP thread. Constraints are for the engine's thread, once they are made. */
#pragma once
#include <jansson.h>

#include "core/base/err.h"
#include "core/engine/constraint.h"
#include "core/grammar/tokens/guide.h"
#include "core/tokenizer/tokenizer.h"

enum { GRAMMARS_KEPT = 16 };

enum grammars_kind {
    GRAMMARS_NONE,
    GRAMMARS_OBJECT,  /* any JSON object; no value */
    GRAMMARS_SCHEMA,  /* a JSON Schema */
    GRAMMARS_GBNF,    /* a string */
    GRAMMARS_REGEX,   /* a string */
    GRAMMARS_CHOICE,  /* an array of strings */
    GRAMMARS_DIALOGUE /* what dialogues.h makes */
};

struct grammars;
/* For the tokens of a model and what adapters may add to them: `vocab_size` logits, of which `ends` end an answer. Borrows the tokenizer; its
 * tokens are read when they are needed first. */
MUST_USE int grammars_new(struct grammars **out, const struct tokenizer *t, int vocab_size,
                          const int32_t *ends, size_t end_count, struct err *e);
void grammars_free(struct grammars *g); /* NULL is fine; nobody compiles or is constrained any more */

/* *out: a new reference. Errors: those of json_schema.h, gbnf.h, regex.h, choice.h, dialogue_grammar.h and
 * automaton_compile,
 * "out_of_memory". */
MUST_USE int grammars_compile(struct grammars *g, enum grammars_kind kind, const json_t *value,
                              struct guide **out, struct err *e);
/* One answer's text under a guide. `ends`: what ends it in the place of the model's end tokens, copied; none:
 * these. Error: "out_of_memory". */
struct grammars_ends {
    const int32_t *tokens; /* [count] */
    int count;
};
MUST_USE int grammars_constrain(const struct grammars *g, struct guide *guide,
                                const struct grammars_ends *ends, struct constraint **out, struct err *e);
