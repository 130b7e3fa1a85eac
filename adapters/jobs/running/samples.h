/* What the base and the new adapter answer to the first validation prompts, for a person to see the
 * difference. */
#pragma once
#include "adapters/jobs/running/live.h"

enum { SAMPLES_MAX = 3 };

/* {"samples": [{"prompt", "expected", "base", "adapter"}]}; left empty where there are no validation data, or
 * no text. Blocks, not the engine. A prompt that the engine does not take is left out. */
MUST_USE int samples_run(struct runner *r, const struct live *l, struct buf *out, struct err *e);
