#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/lib/commands.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"
#include "core/system/file.h"

static int keys_path(struct buf *path, const char *tenant, const char *kid, struct err *e)
{
    if (path_check_name("a tenant", tenant, e) != 0 || (kid && path_check_name("a key", kid, e) != 0))
        return -1;
    if (buf_append_string(path, "/tenants") != 0 || path_segment(path, tenant) != 0 ||
        buf_append_string(path, "/keys") != 0 || (kid && path_segment(path, kid) != 0))
        return err_memory(e);
    return 0;
}

/* Before the key is made: a key that cannot be written down is lost. */
static int open_key_file(const char *path, int *fd, struct err *e)
{
    *fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (!path || *fd >= 0)
        return 0;
    err_errno(e, "cannot create %s for the key", path);
    return errno == EEXIST ? err_hint(e, "name a file that is not there yet") : -1;
}

static int write_key(int fd, const char *key, struct err *e)
{
    return file_write_all(fd, key, strlen(key), e) != 0 || file_write_all(fd, "\n", 1, e) != 0 ? -1 : 0;
}

static int print_key(struct context *c, const struct answer *answer, const char *file, int fd, struct err *e)
{
    const char *key = json_string_value(json_object_get(answer->json, "key"));
    const char *kid = json_string_value(json_object_get(answer->json, "kid"));
    if (!key || !kid)
        return err_set(e, "not_a_key", "%s answered with something that is no key", client_url(c->client));
    if (file) {
        if (write_key(fd, key, e) != 0)
            return -1;
        json_object_del(answer->json, "key");
        if (c->json)
            return print_json(answer->json, e);
        printf("key %s created, in %s\n", kid, file);
    } else if (c->json) {
        print_answer(answer);
    } else {
        printf("kid  %s\nkey  %s\nThis is the only time the key is shown.\n", kid, key);
    }
    return 0;
}

/* Takes the body over. */
static int make(struct context *c, const char *path, json_t *body, const char *file, int fd, struct err *e)
{
    struct answer answer;
    int result = client_call(c->client, "POST", path, body, &answer, e);
    json_decref(body);
    if (result != 0)
        return -1;
    result = print_key(c, &answer, file, fd, e);
    answer_fini(&answer);
    return result;
}

/* The key is written to the file that --out names, which is not left behind when there is none. Takes the
 * body over. */
static int make_to_file(struct context *c, const struct args *a, const char *path, json_t *body,
                        struct err *e)
{
    const char *file = args_get(a, "--out");
    int fd = -1, result = -1;
    if (open_key_file(file, &fd, e) == 0)
        result = make(c, path, body, file, fd, e);
    else
        json_decref(body);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && result != 0)
        unlink(file);
    return result;
}

int keys_create(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    json_t *body =
        json_pack("{s:s*, s:s*}", "label", args_get(a, "--label"), "expires_at", args_get(a, "--expires-at"));
    if (!body)
        return err_set(e, "usage", "the label is not UTF-8");
    int result = keys_path(&path, a->operand[0], NULL, e);
    if (result == 0)
        result = make_to_file(c, a, path.data, body, e);
    else
        json_decref(body);
    buf_fini(&path);
    return result;
}

int keys_rotate(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    int graced;
    long long grace = 0;
    if (args_integer(a, "--grace", 0, 7 * 24 * 3600, &graced, &grace, e) != 0)
        return -1;
    json_t *body = json_pack("{s:s*}", "expires_at", args_get(a, "--expires-at"));
    if (!body || (graced && json_object_set_new(body, "grace_seconds", json_integer(grace)) != 0)) {
        json_decref(body);
        return err_set(e, "usage", "the time is not UTF-8");
    }
    int result = keys_path(&path, a->operand[0], a->operand[1], e);
    if (result == 0 && buf_append_string(&path, "/rotate") != 0)
        result = err_memory(e);
    if (result == 0)
        result = make_to_file(c, a, path.data, body, e);
    else
        json_decref(body);
    buf_fini(&path);
    return result;
}

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "KID|LABEL|CREATED|LAST USED|EXPIRES|REVOKED");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "kid");
        table_add_member(&t, row, "label");
        table_add_time(&t, row, "created");
        table_add_time(&t, row, "last_used");
        table_add_time(&t, row, "expires_at");
        table_add_member(&t, row, "revoked");
    }
    return table_print(&t, e);
}

int keys_list(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    int result = keys_path(&path, a->operand[0], NULL, e);
    if (result == 0)
        result = list_show(c, a, path.data, &(struct list_view){.print = print_rows}, e);
    buf_fini(&path);
    return result;
}

int keys_revoke(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    struct answer answer = {0};
    int result = keys_path(&path, a->operand[0], a->operand[1], e);
    if (result == 0)
        result = client_call(c->client, "DELETE", path.data, NULL, &answer, e);
    if (result == 0 && c->json)
        print_answer(&answer);
    else if (result == 0)
        printf("key %s of tenant %s revoked\n", a->operand[1], a->operand[0]);
    answer_fini(&answer);
    buf_fini(&path);
    return result;
}
