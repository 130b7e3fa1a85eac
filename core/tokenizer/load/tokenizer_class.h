/* Classes of transformers that build a pipeline of their own. Up to version 4 a fast tokenizer is what
 * tokenizer.json says; version 5 takes nothing from it but the vocabulary, the merges, the added tokens and
 * the post-processor where tokenizer_config.json names LlamaTokenizer. Owns nothing; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/tokenizer/tokenizer.h"

/* Put the class's components into `json`, which is tokenizer.json (`file` is its text), if DIRECTORY names
 * such a class and `pipeline` wants them. *disputed: the class's are others than the file's. Source:
 * AutoTokenizer and LlamaTokenizer of transformers 5.24. Errors: those of json_file_read with
 * "tokenizer_malformed". */
MUST_USE int tokenizer_class_apply(json_t *json, const struct buf *file, const char *directory,
                                   enum tokenizer_pipeline pipeline, bool *disputed, struct err *e);
