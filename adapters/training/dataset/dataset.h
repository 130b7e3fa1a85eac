/* A training file as a job reads it: every line checked, tokenized once, and kept in a temporary file, so
 * that what is in memory does not grow with the file. Made on one thread, which may take its time; read by
 * any afterwards. Never writes to the file that it reads. */
#pragma once
#include <stdatomic.h>

#include "adapters/training/dataset/encode.h"
#include "core/train/train_data.h"

struct dataset {
    struct train_data data; /* valid as long as the dataset */
    int64_t targets;        /* labels that are learnt, of all; of numbers: lines */
    /* What a person should know: how many conversations are learnt by their last turn alone, since the
     * template writes earlier ones otherwise, and the first of them; how many were cut at max_length. */
    size_t last_turn_only, last_turn_line, cut;
};

/* `fd` is read by pread from its beginning; `directory` gets the temporary file. `*stop` (may be NULL)
 * becoming true ends it: "cancelled". Errors: "invalid_training_file", "line 3: ..." where it is about a
 * line; "chat_template_unsupported", "storage_full", "io_error", "out_of_memory". */
MUST_USE int dataset_open(struct dataset **out, int fd, const char *directory, const struct encode_options *o,
                          const atomic_bool *stop, struct err *e);
void dataset_close(struct dataset *d); /* NULL is fine */

/* ---- before there is a base to train: the lines as such ---- */

/* Takes a file's bytes as they come. */
struct dataset_check;
struct dataset_summary {
    size_t examples, lines;
    enum example_kind kind;
};
MUST_USE int dataset_check_new(struct dataset_check **out, struct err *e);
MUST_USE int dataset_check_feed(struct dataset_check *c, const void *bytes, size_t length, struct err *e);
MUST_USE int dataset_check_finish(struct dataset_check *c, struct dataset_summary *out, struct err *e);
void dataset_check_free(struct dataset_check *c); /* NULL is fine */
