/* POST /infer: a dialect, and inference_run does the rest. */
#include "server/inference/inference.h"

void inference_handle(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = inference_parse,
                                                     .resolve = inference_resolve,
                                                     .answer = inference_answer,
                                                     .event = inference_answer_event,
                                                     .last_event = inference_answer_last_event};
    inference_run(r, &dialect);
}
