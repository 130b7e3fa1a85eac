/* A tenant's regular expressions, run over the base's own module paths only, by PCRE2 within small limits.
 * Part of peft.h's implementation. One upload, one thread; no I/O, no globals. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/base/err.h"

/* The limits that all expressions of one upload share: every step of every match is taken from one budget. */
struct peft_patterns {
    pcre2_compile_context *compile; /* owned */
    pcre2_match_context *match;     /* owned */
    uint32_t steps;                 /* left */
};

struct peft_pattern {
    struct peft_patterns *shared;
    pcre2_code *code;       /* owned */
    pcre2_match_data *data; /* owned */
    const char *field;      /* of the config, for messages */
};

int peft_patterns_init(struct peft_patterns *s, struct err *e);
void peft_patterns_fini(struct peft_patterns *s);

/* A key of letters, digits, '_' and '.', which stands for any character, needs no expression. Some adapters
 * have one for each of hundreds of modules: this keeps them cheap. */
bool peft_literal(const char *key);
/* Does ^(.*\.)?(KEY)$ match the path's first `length` bytes? */
bool peft_literal_match(const char *key, const char *path, size_t length);

/* PEFT_FULL: as Python's re.fullmatch. PEFT_START: as re.match, from the start of the path. */
enum peft_anchor { PEFT_FULL, PEFT_START };
/* Compile before + text + after. Errors: "config_malformed", naming `field`; "out_of_memory". */
int peft_pattern_init(struct peft_pattern *p, struct peft_patterns *s, const char *field, const char *before,
                      const char *text, const char *after, enum peft_anchor anchor, struct err *e);
void peft_pattern_fini(struct peft_pattern *p);
/* 1 matches, 0 does not, -1: a limit was hit ("config_malformed"). */
int peft_pattern_match(struct peft_pattern *p, const char *path, struct err *e);
/* After a match: the number that group `name` took, or -1 when the group took no part. */
long peft_pattern_number(const struct peft_pattern *p, const char *path, const char *name);
