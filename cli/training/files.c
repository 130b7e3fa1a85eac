#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/lib/list.h"
#include "cli/lib/path.h"
#include "cli/lib/progress.h"
#include "cli/training/training.h"
#include "core/base/sha256.h"
#include "core/system/file.h"

/* "/v1/files/ID/more?tenant=" */
static int file_path(struct buf *path, const char *id, const char *more, const struct args *a, struct err *e)
{
    const char *tenant = args_get(a, "--tenant"), *purpose = id ? NULL : args_get(a, "--purpose");
    if (id && path_check_name("a file", id, e) != 0)
        return -1;
    if (buf_append_string(path, "/v1/files") != 0 || (id && path_segment(path, id) != 0) ||
        buf_append_string(path, more) != 0 || (tenant && path_query(path, "tenant", tenant) != 0) ||
        (purpose && path_query(path, "purpose", purpose) != 0))
        return err_memory(e);
    return 0;
}

/* Seconds since 1970 as OpenAI's objects have them; null: never. */
static void add_seconds(struct table *t, const json_t *file, const char *name)
{
    const json_t *value = json_object_get(file, name);
    time_t seconds = (time_t)json_integer_value(value);
    struct tm tm;
    char text[32];
    bool known = json_is_integer(value) && gmtime_r(&seconds, &tm);
    table_add(t, known && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? text : NULL);
}

/* ---- list, show, delete ---- */

static int print_files(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "FILE|NAME|PURPOSE|>EXAMPLES|>BYTES|CREATED|EXPIRES");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "id");
        table_add_member(&t, row, "filename");
        table_add_member(&t, row, "purpose");
        table_add_member(&t, row, "examples");
        table_add_bytes(&t, row, "bytes");
        add_seconds(&t, row, "created_at");
        add_seconds(&t, row, "expires_at");
    }
    return table_print(&t, e);
}

int files_list(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    int result = file_path(&path, NULL, "", a, e);
    if (result == 0)
        result = list_show(c, a, path.data, &(struct list_view){.print = print_files}, e);
    buf_fini(&path);
    return result;
}

static int print_file(const json_t *file, struct err *e)
{
    struct table t;
    table_init(&t, "");
    t.columns = 2;
    for (const char *const *name = (const char *const[]){"id", "filename", "purpose", "examples", NULL};
         *name; name++) {
        table_add(&t, *name);
        table_add_member(&t, file, *name);
    }
    table_add(&t, "bytes");
    table_add_bytes(&t, file, "bytes");
    table_add(&t, "created");
    add_seconds(&t, file, "created_at");
    table_add(&t, "expires");
    add_seconds(&t, file, "expires_at");
    table_add(&t, "digest");
    table_add_member(&t, file, "digest");
    return table_print(&t, e);
}

static int show_answer(const struct context *c, struct answer *answer, struct err *e)
{
    int result = 0;
    if (c->json)
        print_answer(answer);
    else
        result = print_file(answer->json, e);
    answer_fini(answer);
    return result;
}

static int call(struct context *c, const char *method, const struct args *a, struct answer *answer,
                struct err *e)
{
    struct buf path = {0};
    int result = file_path(&path, a->operand[0], "", a, e);
    if (result == 0)
        result = client_call(c->client, method, path.data, NULL, answer, e);
    buf_fini(&path);
    return result;
}

int files_show(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    return call(c, "GET", a, &answer, e) == 0 ? show_answer(c, &answer, e) : -1;
}

int files_delete(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    if (call(c, "DELETE", a, &answer, e) != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        printf("deleted %s\n", a->operand[0]);
    answer_fini(&answer);
    return 0;
}

/* ---- upload ---- */

static int send_file(struct context *c, const char *path, const char *tenant, const char *seconds,
                     struct answer *answer, struct err *e)
{
    struct stat s;
    struct progress p;
    if (stat(path, &s) != 0)
        return err_errno(e, "cannot read %s", path);
    if (!S_ISREG(s.st_mode))
        return err_set(e, "not_a_file", "%s is not a file", path);
    const char *slash = strrchr(path, '/');
    struct client_part parts[] = {{.name = "tenant", .text = tenant},
                                  {.name = "purpose", .text = "fine-tune"},
                                  {.name = "expires_after[anchor]", .text = seconds ? "created_at" : NULL},
                                  {.name = "expires_after[seconds]", .text = seconds},
                                  {.name = "file", .path = path, .filename = slash ? slash + 1 : path}};
    const struct client_form form = {.path = "/v1/files",
                                     .parts = parts,
                                     .count = sizeof parts / sizeof *parts,
                                     .progress = progress_show,
                                     .arg = &p};
    progress_begin(&p);
    int result = client_send_form(c->client, &form, answer, e);
    progress_end(&p);
    return result;
}

int files_upload(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    int given;
    long long seconds;
    if (args_integer(a, "--expires-after", 3600, 2592000, &given, &seconds, e) != 0 ||
        send_file(c, a->operand[0], args_get(a, "--tenant"), args_get(a, "--expires-after"), &answer, e) != 0)
        return -1;
    return show_answer(c, &answer, e);
}

/* ---- for those that train ---- */

static int digest_of(const char *path, char hex[SHA256_HEX + 1], struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char block[1 << 16];
    struct sha256 hash;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_errno(e, "cannot read %s", path);
    sha256_init(&hash);
    for (size_t got; (got = fread(block, 1, sizeof block, f)) > 0;)
        sha256_update(&hash, block, got);
    int result = ferror(f) ? err_errno(e, "cannot read %s", path) : 0;
    fclose(f);
    sha256_final(&hash, digest);
    hex_encode(digest, sizeof digest, hex);
    return result;
}

/* NULL: none among the newest has it. Borrowed from the list. */
static const char *find_digest(const json_t *list, const char *hex)
{
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(list, "data"), i, file)
    {
        const char *digest = json_string_value(json_object_get(file, "digest"));
        if (digest && strncmp(digest, "sha256:", 7) == 0 && strcmp(digest + 7, hex) == 0)
            return json_string_value(json_object_get(file, "id"));
    }
    return NULL;
}

