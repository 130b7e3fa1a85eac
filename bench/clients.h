/* Clients of the engine: each has one request; all start together. Times are of
 * clock_ms. */
#pragma once
#include <stdint.h>

#include "bench/bench.h"
#include "core/engine/engine.h"

struct client {
    struct delta *delta; /* borrowed; NULL: bare base */
    int prompt, new_tokens;
    const int32_t *tokens;         /* of the prompt; borrowed. NULL: random */
    struct constraint *constraint; /* the engine's once it was submitted; NULL: none */
    double submitted_ms, finished_ms;
    double *at_ms; /* [count] when each token came; owned */
    int count;
    struct engine_done done;
    struct clients *all;
};

/* Submit all and wait for all. Prompts differ from call to call, so nothing is found in a prefix cache. */
void clients_run(struct engine *g, struct client *c, int count, struct bench_random *random);
void clients_fini(struct client *c, int count);

/* Tokens a second of all clients while every one of them decodes: from the last one's first token to the
 * first one's last. */
double clients_decode_rate(const struct client *c, int count);
/* New tokens a second from the start to the end of everything. */
double clients_rate(const struct client *c, int count);
/* Gather the times between tokens of all clients, in ms; returns how many, at most `room`. */
int clients_gaps(const struct client *c, int count, double *out, int room);
