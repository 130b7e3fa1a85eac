/* The names of a template, each once: the same name is the same pointer, so that a rendering compares names
 * without looking at them. */
#pragma once
#include "core/base/arena.h"
#include "core/base/err.h"
#include "core/template/values/string.h"

struct name {
    struct name *next;
    struct string text;
};
const struct name *names_find(const struct name *names, struct string text); /* NULL: it is not there */
/* *text becomes the one of that name; it is added where it is new. -1: the arena has no memory. */
MUST_USE int names_intern(struct arena *arena, struct name **names, struct string *text);
