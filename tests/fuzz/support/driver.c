/* Where there is no libFuzzer: runs a target over files of a corpus, and over what becomes of them when they
 * are damaged at random. It sees nothing of the target but whether it survives. The options are libFuzzer's:
 *
 *     NAME_fuzz [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-max_len=BYTES] [-dict=FILE]
 * [-artifact_prefix=P] FILE|DIRECTORY...
 *
 * Without -runs and -max_total_time the corpus is replayed and nothing else. The input that a target dies of
 * is left in Pcrash-TARGET. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/support/fuzz.h"

enum { INPUT_SECONDS_MAX = 30, MUTATIONS_MAX = 8 };

struct bytes {
    uint8_t *data;
    size_t size;
};
struct list {
    struct bytes *items;
    size_t count, capacity;
};

static struct list corpus, words;
static size_t bytes_max = 64 << 10;
static uint64_t state;
static char artifact[PATH_MAX];
static struct bytes present; /* what the target is looking at */

static void add(struct list *l, const void *data, size_t size)
{
    if (l->count == l->capacity) {
        l->capacity = 2 * l->capacity + 64;
        l->items = realloc(l->items, l->capacity * sizeof *l->items);
        fuzz_check(l->items);
    }
    uint8_t *copy = malloc(size + 1);
    fuzz_check(copy);
    memcpy(copy, data, size);
    l->items[l->count++] = (struct bytes){copy, size};
}

/* ---- reading ---- */

static void read_file(const char *path)
{
    uint8_t *data = malloc(bytes_max);
    FILE *f = fopen(path, "rb");
    fuzz_check(data && f);
    add(&corpus, data, fread(data, 1, bytes_max, f));
    fclose(f);
    free(data);
}

static void read_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        read_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort); /* sorted: a seed means the same everywhere */
    fuzz_check(count >= 0);
    for (int i = 0; i < count; i++) {
        char inner[PATH_MAX];
        if (entries[i]->d_name[0] != '.') {
            fuzz_check(snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name) < (int)sizeof inner);
            read_path(inner);
        }
        free(entries[i]);
    }
    free(entries);
}

/* A line of a dictionary: name="text", with \\, \" and \xNN. */
static void read_word(char *line)
{
    char *text = strchr(line, '"'), *end = text ? strrchr(line, '"') : NULL, *out = text;
    if (line[0] == '#' || !text || end == text)
        return;
    for (char *at = text + 1; at < end; out++) {
        char digits[3] = {0};
        if (*at != '\\') {
            *out = *at++;
        } else if (at[1] == 'x' && at + 3 < end) {
            memcpy(digits, at + 2, 2);
            *out = (char)strtol(digits, NULL, 16);
            at += 4;
        } else {
            *out = at[1];
            at += 2;
        }
    }
    add(&words, text, (size_t)(out - text));
}

static void read_dictionary(const char *path)
{
    char line[256];
    FILE *f = fopen(path, "r");
    fuzz_check(f);
    while (fgets(line, sizeof line, f))
        read_word(line);
    fclose(f);
}

/* ---- damaging ---- */

static size_t below(size_t limit)
{
    /* xorshift64*: Vigna 2016. */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return limit ? (size_t)((state * UINT64_C(2685821657736338717)) >> 11) % limit : 0;
}

/* In the place of `old` bytes at `at` come `size` others, as far as there is room. */
static void put(struct bytes *b, size_t at, size_t old, const void *data, size_t size)
{
    size_t rest = b->size - at - old;
    if (at + size + rest > bytes_max)
        return;
    memmove(b->data + at + size, b->data + at + old, rest);
    memcpy(b->data + at, data, size);
    b->size = at + size + rest;
}

static void change_byte(struct bytes *b)
{
    static const uint8_t interesting[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '{', '[', '\\', '\n', ' ', '0'};
    size_t at = below(b->size);
    if (b->size)
        b->data[at] =
            below(2) ? interesting[below(sizeof interesting)] : (uint8_t)(b->data[at] ^ 1u << below(8));
}

static void erase(struct bytes *b)
{
    size_t at = below(b->size), size = 1 + below(below(8) ? 8 : b->size);
    if (b->size)
        put(b, at, size < b->size - at ? size : b->size - at, "", 0);
}

/* A part of an input, this one or another, in the place of a part of this one. */
static void splice_in(struct bytes *b, const struct bytes *from)
{
    size_t begin = below(from->size), size = 1 + below(below(4) ? 32 : from->size), at = below(b->size + 1);
    size_t old = below(2) ? 0 : below(size + 1);
    if (from->size == 0)
        return;
    if (size > from->size - begin)
        size = from->size - begin;
    uint8_t *copy = malloc(size);
    fuzz_check(copy);
    memcpy(copy, from->data + begin, size);
    put(b, at, old < b->size - at ? old : b->size - at, copy, size);
    free(copy);
}

