/* Pre-tokenizers: a row of stages that cut pieces into smaller ones and rewrite them, down to the words of
 * the BPE model. Pieces flow through one by one, depth first, so memory does not grow with their number.
 * Read-only once loaded: any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/tokenizer/piece.h"
#include "core/unicode/pattern.h"

enum stage_kind {
    STAGE_SPLIT,        /* cut at the matches of a pattern */
    STAGE_PREFIX_SPACE, /* a space in front where there is none (ByteLevel add_prefix_space) */
    STAGE_BYTES,        /* each byte becomes a character of the byte alphabet (ByteLevel) */
    STAGE_METASPACE,    /* spaces become the replacement, one more in front */
};
/* What becomes of the matches, as SplitDelimiterBehavior of `tokenizers`. */
enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
};

struct stage {
    enum stage_kind kind;
    struct pattern *pattern; /* owned: what to cut at; of METASPACE the space */
    enum split_behavior behavior;
    bool invert; /* matches and what lies between them change their roles */
    char replacement[4];
    size_t replacement_length;
    enum prepend_scheme prepend;
};

enum { STAGES_MAX = 32 };
struct pretokenizer {
    struct stage stages[STAGES_MAX];
    size_t count;
};
void pretokenizer_fini(struct pretokenizer *p);

/* The characters that stand for bytes in byte-level vocabularies: printable Latin-1 for itself, the other 68
 * bytes U+0100 and up (GPT-2's bytes_to_unicode). */
uint32_t byte_alphabet_character(unsigned char byte);
int byte_alphabet_byte(uint32_t code); /* or -1 */

struct pretokenizer_run { /* one thread's memory, and where the words go */
    const struct pretokenizer *pretokenizer;
    struct pattern_work *work;
    struct buf buffers[STAGES_MAX];
    int (*word)(void *arg, const char *text, size_t length, struct err *e);
    void *arg;
    struct err *e;
};
/* Cut a piece; calls run->word for each word in order. */
MUST_USE int pretokenizer_feed(struct pretokenizer_run *run, struct piece piece);
void pretokenizer_run_fini(struct pretokenizer_run *run);