static int find_same(struct context *c, const char *path, const char *tenant, char **id, struct err *e)
{
    char hex[SHA256_HEX + 1];
    struct buf list = {0};
    struct answer answer;
    if (digest_of(path, hex, e) != 0)
        return -1;
    int result = buf_append_string(&list, "/v1/files") != 0 ||
                         path_query(&list, "purpose", "fine-tune") != 0 ||
                         (tenant && path_query(&list, "tenant", tenant) != 0)
                     ? err_memory(e)
                     : client_call(c->client, "GET", list.data, NULL, &answer, e);
    buf_fini(&list);
    if (result != 0)
        return -1;
    const char *found = find_digest(answer.json, hex);
    *id = found ? strdup(found) : NULL;
    answer_fini(&answer);
    return found && !*id ? err_memory(e) : 0;
}

int files_have(struct context *c, const char *path, const char *tenant, char **id, bool *sent, struct err *e)
{
    struct answer answer;
    *id = NULL;
    *sent = false;
    if (find_same(c, path, tenant, id, e) != 0)
        return -1;
    if (*id)
        return 0;
    if (send_file(c, path, tenant, NULL, &answer, e) != 0)
        return -1;
    const char *made = json_string_value(json_object_get(answer.json, "id"));
    *id = made ? strdup(made) : NULL;
    *sent = *id != NULL;
    answer_fini(&answer);
    return *id ? 0 : err_set(e, "not_adapterd", "the answer to an upload has no id");
}

int files_drop(struct context *c, const char *id, const char *tenant, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = buf_append_string(&path, "/v1/files") != 0 || path_segment(&path, id) != 0 ||
                         (tenant && path_query(&path, "tenant", tenant) != 0)
                     ? err_memory(e)
                     : client_call(c->client, "DELETE", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result == 0)
        answer_fini(&answer);
    return result;
}

/* ---- download ---- */

struct download {
    int fd;
    struct sha256 hash;
    uint64_t received, total;
    struct progress progress;
};

static int take(void *arg, const char *data, size_t length, struct err *e)
{
    struct download *d = arg;
    if (file_write_all(d->fd, data, length, e) != 0)
        return -1;
    sha256_update(&d->hash, data, length);
    d->received += length;
    progress_show(&d->progress, d->received, d->total);
    return 0;
}

static int check(struct download *d, const json_t *file, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    const char *expected = json_string_value(json_object_get(file, "digest"));
    sha256_final(&d->hash, digest);
    hex_encode(digest, sizeof digest, hex);
    if (!expected || strncmp(expected, "sha256:", 7) != 0 || strcmp(expected + 7, hex) != 0)
        return err_set(e, "file_damaged", "the file came with the SHA-256 %s, expected %s", hex,
                       expected ? expected : "one");
    return 0;
}

static int fetch(struct context *c, const struct args *a, const json_t *file, int fd, struct err *e)
{
    struct buf path = {0};
    struct download d = {.fd = fd, .total = (uint64_t)json_integer_value(json_object_get(file, "bytes"))};
    sha256_init(&d.hash);
    int result = file_path(&path, a->operand[0], "/content", a, e);
    progress_begin(&d.progress);
    if (result == 0)
        result = client_fetch(c->client, path.data, take, &d, e);
    progress_end(&d.progress);
    buf_fini(&path);
    return result == 0 ? check(&d, file, e) : -1;
}

/* Under its name when all of it is there and is what it should be. */
static int fetch_to_file(struct context *c, const struct args *a, const json_t *file, struct err *e)
{
    const char *name = a->operand[1];
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.XXXXXX", name) < 0)
        return err_memory(e);
    int fd = mkostemp(temporary, O_CLOEXEC);
    int result = fd < 0 ? err_errno(e, "cannot create a file beside %s", name) : fetch(c, a, file, fd, e);
    if (result == 0 && fsync(fd) != 0)
        result = err_errno(e, "cannot sync %s", name);
    unsigned flags = args_get(a, "--force") ? 0 : RENAME_NOREPLACE;
    if (result == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, name, flags) != 0)
        result = errno == EEXIST ? err_set(e, "exists", "%s is there already; --force replaces it", name)
                                 : err_errno(e, "cannot rename to %s", name);
    if (fd >= 0) {
        close(fd);
        if (result != 0)
            unlink(temporary);
    }
    free(temporary);
    return result;
}

int files_download(struct context *c, const struct args *a, struct err *e)
{
    struct answer answer;
    if (call(c, "GET", a, &answer, e) != 0)
        return -1;
    int result = strcmp(a->operand[1], "-") == 0 ? fetch(c, a, answer.json, STDOUT_FILENO, e)
                                                 : fetch_to_file(c, a, answer.json, e);
    answer_fini(&answer);
    return result;
}
