/* Errors under the names that OpenAI's clients act upon: they shorten the history where the context is said
 * to be exceeded, and find both numbers in the message. */
#include <string.h>

#include "server/inference/openai.h"

static long long longest_prompt(const struct inference *q)
{
    size_t longest = 0;
    for (int i = 0; i < q->prompt_count; i++)
        if (q->prompts[i].tokens.count > longest)
            longest = q->prompts[i].tokens.count;
    return (long long)longest;
}

static void translate(const struct inference *q, const char *field, struct err *e)
{
    struct engine_stats stats;
    if (strcmp(e->code, "prompt_too_long") != 0)
        return;
    engine_stats(q->r->server->engine, &stats);
    err_set(e, "context_length_exceeded",
            "This model's maximum context length is %d tokens. However, your %s resulted in %lld tokens. "
            "Please reduce the length of the %s.",
            stats.context_length, field, longest_prompt(q), field);
    err_param(e, field);
}

void openai_translate_completions(const struct inference *q, struct err *e)
{
    translate(q, "prompt", e);
}

void openai_translate_chat(const struct inference *q, struct err *e)
{
    translate(q, "messages", e);
}
