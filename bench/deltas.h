/* Deltas without files: random A and B at every linear layer but the head. */
#pragma once
#include <stdint.h>

#include "core/delta/delta.h"
#include "core/model/model.h"

struct delta *deltas_random(const struct model *m, int rank, uint64_t seed);
