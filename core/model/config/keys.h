/* Fields of a config.json: read with their defaults, or refused by name. For core/model/config. Pure, any
 * thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"

bool key_is_absent(const json_t *value); /* left out, or null */
/* The errors, both -1: what this code does not compute, and what nobody could. */
int key_unsupported(const char *field, const json_t *value, struct err *e);
int key_malformed(const char *field, const char *wanted, struct err *e);

/* An integer in 1..maximum; `fallback` where the field is absent, or an error where that is 0. */
MUST_USE int key_size(const json_t *root, const char *field, int fallback, int maximum, int *out,
                      struct err *e);
/* A positive number; `fallback` where it is absent, or an error where that is 0. */
MUST_USE int key_number(const json_t *root, const char *field, double fallback, double *out, struct err *e);
MUST_USE int key_flag(const json_t *root, const char *field, bool fallback, bool *out, struct err *e);
