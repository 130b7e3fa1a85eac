/* A LoRA adapter in GGUF, as llama.cpp reads it, becomes the two files that PEFT would have saved: the same
 * tensors under PEFT's names, rows of q and k in the order of Hugging Face again, and a configuration of the
 * same scales. From there on it is an adapter like any other, and has the version that PEFT's files of the
 * same content have. Blocks; any thread. */
#pragma once
#include "core/delta/delta.h"
#include "core/format/gguf.h"
#include "core/model/model.h"

struct gguf_sink { /* takes the two files as they are made */
    int (*config)(void *arg, const void *bytes, size_t length, struct err *e);
    int (*weights)(void *arg, const void *bytes, size_t length, struct err *e);
    void *arg;
};

/* Errors: "gguf_malformed", "adapter_unsupported_type", "adapter_unsupported_feature", "adapter_wrong_base",
 * "adapter_unknown_module", "adapter_unexpected_tensor", "adapter_missing_tensor", "adapter_shape_mismatch",
 * "adapter_rank_too_large", "adapter_not_finite", the sink's. */
int gguf_peft_convert(const struct model *m, int fd, const struct gguf_sink *sink, struct err *e);
