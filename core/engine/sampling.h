/* How a request wants its tokens chosen, and what is said about each that was. Plain data: what is pointed to
 * belongs to whoever fills it in. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    SAMPLING_LOGPROBS_MAX = 20,
    SAMPLING_BIASES_MAX = 1024,
    SAMPLING_STOP_TOKENS_MAX = 128,
    SAMPLING_BANS_MAX = 1024,
    SAMPLING_BAN_TOKENS_MAX = 1 << 14 /* of all bans together */
};

struct constraint; /* constraint.h */

struct sampling_bias {
    int32_t token;
    float bias;
};

/* A sequence of tokens that must not come. */
struct sampling_ban {
    int begin, count; /* of ban_tokens; at least one */
};

struct sampling {
    float temperature; /* 0: greedy, ties go to the lowest id */
    float top_p;       /* 0 < top_p <= 1; 1: off */
    float min_p;       /* 0..1; 0: off */
    int top_k;         /* 0: off */
    uint64_t seed;
    int max_tokens; /* 0 or more new tokens */
    int min_tokens; /* before that many no token ends the run */
    bool ignore_eos;
    int logprobs; /* -1: none; 0..SAMPLING_LOGPROBS_MAX: the token's own and that many of the likeliest */

    float repetition_penalty;                  /* of what stands in prompt or answer; 0 and 1: off */
    float frequency_penalty, presence_penalty; /* of what stands in the answer; 0: off */
    const struct sampling_bias *biases;        /* [bias_count], each token once */
    int bias_count;
    const struct sampling_ban *bans; /* [ban_count] */
    const int32_t *ban_tokens;       /* [ban_token_count] */
    int ban_count, ban_token_count;
    const int32_t *stop_tokens; /* [stop_token_count]: they end the run as the model's end tokens do */
    int stop_token_count;
    const int32_t *end_tokens; /* [end_token_count]: in the place of the model's end tokens; NULL: these */
    int end_token_count;
    struct constraint
        *constraint; /* what the answer has to be; the engine's once it was submitted; NULL: anything */
};

struct engine_logprob {
    int32_t token;
    float logprob; /* of the model's distribution, before whatever `struct sampling` asks for */
};

struct engine_token {
    int32_t token;
    float logprob; /* set when logprobs were asked for */
    int top_count;
    struct engine_logprob top[SAMPLING_LOGPROBS_MAX];
};
