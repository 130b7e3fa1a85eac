/* Stop strings: where a growing text must be cut, and which part of its end must be held back because it may
 * be the beginning of a stop string. Pure; owns copies of the strings; one thread at a time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { STOPS_MAX = 16, STOP_BYTES_MAX = 256 };

struct stops { /* zero-initialize */
    char text[STOPS_MAX][STOP_BYTES_MAX];
    size_t length[STOPS_MAX];
    int count;
    size_t longest;
};

/* 1..STOP_BYTES_MAX bytes, STOPS_MAX strings at most; false otherwise. */
bool stops_add(struct stops *s, const char *text, size_t length);
/* Text up to `searched` held no stop string; is there one now? *cut is the offset of the earliest. */
bool stops_find(const struct stops *s, const char *text, size_t length, size_t searched, size_t *cut);
/* How many bytes at the end of the text may begin a stop string. */
size_t stops_hold(const struct stops *s, const char *text, size_t length);
