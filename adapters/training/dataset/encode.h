/* An example as the base reads it: tokens with labels, or numbers. Tokens of a conversation are those of its
 * whole rendering, once; which of them are the assistant's is found afterwards. Stateless; any thread with
 * 1 MiB of stack. */
#pragma once
#include <stdbool.h>

#include "adapters/training/dataset/encoding.h"
#include "adapters/training/dataset/example.h"

struct encoded { /* zero-initialize, use again and again; free with encoded_fini */
    struct encoded_sequence sequence, rejected;
    float *input, *target; /* owned [input_size], [outputs] */
    bool has_target;
    int32_t class;
    bool last_turn_only; /* the template writes earlier turns otherwise once more follow */
    bool cut;            /* at max_length */
};

/* Errors: "invalid_training_file" (the line's number is the caller's to add), "chat_template_unsupported",
 * "out_of_memory". */
MUST_USE int encode_example(const struct encode_options *o, struct example *x, struct encoded *out,
                            struct err *e);
void encoded_fini(struct encoded *x);
