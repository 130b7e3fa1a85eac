/* The routes of OpenAI's clients: each is a dialect, and inference_run does the rest. */
#include "server/openai/openai.h"

void openai_handle_completions(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = openai_parse_completions,
                                                     .resolve = openai_resolve,
                                                     .answer = openai_answer_completions,
                                                     .event = openai_answer_completions_event,
                                                     .last_event = openai_answer_completions_last_event,
                                                     .translate = openai_translate_completions};
    inference_run(r, &dialect);
}

void openai_handle_chat(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = openai_parse_chat,
                                                     .resolve = openai_resolve,
                                                     .answer = openai_chat_answer,
                                                     .event = openai_chat_event,
                                                     .last_event = openai_chat_last_event,
                                                     .translate = openai_translate_chat};
    inference_run(r, &dialect);
}
