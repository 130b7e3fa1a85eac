/* The modules of a model's network: finds the tensor of each in the files, checks its shape against the
 * config, and lists sites, parameters and paths as adapters name them. For core/model only. */
#pragma once
#include "core/model/network.h"

/* m->config, m->precision and m->weights are there. Matrices get their place, which fill.h fills; what is not
 * multiplied as stored is not kept there. Errors: "model_malformed"; "model_unsupported" for a tensor that is
 * no part of the network; "io_error"; "out_of_memory". */
MUST_USE int modules_load(struct model *m, struct err *e);
