#include "server/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/system/file.h"

enum option {
    OPTION_MODEL,
    OPTION_MODEL_NAME,
    OPTION_DATA,
    OPTION_LISTEN,
    OPTION_PRECISION,
    OPTION_KV_PRECISION,
    OPTION_CONTEXT,
    OPTION_GENERATION_CONFIG,
    OPTION_POOLING,
    OPTION_TOKENIZER,
    OPTION_TOOL_FORMAT,
    OPTION_REASONING_FORMAT,
    OPTION_PACKED_CACHE,
    OPTION_THREADS,
    OPTION_KV_MEMORY,
    OPTION_ADAPTER_MEMORY,
    OPTION_TRAINING_MEMORY,
    OPTION_TRAINING_SHARE,
    OPTION_TRAINING_TURN,
    OPTION_MAX_BATCH,
    OPTION_SPECULATION,
    OPTION_ADMIN_KEY_FILE,
    OPTION_NO_AUTH,
    OPTION_METRICS_OPEN,
    OPTION_METRICS_VLLM,
    OPTION_ACCEPT_BASE,
    OPTION_CORS_ORIGIN,
    OPTION_CONNECTIONS,
    OPTION_CONNECTIONS_ADDRESS,
    OPTION_LOG_FORMAT,
    OPTION_CONFIG,
    OPTION_CHECK,
    OPTION_HELP,
    OPTION_VERSION,
    OPTIONS
};

static const struct {
    const char *name, *env;
    bool is_switch;      /* takes no value on the command line */
    const char *initial; /* default; NULL: none */
} options[OPTIONS] = {
    [OPTION_MODEL] = {"model", "ADAPTERD_MODEL", false, NULL},
    [OPTION_MODEL_NAME] = {"model-name", "ADAPTERD_MODEL_NAME", false, NULL},
    [OPTION_DATA] = {"data", "ADAPTERD_DATA", false, NULL},
    [OPTION_LISTEN] = {"listen", "ADAPTERD_LISTEN", false, "127.0.0.1:8080"},
    [OPTION_PRECISION] = {"precision", "ADAPTERD_PRECISION", false, NULL},
    [OPTION_KV_PRECISION] = {"kv-precision", "ADAPTERD_KV_PRECISION", false, "bf16"},
    [OPTION_CONTEXT] = {"context", "ADAPTERD_CONTEXT", false, NULL},
    [OPTION_GENERATION_CONFIG] = {"generation-config", "ADAPTERD_GENERATION_CONFIG", false, "on"},
    [OPTION_POOLING] = {"pooling", "ADAPTERD_POOLING", false, "files"},
    [OPTION_TOKENIZER] = {"tokenizer", "ADAPTERD_TOKENIZER", false, "file"},
    [OPTION_TOOL_FORMAT] = {"tool-format", "ADAPTERD_TOOL_FORMAT", false, "auto"},
    [OPTION_REASONING_FORMAT] = {"reasoning-format", "ADAPTERD_REASONING_FORMAT", false, "auto"},
    [OPTION_PACKED_CACHE] = {"packed-cache", "ADAPTERD_PACKED_CACHE", false, NULL},
    [OPTION_THREADS] = {"threads", "ADAPTERD_THREADS", false, "0"},
    [OPTION_KV_MEMORY] = {"kv-memory", "ADAPTERD_KV_MEMORY", false, NULL},
    [OPTION_ADAPTER_MEMORY] = {"adapter-memory", "ADAPTERD_ADAPTER_MEMORY", false, NULL},
    [OPTION_TRAINING_MEMORY] = {"training-memory", "ADAPTERD_TRAINING_MEMORY", false, NULL},
    [OPTION_TRAINING_SHARE] = {"training-share", "ADAPTERD_TRAINING_SHARE", false, NULL},
    [OPTION_TRAINING_TURN] = {"training-turn", "ADAPTERD_TRAINING_TURN", false, NULL},
    [OPTION_MAX_BATCH] = {"max-batch", "ADAPTERD_MAX_BATCH", false, NULL},
    [OPTION_SPECULATION] = {"speculation", "ADAPTERD_SPECULATION", false, "auto"},
    [OPTION_ADMIN_KEY_FILE] = {"admin-key-file", "ADAPTERD_ADMIN_KEY_FILE", false, NULL},
    [OPTION_NO_AUTH] = {"no-auth", "ADAPTERD_NO_AUTH", true, "false"},
    [OPTION_METRICS_OPEN] = {"metrics-open", "ADAPTERD_METRICS_OPEN", true, "false"},
    [OPTION_METRICS_VLLM] = {"metrics-vllm", "ADAPTERD_METRICS_VLLM", true, "false"},
    [OPTION_ACCEPT_BASE] = {"accept-base", "ADAPTERD_ACCEPT_BASE", true, "false"},
    [OPTION_CORS_ORIGIN] = {"cors-origin", "ADAPTERD_CORS_ORIGIN", false, NULL},
    [OPTION_CONNECTIONS] = {"connections", "ADAPTERD_CONNECTIONS", false, NULL},
    [OPTION_CONNECTIONS_ADDRESS] = {"connections-per-address", "ADAPTERD_CONNECTIONS_PER_ADDRESS", false,
                                    NULL},
    [OPTION_LOG_FORMAT] = {"log-format", "ADAPTERD_LOG_FORMAT", false, "text"},
    [OPTION_CONFIG] = {"config", "ADAPTERD_CONFIG", false, NULL},
    [OPTION_CHECK] = {"check", "ADAPTERD_CHECK", true, "false"},
    [OPTION_HELP] = {"help", NULL, true, "false"},
    [OPTION_VERSION] = {"version", NULL, true, "false"},
};

