/* What a delta is made of. For core/model only. */
#pragma once
#include "core/kernels/lowrank.h"
#include "core/model/delta.h"

/* The delta's part of a site, or NULL where it changes nothing. `d` may be NULL. */
const struct lowrank *delta_at(const struct delta *d, int site);
