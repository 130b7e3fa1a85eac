/* Cosines and sines of rotations at tokens' positions, and what else depends on a position. For core/forward
 * and core/train. */
#pragma once
#include "core/forward/scratch.h"

/* Of one token. */
struct angles {
    float *cosine, *sine; /* [rope.dim / 2] */
};
struct angles angles_at(const struct forward *f, int rope, int t);
/* Compute them for the batch in hand. */
void angles_find(struct forward *f, int rope, int t);
/* By which q grows at a position. */
float angles_query_factor(const struct config *c, int position);