struct values {
    char *text[OPTIONS];      /* owned; NULL: not given yet */
    char origin[OPTIONS][64]; /* for messages: "--threads", "ADAPTERD_THREADS", "threads in FILE" */
};

const char *config_help(void)
{
    return "usage: adapterd --model DIR --data DIR [options]\n"
           "\n"
           "Serves one base model and many tenants' LoRA adapters over HTTP.\n"
           "\n"
           "  --model DIR             base model, a Hugging Face directory (required)\n"
           "  --model-name NAME       what the base is called in the API (its directory's name)\n"
           "  --data DIR              adapters, tenants, keys (required; created when missing)\n"
           "  --listen ADDRESS        host:port, port 0 takes a free one (127.0.0.1:8080)\n"
           "  --precision KIND        exact, int8 or int4 (int8; exact for numeric models)\n"
           "  --kv-precision KIND     bf16 or int8: keys and values, where precision is not exact (bf16)\n"
           "  --context N             tokens of one sequence at most (what the model has)\n"
           "  --generation-config on|off  sampling defaults of the model's generation_config.json (on)\n"
           "  --pooling KIND          of vectors: files (sentence-transformers'), last or mean (files)\n"
           "  --tokenizer KIND        class: LlamaTokenizer as transformers 5 makes it (file)\n"
           "  --tool-format NAME      how the model writes calls of tools; off: not read (auto: by its "
           "template)\n"
           "  --reasoning-format auto|off  thoughts are told from words (auto)\n"
           "  --packed-cache DIR|off  keeps int8 and int4 weights for the next start (DATA/packed)\n"
           "  --threads N             compute threads (0: as many as the process may use)\n"
           "  --kv-memory SIZE        memory for keys and values (from the machine's memory)\n"
           "  --adapter-memory SIZE   memory for loaded adapters (from the machine's memory)\n"
           "  --training-memory SIZE  memory for training; 0: no training (from the machine's memory)\n"
           "  --training-share PERCENT  of the time, for training while requests run, 0..90 (20)\n"
           "  --training-turn SECONDS  of a job, when tenants that have none running wait (300)\n"
           "  --max-batch N           requests computed together, 1..4096 (64)\n"
           "  --speculation auto|off  tokens that copy the text are checked several at a time (auto)\n"
           "  --admin-key-file FILE   the admin keys, made when missing (DATA/admin.key)\n"
           "  --no-auth               everybody is admin; loopback addresses only\n"
           "  --metrics-open          GET /metrics needs no key\n"
           "  --metrics-vllm          GET /metrics has the names of vLLM, too, and those of adapters\n"
           "  --accept-base           prove adapters of another base on this one, then serve them\n"
           "  --cors-origin ORIGIN    web pages that may ask: http://host:port, or * for all; again for "
           "more\n"
           "  --connections N         open connections at most, 16..32768 (4096, if so many files may be)\n"
           "  --connections-per-address N   of these, without a key from one address; 0: any (a quarter)\n"
           "  --log-format text|json  log lines on standard error (text)\n"
           "  --config FILE           lines of `name = value` with the names above\n"
           "  --check                 check configuration and model, print a summary, exit\n"
           "  --help, --version\n"
           "\n"
           "Sizes take K, M, G. Each option has an environment variable, ADAPTERD_ and its name in capitals\n"
           "with _ for -. Order: command line, environment, file, default.\n";
}

