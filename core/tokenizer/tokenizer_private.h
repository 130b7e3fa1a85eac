/* The inside of struct tokenizer, for the files that load, encode and decode. */
#pragma once
#include <jansson.h>

#include "core/tokenizer/added.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/decoder.h"
#include "core/tokenizer/load/model_scan.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/pretokenizer.h"
#include "core/tokenizer/tokenizer.h"

struct tokenizer_id { /* what an id is beside its string in the vocabulary */
    int32_t added;    /* index of its added token, -1: none */
    bool special;     /* that token has the flag */
    bool skipped;     /* decoding with skip_special_tokens leaves it out */
};

struct tokenizer {
    struct bpe bpe;
    struct added added;
    struct normalizer normalizer;
    struct pretokenizer pretokenizer;
    struct decoder decoder;
    struct token_list prefix, suffix; /* the post-processor's template around the text */
    struct tokenizer_id *ids;         /* owned [size] */
    size_t size;                      /* highest id + 1 */
};

/* The string an id decodes to; NULL where there is none. */
const char *tokenizer_string(const struct tokenizer *t, int32_t id, size_t *length);

/* Fill the parts from tokenizer.json. Errors: "tokenizer_malformed", "tokenizer_unsupported",
 * "out_of_memory". */
int tokenizer_load_model(struct tokenizer *t, json_t *model, const struct model_text *text, struct err *e);
int tokenizer_load_added(struct tokenizer *t, json_t *list, struct err *e); /* behind model and normalizer */
int tokenizer_load_normalizer(struct normalizer *n, json_t *component, struct err *e);
int tokenizer_load_pretokenizer(struct pretokenizer *p, json_t *component, struct err *e);
int tokenizer_load_decoder(struct decoder *d, json_t *component, struct err *e);
int tokenizer_load_postprocessor(struct tokenizer *t, json_t *component, struct err *e);
