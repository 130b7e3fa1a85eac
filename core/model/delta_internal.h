/* What a delta is made of. For core/model only. */
#pragma once
#include "core/model/delta.h"

struct lowrank {
    int rank;
    const float *a;  /* [rank, in] */
    const float *bt; /* [rank, out]: B transposed, the scale folded in */
};

/* The delta's part of a site, or NULL where it changes nothing. `d` may be NULL. */
const struct lowrank *delta_at(const struct delta *d, int site);
