/* What tools write into adapter_config.json beside PEFT's own fields: notes about the training, the data, the
 * base or the tool, which say nothing about inference whatever their value. PEFT drops them on loading.
 * Static; any thread. */
#pragma once
#include <stdbool.h>

bool peft_note(const char *field);