static int usage(struct err *e, const char *origin, const char *problem)
{
    return err_set(e, "usage", "%s: %s", origin, problem);
}

static int find_option(const char *name, size_t length)
{
    for (int i = 0; i < OPTIONS; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
            return i;
    return -1;
}

/* Values that come one after the other are one list. */
static int add_value(struct values *v, int option, const char *text, struct err *e)
{
    char *list;
    if (asprintf(&list, "%s,%s", v->text[option], text) < 0)
        return err_memory(e);
    free(v->text[option]);
    v->text[option] = list;
    return 0;
}

static bool is_list(int option)
{
    return option == OPTION_CORS_ORIGIN;
}

static int set_value(struct values *v, int option, const char *text, const char *origin, struct err *e)
{
    v->text[option] = strdup(text);
    if (!v->text[option])
        return err_memory(e);
    snprintf(v->origin[option], sizeof v->origin[option], "%s", origin);
    return 0;
}

/* One argument, --name, --name=value or --name followed by its value; *i moves past what was used. */
static int read_argument(struct values *v, int argc, char *const *argv, int *i, struct err *e)
{
    const char *argument = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
    if (strncmp(argument, "--", 2) != 0 || !argument[2])
        return err_set(e, "usage", "unexpected argument \"%s\" (see --help)", argument);
    const char *name = argument + 2, *equals = strchr(name, '=');
    int option = find_option(name, equals ? (size_t)(equals - name) : strlen(name));
    if (option < 0)
        return err_set(e, "usage", "unknown option \"%s\" (see --help)", argument);
    char origin[64];
    snprintf(origin, sizeof origin, "--%s", options[option].name);
    if (v->text[option] && !is_list(option))
        return usage(e, origin, "given twice");
    if (options[option].is_switch) {
        if (equals)
            return usage(e, origin, "takes no value");
        return set_value(v, option, "true", origin, e);
    }
    const char *value = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
    if (!value || !*value)
        return usage(e, origin, "needs a value");
    if (v->text[option])
        return add_value(v, option, value, e);
    return set_value(v, option, value, origin, e);
}

static const char *environment_value(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* An empty variable counts as not set: that is how compose files leave one out. */
static int read_environment(struct values *v, char *const *environment, struct err *e)
{
    for (int i = 0; i < OPTIONS; i++) {
        const char *value = options[i].env ? environment_value(environment, options[i].env) : NULL;
        if (value && *value && !v->text[i] && set_value(v, i, value, options[i].env, e) != 0)
            return -1;
    }
    return 0;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static int read_line(struct values *v, bool *seen, char *line, int number, const char *path, struct err *e)
{
    line = trim(line);
    if (!*line || *line == '#')
        return 0;
    char *equals = strchr(line, '=');
    if (!equals)
        return err_set(e, "usage", "%s, line %d: expected \"name = value\"", path, number);
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    int option = find_option(name, strlen(name));
    if (option < 0 || !options[option].env || option == OPTION_CONFIG)
        return err_set(e, "usage", "%s, line %d: unknown setting \"%s\"", path, number, name);
    if (!*value)
        return err_set(e, "usage", "%s, line %d: %s needs a value", path, number, name);
    if (seen[option])
        return err_set(e, "usage", "%s, line %d: %s given twice", path, number, name);
    seen[option] = true;
    char origin[64];
    snprintf(origin, sizeof origin, "%s in %s", name, path);
    return v->text[option] ? 0 : set_value(v, option, value, origin, e);
}

static int read_file(struct values *v, const char *path, struct err *e)
{
    struct buf content = {0};
    struct err cause;
    if (file_read(path, CONFIG_FILE_BYTES_MAX, &content, &cause) != 0) {
        buf_fini(&content);
        return err_set(e, "usage", "--config: %s", cause.message);
    }
    bool seen[OPTIONS] = {false};
    char *save = NULL, *rest = content.data;
    int result = 0;
    for (int number = 1; result == 0 && rest && (save = strsep(&rest, "\n")); number++)
        result = read_line(v, seen, save, number, path, e);
    buf_fini(&content);
    return result;
}

/* scheme://host or scheme://host:port, as browsers write it: no path, no upper case. */
static bool origin_valid(const char *text, size_t length)
{
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    if (scheme == 0 || length > CONFIG_ORIGIN_BYTES_MAX || scheme + 3 >= length ||
        memcmp(text + scheme, "://", 3) != 0)
        return false;
    return strspn(text + scheme + 3, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") >= length - scheme - 3;
}

bool config_origins_valid(const char *text)
{
    if (strcmp(text, "*") == 0)
        return true;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (!origin_valid(text, length))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
}

int config_parse_size(const char *text, uint64_t *out)
{
    if (!isdigit((unsigned char)*text))
        return -1;
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    int shift = 0;
    if (errno)
        return -1;
    if (*end) {
        const char *letter = strchr("kKmMgG", *end);
        if (!letter || end[1])
            return -1;
        shift = 10 * (1 + (int)(letter - "kKmMgG") / 2);
    }
    if (value > (UINT64_C(1) << 62) >> shift)
        return -1;
    *out = value << shift;
    return 0;
}

int config_parse_address(const char *text, char **host, char **port)
{
    const char *colon = strrchr(text, ':'), *begin = text;
    if (!colon || colon == text || !colon[1] || strlen(text) > 256)
        return -1;
    size_t length = (size_t)(colon - text);
    if (*text == '[') {
        if (length < 3 || text[length - 1] != ']')
            return -1;
        begin++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return -1; /* IPv6 without brackets: where does the port begin? */
    }
    char *end;
    for (const char *p = colon + 1; *p; p++)
        if (!isdigit((unsigned char)*p))
            return -1;
    if (strtoul(colon + 1, &end, 10) > 65535)
        return -1;
    *host = strndup(begin, length);
    *port = strdup(colon + 1);
    if (*host && *port)
        return 0;
    free(*host);
    free(*port);
    *host = *port = NULL;
    return -1;
}

static int unexpected(const struct values *v, enum option o, const char *expected, struct err *e)
{
    return err_set(e, "usage", "%s: expected %s, found \"%.64s\"", v->origin[o], expected, v->text[o]);
}

static int take_int(const struct values *v, enum option o, int low, int high, int *out, struct err *e)
{
    char *end, expected[64];
    const char *text = v->text[o];
    if (!text)
        return 0;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || value < low || value > high) {
        snprintf(expected, sizeof expected, "a number from %d to %d", low, high);
        return unexpected(v, o, expected, e);
    }
    *out = (int)value;
    return 0;
}

static int take_size(const struct values *v, enum option o, uint64_t *out, struct err *e)
{
    const char *text = v->text[o];
    if (!text)
        return 0;
    if (config_parse_size(text, out) != 0 || *out < 1 << 20 || *out > UINT64_C(1) << 46)
        return unexpected(v, o, "a size from 1M to 65536G, such as 512M", e);
    return 0;
}

/* 0 switches it off. */
static int take_training(struct config *c, const struct values *v, struct err *e)
{
    int percent = CONFIG_TRAINING_PERCENT_DEFAULT;
    const char *memory = v->text[OPTION_TRAINING_MEMORY];
    c->no_training = memory && strcmp(memory, "0") == 0;
    if (!c->no_training && take_size(v, OPTION_TRAINING_MEMORY, &c->training_bytes, e) != 0)
        return -1;
    if (take_int(v, OPTION_TRAINING_SHARE, 0, CONFIG_TRAINING_PERCENT_MAX, &percent, e) != 0)
        return -1;
    c->training_share = percent / 100.0;
    c->training_turn_s = CONFIG_TRAINING_TURN_DEFAULT;
    return take_int(v, OPTION_TRAINING_TURN, 1, CONFIG_TRAINING_TURN_MAX, &c->training_turn_s, e);
}

static int take_switch(const struct values *v, enum option o, bool *out, struct err *e)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(v->text[o], yes[i]) == 0 || strcmp(v->text[o], no[i]) == 0) {
            *out = strcmp(v->text[o], yes[i]) == 0;
            return 0;
        }
    }
    return unexpected(v, o, "true or false", e);
}

