/* Packed weights of a model: int8 or int4 copies of its linear layers in one block of memory, made in
 * parallel at the first start and kept in a file for the next. Built by one thread, immutable afterwards. For
 * core/model only.
 *
 * The file, DIRECTORY/<fingerprint>-<precision>: a header page, the block, SHA-256 of every chunk of the
 * block. It is read into memory of the process's own, which can have huge pages. One that is damaged, cut
 * short or of another version is made anew. */
#pragma once
#include "core/model/network.h"
#include "core/system/pool.h"

struct pack;

/* Fill `packed` of every linear layer that the model has. A cache that cannot be written is no error: the
 * block is then in private memory, and info.packed_state says why. Errors: "out_of_memory", "io_error". */
MUST_USE int pack_model(struct model *m, const struct model_options *o, struct pool *pool, struct err *e);
void pack_free(struct pack *p); /* NULL is fine */
