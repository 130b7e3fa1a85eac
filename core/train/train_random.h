/* The generator of training, counter-based: a number is a function of seed, name, kind and place alone,
 * whoever asks first. Pure; any thread. */
#pragma once
#include <stdint.h>

/* The key of one stream. */
uint64_t train_random_key(uint64_t seed, const char *name, uint64_t kind);
uint64_t train_random_bits(uint64_t key, uint64_t place);  /* all 64 */
double train_random_uniform(uint64_t key, uint64_t place); /* [0, 1), of 53 bits */
double train_random_normal(uint64_t key, uint64_t place);  /* mean 0, variance 1 */
/* [0, bound), each as likely to within bound / 2^64. */
uint64_t train_random_below(uint64_t key, uint64_t place, uint64_t bound);
