/* Download an adapter: the very files that were uploaded, each compared with its SHA-256, and all in their
 * places or none. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/lib/commands.h"
#include "cli/lib/interrupt.h"
#include "cli/lib/path.h"
#include "cli/lib/progress.h"
#include "core/system/file.h"
#include "core/base/sha256.h"

/* The first two are always there, the others where the adapter brought them. */
enum { FILES = 6, NAME_BYTES = 64 };

static const char *const file_names[FILES] = {"adapter_config.json",    "adapter_model.safetensors",
                                              "tokenizer_config.json",  "chat_template.jinja",
                                              "generation_config.json", "added_tokens.json"};

struct file {
    bool wanted;
    char temporary[NAME_BYTES + 24]; /* in the directory; "": none */
    const char *sha256;              /* borrowed from the answer */
    uint64_t bytes, received;
    int fd;
    struct sha256 hash;
};

struct download {
    struct context *context;
    const char *name, *tenant, *version; /* version: all 64 digits */
    int directory_fd, force;
    struct file file[FILES], *current;
    struct progress progress;
    uint64_t total, done;
};

/* ---- which version ---- */

/* The entry of "versions" that is active. */
static const json_t *find_active(const json_t *adapter, struct err *e)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(adapter, "versions"), i, entry)
    {
        if (json_is_true(json_object_get(entry, "active")))
            return entry;
    }
    err_set(e, "version_not_found", "the adapter has no active version; name one: NAME@VERSION");
    return NULL;
}

static bool is_digest(const char *hex)
{
    uint8_t bytes[SHA256_BYTES];
    return hex && hex_decode(hex, bytes, sizeof bytes) == 0;
}

static void read_file(struct download *d, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    for (size_t i = 0; i < FILES && name; i++) {
        if (strcmp(name, file_names[i]) != 0 || d->file[i].wanted)
            continue;
        d->file[i].sha256 = json_string_value(json_object_get(entry, "sha256"));
        d->file[i].bytes = (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
        d->file[i].wanted = is_digest(d->file[i].sha256);
        d->total += d->file[i].bytes;
    }
}

static int read_files(struct download *d, const json_t *version, struct err *e)
{
    const json_t *entry;
    size_t i;
    d->version = path_digits(json_string_value(json_object_get(version, "version")));
    json_array_foreach(json_object_get(version, "files"), i, entry) read_file(d, entry);
    if (is_digest(d->version) && d->file[0].wanted && d->file[1].wanted)
        return 0;
    return err_set(e, "not_an_adapter", "%s answered with something that is no adapter",
                   client_url(d->context->client));
}

/* ---- the files ---- */

static int take(void *arg, const char *data, size_t length, struct err *e)
{
    struct download *d = arg;
    struct file *f = d->current;
    if (length > f->bytes - f->received)
        return err_set(e, "file_damaged", "more bytes came than the %llu that were announced",
                       (unsigned long long)f->bytes);
    if (file_write_all(f->fd, data, length, e) != 0)
        return -1;
    sha256_update(&f->hash, data, length);
    f->received += length;
    d->done += length;
    progress_show(&d->progress, d->done, d->total);
    return 0;
}

static int file_path(const struct download *d, size_t i, struct buf *path, struct err *e)
{
    if (path_adapter(path, d->name, d->version) != 0 || buf_append_string(path, "/files") != 0 ||
        path_segment(path, file_names[i]) != 0 || (d->tenant && path_query(path, "tenant", d->tenant) != 0))
        return err_memory(e);
    return 0;
}

static int check_file(struct file *f, const char *name, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    sha256_final(&f->hash, digest);
    hex_encode(digest, sizeof digest, hex);
    if (f->received != f->bytes || strcmp(hex, f->sha256) != 0)
        return err_set(e, "file_damaged", "%s came with the SHA-256 %s, expected %s", name, hex, f->sha256);
    return fsync(f->fd) == 0 ? 0 : err_errno(e, "cannot sync %s", name);
}

static int fetch(struct download *d, size_t i, struct err *e)
{
    struct file *f = &d->file[i];
    struct buf path = {0};
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, hex);
    snprintf(f->temporary, sizeof f->temporary, ".%s.%s", file_names[i], hex);
    f->fd = openat(d->directory_fd, f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        f->temporary[0] = '\0';
        return err_errno(e, "cannot create a file in the directory");
    }
    sha256_init(&f->hash);
    d->current = f;
    int result = file_path(d, i, &path, e);
    if (result == 0)
        result = client_fetch(d->context->client, path.data, take, d, e);
    buf_fini(&path);
    return result == 0 ? check_file(f, file_names[i], e) : -1;
}

