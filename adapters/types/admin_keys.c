#include "adapters/types/admin_keys.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/system/file.h"

enum { FILE_BYTES_MAX = 8192 };

static int malformed(const char *path, int line, const char *wrong, struct err *e)
{
    err_set(e, "admin_key_malformed", "%s, line %d: %s", path, line, wrong);
    return err_hint(
        e,
        "a line is a key of %d to %d printable ASCII characters, and may have a space and the name of who "
        "holds it behind it; without the file, a start makes one with a new key",
        ADMIN_KEY_BYTES_MIN, ADMIN_KEY_BYTES_MAX);
}

static bool key_valid(const char *key, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (key[i] <= ' ' || key[i] >= 127)
            return false;
    return length >= ADMIN_KEY_BYTES_MIN && length <= ADMIN_KEY_BYTES_MAX;
}

static bool name_valid_for_admin(const char *name)
{
    return name[0] && strlen(name) <= ADMIN_NAME_BYTES_MAX &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

/* `text`: one line, without its end. */
static int read_line(struct admin_keys *out, const char *path, int line, char *text, struct err *e)
{
    static const char blanks[] = " \t\r";
    size_t length = strcspn(text, blanks);
    char *name = text + length + strspn(text + length, blanks);
    for (size_t end = strlen(name); end > 0 && strchr(blanks, name[end - 1]); end--)
        name[end - 1] = '\0';
    if (text[0] == '#' || (length == 0 && !*name))
        return 0;
    if (!key_valid(text, length))
        return malformed(path, line, "this is no key", e);
    if (*name && !name_valid_for_admin(name))
        return malformed(path, line, "a name matches [a-z0-9._-]{1,17}", e);
    if (out->count == ADMIN_KEYS_MAX)
        return malformed(path, line, "there are 16 keys already, which is as many as can be", e);
    struct admin_key *k = &out->key[out->count++];
    sha256_of(text, length, k->hash);
    strcpy(k->name, name);
    return 0;
}

static int read_lines(struct admin_keys *out, const char *path, char *text, struct err *e)
{
    int number = 1;
    for (char *next, *line = text; line; line = next, number++) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        if (read_line(out, path, number, line, e) != 0)
            return -1;
    }
    return out->count > 0 ? 0 : malformed(path, 1, "there is no key in it", e);
}

int admin_keys_read(struct admin_keys *out, const char *path, struct err *e)
{
    struct buf content = {0};
    struct admin_keys read = {0};
    int result = file_read(path, FILE_BYTES_MAX, &content, e);
    if (result == 0 && (!content.data || strlen(content.data) != content.length))
        result = malformed(path, 1, "there is no key in it, or U+0000", e);
    if (result == 0)
        result = read_lines(&read, path, content.data, e);
    buf_fini(&content);
    if (result == 0)
        *out = read;
    return result;
}

const struct admin_key *admin_keys_find(const struct admin_keys *k, const uint8_t hash[SHA256_BYTES])
{
    const struct admin_key *found = NULL;
    for (size_t i = 0; i < k->count; i++)
        if (!bytes_differ(k->key[i].hash, hash, SHA256_BYTES))
            found = &k->key[i];
    return found;
}
