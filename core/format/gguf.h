/* GGUF files (versions 2 and 3) as far as a LoRA adapter needs them: the few keys that matter and the list of
 * tensors, every count, length, offset and type checked against the file. Reads by pread, keeps no
 * descriptor, no globals. Any thread. Source: the format's description (ggml, docs/gguf.md) and what
 * llama.cpp reads and writes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/format/dtype.h"

enum { GGUF_TEXT_MAX = 63, GGUF_HEADER_BYTES_MAX = 1 << 20, GGUF_KEYS_MAX = 4096, GGUF_TENSORS_MAX = 65536 };

struct gguf_tensor {
    char name[GGUF_TEXT_MAX + 1];
    enum dtype dtype;
    int64_t columns, rows; /* the first dimension runs fastest: row-major [rows, columns] */
    uint64_t offset;       /* from the start of the file */
    uint64_t bytes;
};

struct gguf {                             /* filled by gguf_open */
    char type[GGUF_TEXT_MAX + 1];         /* general.type; "": absent, as the others */
    char architecture[GGUF_TEXT_MAX + 1]; /* general.architecture */
    char adapter[GGUF_TEXT_MAX + 1];      /* adapter.type */
    float alpha;                          /* adapter.lora.alpha; 0: absent */
    char unknown[GGUF_TEXT_MAX + 1];      /* a key of "adapter." that nobody here knows */
    struct gguf_tensor *tensors;          /* owned, in the order of the file */
    size_t count;
};

bool gguf_is(int fd); /* the first four bytes are the format's mark */
/* Tensors stand one behind the other, aligned, up to the end of the file. Errors: "gguf_malformed";
 * "adapter_unsupported_feature" for a type of tensor other than F32, F16 and BF16; "io_error". */
MUST_USE int gguf_open(struct gguf *g, int fd, struct err *e);
void gguf_fini(struct gguf *g);
