/* How examples are encoded: for which base, by which options, and what comes of a text. Types only. */
#pragma once
#include "core/model/info.h"
#include "core/template/chat.h"
#include "core/tokenizer/tokenizer.h"
#include "core/train/trainer.h"

enum encode_turns {
    ENCODE_ASSISTANT, /* all turns of the assistant */
    ENCODE_LAST,      /* its last one */
    ENCODE_ALL        /* every token */
};

struct encode_options {
    const struct model_info *info;
    const struct tokenizer *tokenizer; /* of a language model, as is */
    const struct chat *chat;
    enum train_method method;
    enum encode_turns turns;
    enum train_loss loss; /* of a numeric base */
    int max_length; /* tokens; what is longer is cut there; 0: what does not fit the context is refused */
};

struct encoded_sequence {
    struct token_list tokens, labels;
};
