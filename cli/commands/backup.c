/* adapterctl backup: the daemon's archive, checked and unpacked as it comes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/lib/commands.h"
#include "cli/commands/copy.h"
#include "cli/lib/interrupt.h"
#include "core/system/file.h"
#include "core/format/tar.h"

struct unpack {
    struct tar_reader tar;
    struct copy copy;
    struct buf sums;
    size_t at; /* in SHA256SUMS */
    struct copy_line line;
    int begun, in_sums; /* SHA256SUMS has begun; is what arrives */
    size_t files;
    uint64_t bytes;
};

/* ---- the archive's files, which come in the order of SHA256SUMS ---- */

static int begin_file(void *arg, const char *name, uint64_t size, struct err *e)
{
    struct unpack *u = arg;
    const char *expected = COPY_SUMS;
    u->in_sums = !u->begun;
    if (u->begun) {
        int found = copy_next_line(&u->sums, &u->at, &u->line, e);
        if (found < 0)
            return -1;
        expected = found ? u->line.path : "the end";
    }
    u->begun = 1;
    if (strcmp(name, expected) != 0)
        return err_set(e, "archive_malformed", "the archive has %.99s where %s was expected", name, expected);
    if (u->in_sums && size > COPY_SUMS_BYTES_MAX)
        return err_set(e, "archive_malformed", "%s has %llu bytes, %d at most were expected", name,
                       (unsigned long long)size, COPY_SUMS_BYTES_MAX);
    return copy_open_file(&u->copy, name, e);
}

static int file_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct unpack *u = arg;
    if (u->in_sums && buf_append(&u->sums, bytes, length) != 0)
        return err_memory(e);
    u->bytes += length;
    return copy_write(&u->copy, bytes, length, e);
}

static int end_file(void *arg, struct err *e)
{
    struct unpack *u = arg;
    u->files++;
    if (u->in_sums)
        return copy_close_file(&u->copy, COPY_SUMS, NULL, e);
    if (copy_close_file(&u->copy, u->line.path, u->line.digest, e) == 0)
        return 0;
    if (strcmp(e->code, "backup_damaged") == 0)
        err_hint(
            e,
            "run `adapterctl fsck`, which tells whose it is and marks it broken; backups leave out what is");
    return -1;
}

static int finish(struct unpack *u, struct err *e)
{
    if (tar_finish(&u->tar, e) != 0)
        return -1;
    int more = u->begun ? copy_next_line(&u->sums, &u->at, &u->line, e) : 1;
    if (more > 0)
        return err_set(e, "archive_malformed", "the archive ends before %s",
                       u->begun ? u->line.path : COPY_SUMS);
    return more < 0 ? -1 : copy_sync(&u->copy, e);
}

static int on_data(void *arg, const char *data, size_t length, struct err *e)
{
    struct unpack *u = arg;
    return tar_feed(&u->tar, data, length, e);
}

/* ---- the command ---- */

static int fetch(struct context *c, struct unpack *u, struct err *e)
{
    u->tar.handler = (struct tar_handler){begin_file, file_data, end_file, u};
    if (client_stream(c->client, "/backup", NULL, on_data, u, e) != 0)
        return -1;
    return finish(u, e);
}

static int sync_name(const char *directory, struct err *e)
{
    char *parent = file_join(directory, "..");
    if (!parent)
        return err_memory(e);
    int result = file_fsync_directory(parent, e);
    free(parent);
    return result;
}

/* Whole under its name, or not at all. */
static int take(struct context *c, struct unpack *u, const char *partial, const char *directory,
                struct err *e)
{
    if (copy_begin(&u->copy, partial, e) != 0)
        return -1;
    int result = fetch(c, u, e);
    if (result == 0 && renameat2(AT_FDCWD, partial, AT_FDCWD, directory, RENAME_NOREPLACE) != 0)
        result = err_errno(e, "cannot rename %s to %s", partial, directory);
    copy_end(&u->copy, result == 0);
    return result == 0 ? sync_name(directory, e) : -1;
}

static int print_taken(const struct context *c, const struct unpack *u, const char *directory, struct err *e)
{
    char size[PRINT_BYTES_SIZE];
    if (c->json) {
        json_t *all = json_pack("{s:s, s:I, s:I}", "directory", directory, "files", (json_int_t)u->files,
                                "bytes", (json_int_t)u->bytes);
        int result = all ? print_json(all, e) : err_memory(e);
        json_decref(all);
        return result;
    }
    print_bytes((double)u->bytes, size);
    printf("backup in %s: %zu files, %s, all checked\n", directory, u->files, size);
    return 0;
}

int backup_take(struct context *c, const struct args *a, struct err *e)
{
    char *directory = strdup(a->operand[0]), *partial = NULL;
    struct unpack u = {0};
    struct stat status;
    interrupt_catch();
    size_t length = directory ? strlen(directory) : 0;
    while (length > 1 && directory[length - 1] == '/')
        directory[--length] = '\0';
    int result = 0;
    if (length == 0 && directory)
        result = err_set(e, "usage", "the backup's directory has no name");
    else if (!directory || asprintf(&partial, "%s.partial-%ld", directory, (long)getpid()) < 0)
        result = err_memory(e);
    else if (lstat(directory, &status) == 0)
        result = err_set(e, "exists", "%s is there already", directory);
    else
        result = take(c, &u, partial, directory, e);
    if (result == 0)
        result = print_taken(c, &u, directory, e);
    buf_fini(&u.sums);
    free(partial);
    free(directory);
    return result;
}
