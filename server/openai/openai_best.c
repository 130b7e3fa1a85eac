/* best_of: more answers than are shown, of which those with the likeliest tokens are. */
#include <math.h>
#include <stdlib.h>

#include "server/openai/openai.h"

/* An answer of no tokens comes last: there is nothing that was likely. */
static double mean_logprob(const struct inference_choice *c)
{
    const struct output *o = &c->output;
    double sum = 0;
    for (size_t i = 0; i < o->tokens_ready; i++)
        sum += (double)o->logprobs[i].logprob;
    return o->tokens_ready ? sum / (double)o->tokens_ready : -INFINITY;
}

/* Of two that are as likely the first. */
static int compare(const void *a, const void *b)
{
    const struct inference_choice *x = *(const struct inference_choice *const *)a,
                                  *y = *(const struct inference_choice *const *)b;
    double of_x = mean_logprob(x), of_y = mean_logprob(y);
    if (of_x != of_y)
        return of_x > of_y ? -1 : 1;
    return x->index - y->index;
}

void openai_best_sort(const struct inference *q, int first, const struct inference_choice **out)
{
    for (int i = 0; i < q->choices_each; i++)
        out[i] = &q->choices[first + i];
    if (q->openai.kept < q->choices_each)
        qsort(out, (size_t)q->choices_each, sizeof *out, compare);
}
