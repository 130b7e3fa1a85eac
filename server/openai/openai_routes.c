/* The routes of OpenAI's clients: each is a dialect, and inference_run does the rest. */
#include "server/openai/openai.h"

void openai_handle_completions(struct request *r)
{
    static const struct inference_dialect dialect = {openai_parse_completions,
                                                     openai_resolve,
                                                     openai_answer_completions,
                                                     openai_answer_completions_event,
                                                     openai_answer_completions_last_event,
                                                     openai_translate_completions};
    inference_run(r, &dialect);
}

void openai_handle_chat(struct request *r)
{
    static const struct inference_dialect dialect = {openai_parse_chat,
                                                     openai_resolve,
                                                     openai_answer_chat,
                                                     openai_answer_chat_event,
                                                     openai_answer_chat_last_event,
                                                     openai_translate_chat};
    inference_run(r, &dialect);
}