/* A number in digits becomes another one. */
static void change_number(struct bytes *b)
{
    static const char *const numbers[] = {"0",
                                          "-1",
                                          "1",
                                          "255",
                                          "65536",
                                          "2147483648",
                                          "18446744073709551616",
                                          "1e999",
                                          "0.1",
                                          "9007199254740993",
                                          "-9223372036854775809"};
    size_t at = below(b->size), end = at;
    while (at < b->size && (b->data[at] < '0' || b->data[at] > '9'))
        at++;
    for (end = at; end < b->size && b->data[end] >= '0' && b->data[end] <= '9';)
        end++;
    const char *number = numbers[below(sizeof numbers / sizeof *numbers)];
    if (end > at)
        put(b, at, end - at, number, strlen(number));
}

static void mutate(struct bytes *b)
{
    for (size_t times = 1 + below(MUTATIONS_MAX); times > 0; times--)
        switch (below(8)) {
        case 0:
        case 1:
            change_byte(b);
            break;
        case 2:
            erase(b);
            break;
        case 3:
            splice_in(b, b);
            break;
        case 4:
            splice_in(b, &corpus.items[below(corpus.count)]);
            break;
        case 5:
            change_number(b);
            break;
        default:
            if (words.count) {
                const struct bytes *word = &words.items[below(words.count)];
                put(b, below(b->size + 1), 0, word->data, word->size);
            } else
                change_byte(b);
        }
}

/* ---- running ---- */

static void keep_input(void)
{
    int fd = open(artifact, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    static const char note[] = "the input is in ";
    if (fd < 0 || write(fd, present.data, present.size) != (ssize_t)present.size)
        return;
    (void)!write(STDERR_FILENO, note, sizeof note - 1);
    (void)!write(STDERR_FILENO, artifact, strlen(artifact));
    (void)!write(STDERR_FILENO, "\n", 1);
}

static void die(int number)
{
    static const char slow[] = "one input took too long\n";
    if (number == SIGALRM)
        (void)!write(STDERR_FILENO, slow, sizeof slow - 1);
    keep_input();
    signal(number == SIGALRM ? SIGABRT : number, SIG_DFL);
    raise(number == SIGALRM ? SIGABRT : number);
}

/* The sanitizers end a process in their own way, after a call to this. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], die);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
}

/* The target gets memory of just this size, so that a sanitizer sees it read too far. */
static void run(const uint8_t *data, size_t size)
{
    present.data = malloc(size ? size : 1);
    fuzz_check(present.data);
    if (size > 0)
        memcpy(present.data, data, size);
    present.size = size;
    alarm(INPUT_SECONDS_MAX);
    fuzz_check(LLVMFuzzerTestOneInput(present.data, size) == 0);
    alarm(0);
    free(present.data);
}

static long long option(const char *argument, const char *name, long long otherwise)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 ? strtoll(argument + length, NULL, 10) : otherwise;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    long long runs = -1, seconds = 0, seed = time(NULL);
    const char *prefix = "", *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    for (int i = 1; i < argc; i++) {
        runs = option(argv[i], "-runs=", runs);
        seconds = option(argv[i], "-max_total_time=", seconds);
        seed = option(argv[i], "-seed=", seed);
        bytes_max = (size_t)option(argv[i], "-max_len=", (long long)bytes_max);
        if (strncmp(argv[i], "-dict=", 6) == 0)
            read_dictionary(argv[i] + 6);
        if (strncmp(argv[i], "-artifact_prefix=", 17) == 0)
            prefix = argv[i] + 17;
    }
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            read_path(argv[i]);
    snprintf(artifact, sizeof artifact, "%scrash-%s", prefix, name);
    watch();
    double began = now_s();
    long long done = 0;
    run(NULL, 0);
    for (size_t i = 0; i < corpus.count; i++, done++)
        run(corpus.items[i].data, corpus.items[i].size);
    if (corpus.count == 0)
        add(&corpus, "", 0);
    printf("%s: seed %lld, %zu inputs of the corpus\n", name, seed, corpus.count);
    fflush(stdout);
    state = (uint64_t)seed * 2 + 1;
    struct bytes b = {malloc(bytes_max), 0};
    fuzz_check(b.data);
    for (long long i = 0; (runs >= 0 || seconds > 0) && (runs < 0 || i < runs); i++, done++) {
        if (seconds > 0 && now_s() - began > (double)seconds)
            break;
        if (i % 4 == 0 || b.size == 0) { /* otherwise on from what there is */
            const struct bytes *from = &corpus.items[below(corpus.count)];
            b.size = from->size;
            memcpy(b.data, from->data, from->size);
        }
        mutate(&b);
        run(b.data, b.size);
    }
    free(b.data);
    printf("%s: %lld executions in %.1f s\n", name, done, now_s() - began);
    return 0;
}
