/* Decoders: the row of steps from token strings to text. Read-only once loaded; detokenizer.c runs them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum decoder_kind {
    DECODER_REPLACE,       /* a string by another */
    DECODER_STRIP,         /* a character off the ends */
    DECODER_METASPACE,     /* the replacement becomes a space, or nothing in the first token */
    DECODER_BYTE_FALLBACK, /* runs of <0xNN> become characters */
    DECODER_BYTE_LEVEL,    /* the byte alphabet becomes bytes; everything is one token from there on */
    DECODER_FUSE,          /* everything is one token from there on */
};

struct decoder_step {
    enum decoder_kind kind;
    bool fused;              /* a step before this one made everything one token */
    char *pattern, *content; /* owned; Replace */
    size_t pattern_length, content_length;
    uint32_t character; /* Strip: what goes; Metaspace: the replacement */
    size_t start, stop; /* Strip: how many at most, at either end */
    bool drop_first;    /* Metaspace: prepend_scheme is not "never" */
};

enum { DECODER_STEPS_MAX = 16 };
struct decoder {
    bool present; /* without one the tokens are joined by spaces */
    struct decoder_step steps[DECODER_STEPS_MAX];
    size_t count;
};
void decoder_fini(struct decoder *d);
