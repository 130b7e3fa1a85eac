/* What the daemon was told: flags, ADAPTERD_ environment, --config file, defaults, in that order. Caller's
 * storage; written once by config_load, read by all threads afterwards. Opens nothing but the configuration
 * file. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/dialogue/call_format.h"
#include "core/model/model.h"
#include "core/tokenizer/tokenizer.h"
#include "server/base/pooling.h"

struct config {
    char *model, *data; /* directories; owned, as all strings here */
    char *model_name;   /* NULL: from the directory */
    char *listen;       /* as given: "127.0.0.1:8080" */
    char *host, *port;  /* its two halves, brackets of IPv6 removed */
    enum precision precision;
    bool kv_int8;         /* keys and values as int8 */
    char *packed_cache;   /* directory; NULL: none */
    char *admin_key_file; /* NULL: DATA/admin.key */
    char *cors_origins;   /* with commas between them, or "*"; NULL: none */
    enum tokenizer_pipeline tokenizer;
    int context;        /* tokens of one sequence at most; 0: what the model has */
    bool no_generation; /* sampling defaults of the model are not used */
    enum pooling_kind pooling;
    const struct call_format *tool_format; /* static; NULL: that of the chat template */
    bool tools_unread, thoughts_unread;    /* calls and thoughts are words */
    int threads;                           /* 0: as many as the process may use */
    int connections;                       /* open at most */
    int connections_address;          /* of these without a key, from one address; -1: a quarter, 0: any */
    int max_batch;                    /* sequences that run at the same time */
    uint64_t kv_bytes, adapter_bytes; /* 0: from the machine's memory */
    uint64_t training_bytes;          /* 0: from the machine's memory, unless */
    bool no_training;                 /* nobody trains */
    int training_turn_s;              /* seconds that a job keeps its place from a tenant that has none */
    double training_share;            /* of the time while requests run, less than 1 */
    bool no_speculation;              /* one token of a sequence in a step */
    bool accept_base;                 /* versions of another base are proved on this one */
    bool no_auth, metrics_open, metrics_vllm, log_json, check, help, version;
};

enum {
    CONFIG_FILE_BYTES_MAX = 64 << 10,
    CONFIG_MAX_BATCH_DEFAULT = 64,
    CONFIG_MODEL_NAME_MAX = 100,
    CONFIG_ORIGIN_BYTES_MAX = 255,
    CONFIG_CONNECTIONS_DEFAULT = 4096,
    CONFIG_TRAINING_PERCENT_DEFAULT = 20,
    CONFIG_TRAINING_TURN_DEFAULT = 300,
    CONFIG_TRAINING_TURN_MAX = 86400,
    CONFIG_TRAINING_PERCENT_MAX = 90,
    CONFIG_CONNECTIONS_MAX = 32768
};

/* `environment` is a NULL-terminated list of NAME=value. Error code "usage": what is wrong, in one line. */
MUST_USE int config_load(struct config *c, int argc, char *const *argv, char *const *environment,
                         struct err *e);
void config_fini(struct config *c);
/* The text of --help; static. */
const char *config_help(void);

/* "64M" -> bytes; K, M and G are powers of 1024. -1 for anything else or beyond 2^62. */
int config_parse_size(const char *text, uint64_t *out);
/* Are these origins of web pages with commas between them, or "*"? */
bool config_origins_valid(const char *text);
/* "127.0.0.1:8080", "[::1]:0", "localhost:80" -> new strings. -1 for anything else. */
int config_parse_address(const char *text, char **host, char **port);
