/* The smaller of two. */
#pragma once

static inline int least(int a, int b)
{
    return a < b ? a : b;
}