static int exists(const char *name, struct err *e)
{
    err_set(e, "exists", "%s is there already", name);
    return err_hint(e, "name another directory, or give --force to replace it");
}

static int check_free(const struct download *d, struct err *e)
{
    struct stat s;
    for (size_t i = 0; i < FILES && !d->force; i++)
        if (d->file[i].wanted && fstatat(d->directory_fd, file_names[i], &s, AT_SYMLINK_NOFOLLOW) == 0)
            return exists(file_names[i], e);
    return 0;
}

static int place(struct download *d, size_t i, struct err *e)
{
    struct file *f = &d->file[i];
    if (renameat2(d->directory_fd, f->temporary, d->directory_fd, file_names[i],
                  d->force ? 0 : RENAME_NOREPLACE) != 0)
        return errno == EEXIST ? exists(file_names[i], e)
                               : err_errno(e, "cannot rename to %s", file_names[i]);
    f->temporary[0] = '\0';
    return 0;
}

static int place_all(struct download *d, struct err *e)
{
    for (size_t i = 0; i < FILES; i++) {
        if (!d->file[i].wanted || place(d, i, e) == 0)
            continue;
        while (i-- > 0 && !d->force)
            if (d->file[i].wanted)
                unlinkat(d->directory_fd, file_names[i], 0);
        return -1;
    }
    return fsync(d->directory_fd) == 0 ? 0 : err_errno(e, "cannot sync the directory");
}

static int fetch_all(struct download *d, const char *directory, struct err *e)
{
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return err_errno(e, "cannot make directory %s", directory);
    d->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->directory_fd < 0)
        return err_errno(e, "cannot open directory %s", directory);
    if (check_free(d, e) != 0)
        return -1;
    progress_begin(&d->progress);
    int result = 0;
    for (size_t i = 0; i < FILES && result == 0; i++)
        result = d->file[i].wanted ? fetch(d, i, e) : 0;
    progress_end(&d->progress);
    return result == 0 ? place_all(d, e) : -1;
}

static void download_fini(struct download *d)
{
    for (size_t i = 0; i < FILES; i++) {
        if (d->file[i].fd >= 0)
            close(d->file[i].fd);
        if (d->file[i].temporary[0])
            unlinkat(d->directory_fd, d->file[i].temporary, 0);
    }
    if (d->directory_fd >= 0)
        close(d->directory_fd);
}

/* ---- the command ---- */

static int download(struct download *d, const struct args *a, const json_t *version, struct err *e)
{
    if (!version || read_files(d, version, e) != 0 || fetch_all(d, a->operand[1], e) != 0)
        return -1;
    if (d->context->json)
        return print_json(version, e);
    printf("sha256:%s of adapter %s is in %s\n", d->version, d->name, a->operand[1]);
    return 0;
}

/* `wanted` NULL: the version that is active. */
static int show_and_download(struct download *d, const struct args *a, const char *wanted, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = path_adapter(&path, d->name, wanted) != 0 ||
                         (d->tenant && path_query(&path, "tenant", d->tenant) != 0)
                     ? err_memory(e)
                     : client_call(d->context->client, "GET", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    const json_t *version = wanted ? answer.json : find_active(answer.json, e);
    bool more = !wanted && json_is_string(json_object_get(version, "settings"));
    /* The list of versions names the two files of each that are always there. */
    result =
        more ? show_and_download(d, a, path_digits(json_string_value(json_object_get(version, "version"))), e)
             : download(d, a, version, e);
    answer_fini(&answer);
    return result;
}

int versions_download(struct context *c, const struct args *a, struct err *e)
{
    char *name;
    const char *version;
    if (path_reference(a->operand[0], &name, &version, e) != 0)
        return -1;
    struct download d = {.context = c,
                         .name = name,
                         .tenant = args_get(a, "--tenant"),
                         .directory_fd = -1,
                         .force = args_get(a, "--force") != NULL};
    for (size_t i = 0; i < FILES; i++)
        d.file[i].fd = -1;
    interrupt_catch();
    int result = show_and_download(&d, a, version, e);
    download_fini(&d);
    free(name);
    return result;
}
