/* A set of characters as ranges in order. The caller's storage; one thread at a time. */
#pragma once
#include "core/grammar/grammar.h"

enum { CHAR_CLASS_MAX = 512 };

struct char_class { /* zero-initialize */
    struct grammar_range ranges[CHAR_CLASS_MAX];
    size_t count;
    bool full; /* there were too many ranges */
};

void char_class_add(struct char_class *c, uint32_t low, uint32_t high);
void char_class_add_all(struct char_class *c, const struct grammar_range *ranges, size_t count);
/* Brings the ranges in order, joined where they touch. */
void char_class_sort(struct char_class *c);
/* All other characters; sorted before and after. */
void char_class_complement(struct char_class *c);
