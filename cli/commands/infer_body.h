/* The request of `adapterctl infer`, from its options and standard input. One thread. */
#pragma once
#include <jansson.h>

#include "cli/lib/args.h"

enum { INFER_PROMPT_BYTES_MAX = 16 << 20 };

/* A new object for POST /infer, without "stream". Exactly one of --prompt, --prompt-file, --message and
 * --input says what goes in; without any of them standard input is the prompt. */
MUST_USE int infer_body_new(json_t **out, const struct args *a, struct err *e);
