#include <string.h>

#include "adapters/types/name.h"

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *name)
{
    if (!name || !lower_or_digit(name[0]))
        return false;
    size_t length = 1;
    for (; name[length]; length++) {
        char c = name[length];
        if (length >= NAME_MAX_BYTES || !(lower_or_digit(c) || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

int name_refuse(const char *what, const char *param, struct err *e)
{
    err_set(e, "invalid_name", "%s must match [a-z0-9][a-z0-9._-]{0,%d}", what, NAME_MAX_BYTES - 1);
    return err_param(e, param);
}
