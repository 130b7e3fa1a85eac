/* The schema's numbered steps, compiled in from migrations/NNNN_name.sql by migrations.awk. Read-only. */
#pragma once
#include <stddef.h>

struct migration {
    int number;       /* 1, 2, 3 ...: the user_version that it leads to */
    const char *name; /* "0001_initial" */
    const char *sql;
};

extern const struct migration migrations[];
extern const size_t migrations_count;