static int take_precision(struct config *c, const struct values *v, struct err *e)
{
    const char *text = v->text[OPTION_PRECISION];
    for (enum precision p = PRECISION_EXACT; text && p <= PRECISION_INT4; p++)
        if (strcmp(text, precision_name(p)) == 0)
            c->precision = p;
    if (text && c->precision == PRECISION_DEFAULT)
        return unexpected(v, OPTION_PRECISION, "exact, int8 or int4", e);
    const char *kv = v->text[OPTION_KV_PRECISION];
    c->kv_int8 = strcmp(kv, "int8") == 0;
    if (!c->kv_int8 && strcmp(kv, "bf16") != 0)
        return unexpected(v, OPTION_KV_PRECISION, "bf16 or int8", e);
    return 0;
}

static int take_generation_config(struct config *c, const struct values *v, struct err *e)
{
    const char *text = v->text[OPTION_GENERATION_CONFIG];
    c->no_generation = strcmp(text, "off") == 0;
    if (!c->no_generation && strcmp(text, "on") != 0)
        return unexpected(v, OPTION_GENERATION_CONFIG, "on or off", e);
    return 0;
}

static int take_pooling(struct config *c, const struct values *v, struct err *e)
{
    if (pooling_find(v->text[OPTION_POOLING], &c->pooling))
        return 0;
    return unexpected(v, OPTION_POOLING, "files, last or mean", e);
}

