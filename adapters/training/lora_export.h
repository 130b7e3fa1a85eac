/* Trained numbers as the two files of an adapter, as PEFT's save_pretrained writes them:
 * PeftModel.from_pretrained loads them, and so does peft.h. Writes through a function of the caller's, in
 * pieces; any thread. */
#pragma once
#include <stdint.h>

#include "adapters/training/lora_plan.h"

/* adapter_config.json. Errors: those of `write`; "out_of_memory". */
MUST_USE int lora_export_config(const struct lora_plan *p,
                                int (*write)(void *arg, const void *data, size_t length, struct err *e),
                                void *arg, struct err *e);
/* adapter_model.safetensors, in f32. */
MUST_USE int lora_export_weights(const struct train_params *p,
                                 int (*write)(void *arg, const void *data, size_t length, struct err *e),
                                 void *arg, struct err *e);
/* The gradients in the place of the values, by the same names. */
MUST_USE int lora_export_gradients(const struct train_params *p,
                                   int (*write)(void *arg, const void *data, size_t length, struct err *e),
                                   void *arg, struct err *e);
