/* A file as OpenAI's clients know it. Any thread. */
#pragma once
#include <jansson.h>

#include "adapters/types/files.h"

json_t *file_json(const struct file_row *f); /* NULL: out of memory */