static int take_dialogue(struct config *c, const struct values *v, struct err *e)
{
    const char *tools = v->text[OPTION_TOOL_FORMAT], *reasoning = v->text[OPTION_REASONING_FORMAT];
    char expected[256] = "auto, off, ";
    c->tools_unread = strcmp(tools, "off") == 0;
    c->tool_format = call_format_named(tools, strlen(tools));
    call_format_names(expected + strlen(expected), sizeof expected - strlen(expected));
    if (!c->tool_format && !c->tools_unread && strcmp(tools, "auto") != 0)
        return unexpected(v, OPTION_TOOL_FORMAT, expected, e);
    c->thoughts_unread = strcmp(reasoning, "off") == 0;
    if (!c->thoughts_unread && strcmp(reasoning, "auto") != 0)
        return unexpected(v, OPTION_REASONING_FORMAT, "auto or off", e);
    return 0;
}

static int take_speculation(struct config *c, const struct values *v, struct err *e)
{
    const char *text = v->text[OPTION_SPECULATION];
    c->no_speculation = strcmp(text, "off") == 0;
    if (!c->no_speculation && strcmp(text, "auto") != 0)
        return unexpected(v, OPTION_SPECULATION, "auto or off", e);
    return 0;
}

/* A name that stands in addresses, headers and logs as it is. */
static int check_model_name(const struct values *v, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:+";
    const char *name = v->text[OPTION_MODEL_NAME];
    if (!name || (strlen(name) <= CONFIG_MODEL_NAME_MAX && name[strspn(name, allowed)] == '\0'))
        return 0;
    return unexpected(v, OPTION_MODEL_NAME, "at most 100 letters, digits and . _ - / : +", e);
}

/* What a page may do without a key, every page in the world could. */
static int check_origins(const struct values *v, bool no_auth, struct err *e)
{
    const char *origins = v->text[OPTION_CORS_ORIGIN];
    if (!origins)
        return 0;
    if (!config_origins_valid(origins))
        return unexpected(v, OPTION_CORS_ORIGIN, "http://host or https://host:port, or * alone", e);
    if (no_auth && strcmp(origins, "*") == 0)
        return usage(e, v->origin[OPTION_CORS_ORIGIN], "with --no-auth, the pages must be named");
    return 0;
}

/* DATA/packed unless it is told otherwise. */
static int take_packed_cache(struct config *c, struct values *v, struct err *e)
{
    const char *text = v->text[OPTION_PACKED_CACHE];
    if (text && strcmp(text, "off") == 0)
        return 0;
    if (!text && !c->data)
        return 0;
    c->packed_cache = text ? strdup(text) : file_join(c->data, "packed");
    return c->packed_cache ? 0 : err_memory(e);
}

static int take_words(struct config *c, const struct values *v, struct err *e)
{
    const char *format = v->text[OPTION_LOG_FORMAT];
    c->log_json = strcmp(format, "json") == 0;
    if (!c->log_json && strcmp(format, "text") != 0)
        return unexpected(v, OPTION_LOG_FORMAT, "text or json", e);
    const char *tokenizer = v->text[OPTION_TOKENIZER];
    c->tokenizer = strcmp(tokenizer, "class") == 0 ? TOKENIZER_OF_CLASS : TOKENIZER_OF_FILE;
    if (c->tokenizer == TOKENIZER_OF_FILE && strcmp(tokenizer, "file") != 0)
        return unexpected(v, OPTION_TOKENIZER, "file or class", e);
    if (config_parse_address(v->text[OPTION_LISTEN], &c->host, &c->port) != 0)
        return unexpected(v, OPTION_LISTEN, "host:port, such as 127.0.0.1:8080 or [::1]:8080", e);
    return take_precision(c, v, e) != 0 ? -1 : take_speculation(c, v, e);
}

