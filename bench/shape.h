/* The shapes of the random models: Qwen2's, by name or number by number. */
#pragma once
#include <stdbool.h>

struct shape {
    int layers, hidden, intermediate, heads, kv_heads, vocab, context;
};

/* The linear layers of one block, in the order of the network. */
enum { SHAPE_LINEARS = 7 };
struct shape_linear {
    const char *peft; /* "self_attn.q_proj" */
    const char *gguf; /* "attn_q" */
    int rows, cols;
    bool bias;
};
void shape_linears(const struct shape *s, struct shape_linear out[SHAPE_LINEARS]);

/* "0.5b", "1.5b": as Qwen2.5; "tiny": for tests. False for another name. */
bool shape_named(const char *name, struct shape *out);

/* Options for getopt_long that change one number of a shape; shape_option takes them, or ends the program. */
#define SHAPE_OPTIONS                                                                             \
    {"shape", required_argument, NULL, 's'}, {"layers", required_argument, NULL, 's'},            \
        {"hidden", required_argument, NULL, 's'}, {"intermediate", required_argument, NULL, 's'}, \
        {"heads", required_argument, NULL, 's'}, {"kv-heads", required_argument, NULL, 's'},      \
        {"vocab", required_argument, NULL, 's'},                                                  \
    {                                                                                             \
        "context", required_argument, NULL, 's'                                                   \
    }
void shape_option(struct shape *s, const char *name, const char *value);
void shape_check(const struct shape *s);