static void take_text(struct values *v, enum option o, char **out)
{
    *out = v->text[o];
    v->text[o] = NULL;
}

static int take_values(struct config *c, struct values *v, struct err *e)
{
    c->max_batch = CONFIG_MAX_BATCH_DEFAULT;
    c->connections = CONFIG_CONNECTIONS_DEFAULT;
    c->connections_address = -1;
    if (take_switch(v, OPTION_HELP, &c->help, e) != 0 || take_switch(v, OPTION_VERSION, &c->version, e) != 0)
        return -1;
    if (c->help || c->version)
        return 0;
    if (take_switch(v, OPTION_CHECK, &c->check, e) != 0 ||
        take_switch(v, OPTION_NO_AUTH, &c->no_auth, e) != 0 ||
        take_switch(v, OPTION_METRICS_OPEN, &c->metrics_open, e) != 0 ||
        take_switch(v, OPTION_METRICS_VLLM, &c->metrics_vllm, e) != 0 ||
        take_switch(v, OPTION_ACCEPT_BASE, &c->accept_base, e) != 0 ||
        take_int(v, OPTION_THREADS, 0, 1024, &c->threads, e) != 0 ||
        take_int(v, OPTION_MAX_BATCH, 1, 4096, &c->max_batch, e) != 0 ||
        take_int(v, OPTION_CONNECTIONS, 16, CONFIG_CONNECTIONS_MAX, &c->connections, e) != 0 ||
        take_int(v, OPTION_CONNECTIONS_ADDRESS, 0, CONFIG_CONNECTIONS_MAX, &c->connections_address, e) != 0 ||
        take_int(v, OPTION_CONTEXT, 1, MODEL_CONTEXT_MAX, &c->context, e) != 0 ||
        check_model_name(v, e) != 0 || take_generation_config(c, v, e) != 0 || take_pooling(c, v, e) != 0 ||
        take_dialogue(c, v, e) != 0 || check_origins(v, c->no_auth, e) != 0 ||
        take_size(v, OPTION_KV_MEMORY, &c->kv_bytes, e) != 0 ||
        take_size(v, OPTION_ADAPTER_MEMORY, &c->adapter_bytes, e) != 0 || take_training(c, v, e) != 0 ||
        take_words(c, v, e) != 0)
        return -1;
    if (!v->text[OPTION_MODEL])
        return usage(e, "--model", "required: the directory of the base model (see --help)");
    if (!v->text[OPTION_DATA] && !c->check)
        return usage(e, "--data", "required: the directory for adapters, tenants and keys (see --help)");
    take_text(v, OPTION_MODEL, &c->model);
    take_text(v, OPTION_MODEL_NAME, &c->model_name);
    take_text(v, OPTION_DATA, &c->data);
    take_text(v, OPTION_LISTEN, &c->listen);
    take_text(v, OPTION_ADMIN_KEY_FILE, &c->admin_key_file);
    take_text(v, OPTION_CORS_ORIGIN, &c->cors_origins);
    return take_packed_cache(c, v, e);
}

static int gather(struct values *v, int argc, char *const *argv, char *const *environment, struct err *e)
{
    for (int i = 1; i < argc; i++)
        if (read_argument(v, argc, argv, &i, e) != 0)
            return -1;
    if (v->text[OPTION_HELP] || v->text[OPTION_VERSION])
        environment = NULL;
    if (read_environment(v, environment, e) != 0)
        return -1;
    if (v->text[OPTION_CONFIG] && read_file(v, v->text[OPTION_CONFIG], e) != 0)
        return -1;
    for (int i = 0; i < OPTIONS; i++)
        if (!v->text[i] && options[i].initial && set_value(v, i, options[i].initial, options[i].name, e) != 0)
            return -1;
    return 0;
}

int config_load(struct config *c, int argc, char *const *argv, char *const *environment, struct err *e)
{
    struct values v = {0};
    *c = (struct config){0};
    int result = gather(&v, argc, argv, environment, e);
    if (result == 0)
        result = take_values(c, &v, e);
    for (int i = 0; i < OPTIONS; i++)
        free(v.text[i]);
    if (result != 0)
        config_fini(c);
    return result;
}

void config_fini(struct config *c)
{
    free(c->model);
    free(c->model_name);
    free(c->data);
    free(c->listen);
    free(c->host);
    free(c->port);
    free(c->packed_cache);
    free(c->admin_key_file);
    free(c->cors_origins);
    *c = (struct config){0};
}
